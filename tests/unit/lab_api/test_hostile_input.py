"""Whatever is sent, the API answers with an error of its own making and never breaks."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drills.lab.api import protobuf
from drills.lab.api.errors import ApiError
from drills.lab.api.objects import Objects, Patch
from drills.lab.api.paths import Options, parse_path
from drills.lab.api.resources import (
    CNP,
    CRONJOBS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    PROMETHEUS_RULES,
    ROLEBINDINGS,
    SECRETS,
    SERVICES,
    Resource,
)
from drills.lab.api.selectors import parse
from drills.lab.api.store import Store

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
PATCHED = {"spec": {"description": "x", "ports": [{"port": 1}], "template": {"spec": {"containers": [{"name": "c"}]}}}}

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {
        "restartPolicy": "Always",
        "volumes": [{"name": "v", "secret": {"secretName": "s"}}],
        "containers": [
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80}],
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "readinessProbe": {"httpGet": {"port": 80}},
                "resources": {"limits": {"cpu": "1"}},
            }
        ],
    },
}
FINISHING = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
RULE = {"alert": "A", "expr": "up == 0", "for": "1m", "labels": {"severity": "warning"}}
POLICY = {
    "fromEndpoints": [{"matchLabels": {"app": "a"}}],
    "toPorts": [{"ports": [{"port": "80"}], "rules": {"http": [{}]}}],
}
SPECS: list[tuple[Resource, dict[str, Any]]] = [
    (PODS, {"spec": TEMPLATE["spec"]}),
    (
        DEPLOYMENTS,
        {"spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "strategy": {}, "template": TEMPLATE}},
    ),
    (CRONJOBS, {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": FINISHING}}}}),
    (SERVICES, {"spec": {"type": "ClusterIP", "ports": [{"port": 80, "name": "http"}], "selector": {"a": "b"}}}),
    (SECRETS, {"data": {"a": "Yg=="}, "stringData": {"c": "d"}, "type": "Opaque"}),
    (ROLEBINDINGS, {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}),
    (CNP, {"spec": {"endpointSelector": {}, "ingress": [POLICY]}}),
    (PROMETHEUS_RULES, {"spec": {"groups": [{"name": "g", "interval": "15s", "rules": [RULE]}]}}),
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *paths(item, (*path, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return changed


def document_of(specification: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "x", "labels": {"l": "v"}, "annotations": {"a": "v"}}, **specification}


@pytest.mark.parametrize(("resource", "specification"), SPECS, ids=lambda value: getattr(value, "plural", ""))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_value_anywhere_in_a_document(
    resource: Resource, specification: dict[str, Any], data: st.DataObject
) -> None:
    store = Store()
    store.create(NAMESPACES, {"metadata": {"name": "shop"}})
    objects = Objects(store)
    document = document_of(specification)
    bad = put(document, data.draw(st.sampled_from(paths(document))), data.draw(JSON))
    with contextlib.suppress(ApiError):
        objects.create(resource, "shop", bad, Options())
    if store.find(resource, "shop", "x") is None:
        objects.create(resource, "shop", document, Options())
    with contextlib.suppress(ApiError):
        objects.replace(resource, "shop", "x", bad, Options())
    patch = put(PATCHED, data.draw(st.sampled_from(paths(PATCHED))), data.draw(JSON))
    with contextlib.suppress(ApiError):
        objects.patch(resource, "shop", "x", Patch("merge" if resource.custom else "strategic", patch), Options())


@given(st.binary(max_size=64), st.booleans())
def test_any_bytes_as_protobuf(data: bytes, marked: bool) -> None:
    with contextlib.suppress(ApiError):
        protobuf.decode(b"k8s\x00" + data if marked else data)


@given(st.binary(max_size=48))
def test_any_bytes_as_a_pod_in_protobuf(data: bytes) -> None:
    kind = b"\x0a\x09\x0a\x02v1\x12\x03Pod"
    with contextlib.suppress(ApiError):
        protobuf.decode(b"k8s\x00" + kind + b"\x12" + bytes((len(data),)) + data)


@given(st.text(alphabet="ab=!,() innot", max_size=20), st.text(alphabet="ab=!,.", max_size=12))
def test_any_selector(labels: str, fields: str) -> None:
    with contextlib.suppress(ApiError):
        parse(PODS, labels, fields).matches({"metadata": {"labels": {"a": "b"}}})


@given(st.lists(st.sampled_from(["api", "apis", "v1", "apps", "namespaces", "x", "pods", "status", ""]), max_size=8))
def test_any_path(parts: list[str]) -> None:
    with contextlib.suppress(ApiError):
        parse_path("/" + "/".join(parts))
