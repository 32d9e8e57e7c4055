"""A small cluster for the tests of the policy model: pods by namespace and name, the outside world, flows between."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import settings

from drills.cilium.decide import Decision, Flow, HttpRequest, Policies, Remote
from drills.cilium.labels import HOST, WORLD, Identity, identity_labels
from drills.cilium.peers import address

few = settings(max_examples=30, deadline=None, database=None)
"""For properties: enough to find a mistake, few enough for every run, and no clock."""

HERE = Path(__file__).parent
CNP = "CiliumNetworkPolicy"
CCNP = "CiliumClusterwideNetworkPolicy"


@cache
def manifests(name: str) -> dict[str, dict[str, Any]]:
    """The policies of a file beside this one, by name."""
    return {each["metadata"]["name"]: each for each in yaml.safe_load_all((HERE / name).read_text())}


def pod(namespace: str, app: str, **more: Any) -> Remote:
    """A pod with the label ``app``; the namespace has its usual label."""
    labels: Mapping[str, str] = {"app": app, **more.pop("labels", {})}
    found = identity_labels(
        labels, namespace, {"kubernetes.io/metadata.name": namespace}, more.pop("account", "default")
    )
    number = 256 + zlib.crc32(repr(sorted(found.items())).encode()) % 60000
    return Remote(Identity(number, found), address("10.244.1.17"), **more)


def outside(text: str = "198.18.0.1", *names: str) -> Remote:
    """An address outside of the cluster, and the names under which it was looked up."""
    return Remote(WORLD, address(text), frozenset(names))


NODE = Remote(HOST, address("172.18.0.11"))


def cnp(spec: dict[str, Any], namespace: str = "backend", name: str = "policy") -> dict[str, Any]:
    """A CiliumNetworkPolicy."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "cilium.io/v2", "kind": CNP, "metadata": metadata, "spec": spec}


def ccnp(spec: dict[str, Any], name: str = "policy") -> dict[str, Any]:
    """A CiliumClusterwideNetworkPolicy."""
    return {"apiVersion": "cilium.io/v2", "kind": CCNP, "metadata": {"name": name}, "spec": spec}


def tcp(policies: Policies, source: Remote, destination: Remote, port: int) -> Decision:
    """What becomes of a TCP connection."""
    return policies.decide(Flow(source, destination, "TCP", port))


def http(policies: Policies, source: Remote, destination: Remote, port: int, request: str, **headers: str) -> Decision:
    """What becomes of a request, ``GET /path``; underscores in header names stand for hyphens."""
    method, path = request.split(" ", 1)
    seen = HttpRequest(method, path, "host", {key.replace("_", "-"): value for key, value in headers.items()})
    return policies.decide(Flow(source, destination, "TCP", port, http=seen))


def dns(policies: Policies, source: Remote, destination: Remote, name: str) -> Decision:
    """What becomes of a lookup."""
    return policies.decide(Flow(source, destination, "UDP", 53, dns=name))
