"""No YAML makes the checks of policies fall over: mutations of good and wrong policies, seeded, thousands of them."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from typing import Any

import pytest
import yaml
from policy_world import check, documents

SOURCES = ("cilium/wrong.yaml", "cilium/corrected.yaml", "cilium/everything.yaml", "check/right_policies.yaml")
WORLD = """
{apiVersion: v1, kind: Namespace, metadata: {name: backend, labels: {team: shop}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: backend},
 spec: {template: {metadata: {labels: {app: api}},
                   spec: {containers: [{name: c, ports: [{name: web, containerPort: 8080}]}]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: backend},
 spec: {selector: {app: api}, ports: [{port: 80, targetPort: web}, {port: 81, targetPort: 82}]}}
"""
SCALARS: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**30, float("inf"), "", " ", "x", "0", "80", "http", "*", "**.", "a.b", "[",
    "(?i)", "(?!x)", "10.0.0.0/8", "10.0.0.0", "::/0", "fd00::/8", "all", "TCP", "ANY", "DNS", "k8s:app", ":",
    "reserved:host", "\u0000", "ä" * 300, "io.kubernetes.pod.namespace", "cilium.io/v2", [], {}, [None], [[]],
    [{}], {"": None}, {"a": {"b": []}},
)  # fmt: skip
KEYS = (
    "spec", "specs", "ingress", "egress", "ingressDeny", "egressDeny", "endpointSelector", "nodeSelector",
    "matchLabels", "matchExpressions", "fromEndpoints", "toEndpoints", "toPorts", "ports", "port", "endPort",
    "rules", "http", "dns", "kafka", "l7", "l7proto", "toFQDNs", "fromCIDR", "toCIDRSet", "except", "fromEntities",
    "toServices", "fromRequires", "icmps", "fields", "headers", "action", "namespaceSelector", "enableDefaultDeny",
    "metadata", "name", "namespace", "kind", "apiVersion", "authentication", "a.b", "x[0]", "",
)  # fmt: skip


@cache
def seeds() -> list[Any]:
    """Good and wrong policies, and what they are checked against."""
    objects = [yaml.safe_load(text) for name in SOURCES for text in documents(name).values()]
    return [*objects, *yaml.safe_load_all(WORLD)]


def nodes(value: Any) -> list[Any]:
    """Every mapping and list of a document that has something in it."""
    found, stack = [], [value]
    while stack:
        each = stack.pop()
        if isinstance(each, dict | list) and each:
            found.append(each)
            stack += each.values() if isinstance(each, dict) else each
    return found


def mutate(chance: random.Random, document: Any, pool: list[Any]) -> None:
    """One change somewhere: another value, a key more or less, a part of another document."""
    node = chance.choice(nodes(document) or [{}])
    where: Any = chance.choice(list(node) if isinstance(node, dict) else range(len(node))) if node else "x"
    match chance.randrange(6):
        case 0 | 1:
            node[where] = copy.deepcopy(chance.choice(SCALARS))
        case 2:
            node[where] = copy.deepcopy(chance.choice(pool))
        case 3 if isinstance(node, dict):
            node[chance.choice(KEYS)] = node.pop(where)
        case 4 if isinstance(node, dict):
            node[chance.choice(KEYS)] = copy.deepcopy(chance.choice(pool))
        case 5 if isinstance(node, dict):
            del node[where]
        case _ if isinstance(node, list):
            node.append(copy.deepcopy(chance.choice(node)))


def documents_of(seed: int, count: int) -> list[Any]:
    chance = random.Random(seed)
    known = seeds()
    pool = [part for each in known for part in nodes(each)]
    found = []
    for _ in range(count):
        document = copy.deepcopy(chance.choice(known))
        for _ in range(chance.choice((1, 1, 2, 3, 6))):
            mutate(chance, document, pool)
        found.append(document)
    return found


def run(seed: int, count: int) -> int:
    """The findings in generated documents, checked a few at a time; each has a place and all its texts."""
    found = 0
    generated = documents_of(seed, count)
    for start in range(0, count, 25):
        text = "\n---\n".join(json.dumps(each) for each in generated[start : start + 25])
        for each in check(text):
            assert each.place.line >= 1
            assert each.span >= 1
            assert each.message
            assert each.effect
            assert each.fix
            found += 1
    return found


@pytest.mark.parametrize("seed", range(2))
def test_no_document_makes_it_fall_over(seed: int) -> None:
    assert run(seed, 250) > 250


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(100, 109))
def test_none_of_many_thousands_either(seed: int) -> None:
    assert run(seed, 1000) > 1000
