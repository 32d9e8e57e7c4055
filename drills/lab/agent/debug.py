"""``cilium-dbg`` in an agent's container: the subcommands that people and tools read, as JSON or short text.

Shapes: Cilium 1.20 ``api/v1/models`` (Endpoint, EndpointPolicyStatus, Identity, Metric, StatusResponse).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from drills.cilium.decide import EndpointPolicy
from drills.cilium.labels import RESERVED
from drills.lab.agent import encrypt_status
from drills.lab.agent.book import Book, Import
from drills.lab.agent.cluster import Pod
from drills.lab.agent.encryption import Encryption
from drills.lab.agent.node import NodeAgent
from drills.lab.runtime.builtin import ExecIO

Json = Any
VERSION = "Client: drills lab (Cilium-shaped)\nDaemon: drills lab (Cilium-shaped)\n"


class Debug:
    """Answers for every node's agent."""

    def __init__(self, nodes: Mapping[str, NodeAgent], book: Book, encryption: Encryption) -> None:
        self._nodes = nodes
        self._book = book
        self._encryption = encryption

    async def run(self, node: str, argv: Sequence[str], io: ExecIO) -> int:
        """Run ``cilium-dbg ...``; ``argv[0]`` is the command's name. Status 1 for what is not there."""
        words, options = _parse(argv[1:])
        agent = self._nodes[node]
        match words:
            case ["endpoint", "list"] | ["endpoint", "get", *_]:
                found = self._endpoints(agent, words[2:], options.get("labels", []))
                if words[1] == "get" and not found:
                    await io.write_err(b"Error: Cannot get endpoint: not found\n")
                    return 1
                await _print(io, found, options, _endpoint_table)
            case ["metrics", "list"]:
                await agent.count()
                await _print(io, _metrics(agent), options, _metric_lines)
            case ["policy", "get"]:
                await _print(io, self._policies(), options, lambda value: json.dumps(value, indent=2))
            case ["identity", "list"]:
                await _print(io, _identities(agent), options, _identity_lines)
            case ["status"]:
                found = {**_status(agent), "encryption": await self._encrypted(node)}
                await _print(io, found, options, lambda _: "Cilium:  Ok  drills lab\n")
            case ["encrypt", "status"]:
                await _print(io, await self._encrypted(node), options, encrypt_status.text)
            case ["version"]:
                await io.write_out(VERSION.encode())
            case _:
                text = f'The lab has no "{" ".join(argv)}". It has: endpoint list|get, metrics list, policy get, '
                await io.write_err(f"{text}identity list, status, encrypt status, version\n".encode())
                return 1
        return 0

    def _endpoints(self, agent: NodeAgent, wanted: Sequence[str], labels: Sequence[str]) -> Json:
        revision = self._book.revision
        found = []
        for pod in agent.observer.cluster.on(agent.node):
            policy = agent.compiled.policies.get(pod.uid)
            if policy is None or (wanted and str(pod.endpoint) not in {each.split(":")[-1] for each in wanted}):
                continue
            printable = pod.identity.printable()
            if all(any(each in (text, text.partition(":")[2]) for text in printable) for each in labels):
                found.append(_endpoint(pod, policy, agent.revision, revision))
        return found

    async def _encrypted(self, node: str) -> Json:
        return encrypt_status.encryption(await self._encryption.status(node))

    def _policies(self) -> Json:
        """As an agent's: the rules are a text, of which tools read the labels that name each rule's object."""
        valid = [each for each in self._book.imports.values() if each.policy is not None]
        rules = json.dumps([{"labels": _rule_labels(each)} for each in valid], indent=2)
        return {"revision": self._book.revision, "policy": rules}


def _rule_labels(policy: Import) -> Json:
    """Cilium 1.20 pkg/k8s/apis/cilium.io/utils: GetPolicyLabels."""
    found = {"derived-from": policy.kind, "name": policy.name, "uid": policy.uid}
    if policy.namespace:
        found["namespace"] = policy.namespace
    return [{"key": f"io.cilium.k8s.policy.{key}", "value": value, "source": "k8s"} for key, value in found.items()]


def _endpoint(pod: Pod, policy: EndpointPolicy, realised: int, wanted: int) -> Json:
    def side(revision: int) -> Json:
        return {
            "policy-enabled": policy.enforcement,
            "policy-revision": revision,
            "id": pod.identity.number,
            "build": revision,
        }

    return {
        "id": pod.endpoint,
        "spec": {"label-configuration": {}, "options": {"PolicyAuditMode": "Disabled"}},
        "status": {
            "state": "ready",
            "identity": {"id": pod.identity.number, "labels": pod.identity.printable()},
            "networking": {"addressing": [{"ipv4": str(pod.address)}]},
            "external-identifiers": {
                "k8s-namespace": pod.namespace,
                "k8s-pod-name": pod.name,
                "pod-name": str(pod),
            },
            "labels": {"security-relevant": pod.identity.printable()},
            "policy": {"realized": side(realised), "spec": side(wanted)},
            "realized": {"options": {"PolicyAuditMode": "Disabled"}},
        },
    }


def _endpoint_table(endpoints: Json) -> str:
    lines = ["ENDPOINT   POLICY     IDENTITY   IPv4            STATE   POD"]
    for each in endpoints:
        status = each["status"]
        policy, address = status["policy"]["realized"]["policy-enabled"], status["networking"]["addressing"][0]["ipv4"]
        pod, number = status["external-identifiers"]["pod-name"], status["identity"]["id"]
        lines.append(f"{each['id']:<10} {policy:<10} {number:<10} {address:<15} {status['state']:<7} {pod}")
    return "\n".join(lines) + "\n"


def _metrics(agent: NodeAgent) -> Json:
    return [
        {"name": name, "labels": dict(labels), "value": value}
        for name, labels, value in agent.observer.agent.cilium_series()
    ]


def _metric_lines(found: Json) -> str:
    lines = ["Metric   Labels   Value"]
    for each in found:
        labels = " ".join(f'{key}="{value}"' for key, value in each["labels"].items())
        lines.append(f"{each['name']}   {labels}   {each['value']:f}")
    return "\n".join(lines) + "\n"


def _identities(agent: NodeAgent) -> Json:
    known = {pod.identity.number: pod.identity for pod in agent.observer.cluster.pods.values()}
    known |= {each.number: each for each in RESERVED.values()}
    return [{"id": number, "labels": known[number].printable()} for number in sorted(known)]


def _identity_lines(found: Json) -> str:
    return "".join(f"{each['id']:<8} {' '.join(each['labels'])}\n" for each in found)


def _status(agent: NodeAgent) -> Json:
    return {
        "cilium": {"state": "Ok", "msg": "drills lab"},
        "kubernetes": {"state": "Ok"},
        "hubble": {"state": "Ok", "observer": {"max-flows": agent.observer.ring.capacity,
                                               "current-flows": len(agent.observer.ring)}},
        "proxy": {"redirects": agent.compiled.program.redirects},
    }  # fmt: skip


def _parse(argv: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    words: list[str] = []
    options: dict[str, list[str]] = {}
    names = {"-o": "output", "--output": "output", "-l": "labels", "--labels": "labels"}
    rest = iter(argv)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in names:
            options.setdefault(names[name], []).append(value if equals else next(rest, ""))
        elif word.startswith("-o") and not word.startswith("--"):
            options.setdefault("output", []).append(word[2:])
        elif not word.startswith("-"):
            words.append(word)
    return words, options


async def _print(io: ExecIO, value: Json, options: Mapping[str, Iterable[str]], text: Callable[[Json], str]) -> None:
    if "json" in options.get("output", ()):
        await io.write_out((json.dumps(value, indent=2) + "\n").encode())
    else:
        await io.write_out(text(value).encode())
