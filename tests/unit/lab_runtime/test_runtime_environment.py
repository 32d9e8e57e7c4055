"""Environment variables of containers."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.lab.api.resources import CONFIGMAPS, SECRETS, Resource
from drills.lab.api.types import Obj
from drills.lab.runtime.environment import ConfigError, environment, expand, field_value

POD: Obj = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "x"}, "annotations": {"a/b": "c"}},
    "spec": {"nodeName": "k8s-w1", "serviceAccountName": "default"},
    "status": {"podIP": "10.244.1.10", "hostIP": "172.18.0.11"},
}
OBJECTS = {
    (SECRETS, "n", "app"): {"data": {"password": base64.b64encode(b"s3cret").decode()}},
    (CONFIGMAPS, "n", "conf"): {"data": {"LEVEL": "debug", "PORT": "80"}},
}


def find(resource: Resource, namespace: str | None, name: str) -> Obj | None:
    return OBJECTS.get((resource, str(namespace), name))


def variables(*env: dict[str, Any], **container: Any) -> dict[str, str]:
    return environment(POD, {"env": list(env), **container}, find)


def from_field(path: str) -> dict[str, Any]:
    return {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_values_secrets_and_config_maps() -> None:
    found = variables(
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "app", "key": "password"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "conf", "key": "LEVEL"}}},
        {"name": "D"},
    )
    assert found == {"A": "1", "B": "s3cret", "C": "debug", "D": ""}


def test_env_from_with_prefix_gives_way_to_env() -> None:
    found = variables({"name": "P_PORT", "value": "81"}, envFrom=[{"prefix": "P_", "configMapRef": {"name": "conf"}}])
    assert found == {"P_LEVEL": "debug", "P_PORT": "81"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['app']", "x"),
        ("metadata.annotations['a/b']", "c"),
        ("metadata.annotations['none']", ""),
        ("spec.nodeName", "k8s-w1"),
        ("status.podIP", "10.244.1.10"),
        ("status.hostIP", "172.18.0.11"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert variables(from_field(path)) == {"X": value}


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"secretKeyRef": {"name": "app", "key": "k"}}, "couldn't find key k in Secret n/app"),
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'),
        ({"fieldRef": {"fieldPath": "spec.secret"}}, 'field path "spec.secret" is not supported'),
    ],
)
def test_what_is_missing_is_said(reference: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        variables({"name": "X", "valueFrom": reference})
    assert str(error.value) == sentence


def test_optional_references_leave_no_variable() -> None:
    optional = {"name": "none", "key": "k", "optional": True}
    assert variables({"name": "X", "valueFrom": {"secretKeyRef": optional}}) == {}
    assert variables(envFrom=[{"secretRef": optional}]) == {}


def test_references_between_variables() -> None:
    found = variables({"name": "A", "value": "1"}, {"name": "B", "value": "$(A)-$(NONE)-$$(A)"})
    assert found["B"] == "1-$(NONE)-$(A)"


@given(st.text(alphabet=st.characters(exclude_characters="$"), max_size=30))
def test_text_without_references_stays(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


def test_labels_as_a_file() -> None:
    assert field_value(POD, "metadata.labels") == 'app="x"'
