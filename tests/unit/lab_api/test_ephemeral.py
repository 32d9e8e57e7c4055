"""Ephemeral containers through the API's subresource: only ever added, and nothing else of the pod is touched."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.errors import ApiError
from drills.lab.api.objects import Objects, Patch
from drills.lab.api.paths import Options
from drills.lab.api.resources import NAMESPACES, PODS
from drills.lab.api.store import Store

BOX = {"name": "box", "image": "busybox", "command": ["sleep", "9"]}


@pytest.fixture
def objects() -> Objects:
    store = Store()
    store.create(NAMESPACES, {"metadata": {"name": "n"}})
    made = Objects(store)
    container = {"name": "main", "image": "nginx"}
    made.create(PODS, "n", {"metadata": {"name": "p"}, "spec": {"containers": [container]}}, Options())
    return made


def added(objects: Objects, *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    patch = Patch("strategic", {"spec": {"ephemeralContainers": list(containers)}, **more})
    return objects.ephemeral("n", "p", patch, Options()).obj


def test_they_are_added_once_and_nothing_else_is_changed(objects: Objects) -> None:
    added(objects, BOX)
    pod = added(objects, {"name": "second", "image": "busybox"}, metadata={"labels": {"a": "b"}})
    assert [each["name"] for each in pod["spec"]["ephemeralContainers"]] == ["box", "second"]
    assert "labels" not in pod["metadata"]
    version = pod["metadata"]["resourceVersion"]
    assert added(objects, BOX)["metadata"]["resourceVersion"] == version, "the same again is no change"


@pytest.mark.parametrize(
    ("container", "said"),
    [
        ({**BOX, "name": "main"}, 'spec.ephemeralContainers[0].name: Duplicate value: "main"'),
        ({**BOX, "name": "Box_"}, "a lowercase RFC 1123 label"),
        ({"name": "box"}, "spec.ephemeralContainers[0].image: Required value"),
        ({**BOX, "ports": [{"containerPort": 1}]}, "ports: Forbidden: cannot be set for an Ephemeral Container"),
        ({**BOX, "resources": {"limits": {"cpu": "1"}}}, "resources: Forbidden: cannot be set"),
        ({**BOX, "readinessProbe": {"exec": {"command": ["x"]}}}, "readinessProbe: Forbidden: cannot be set"),
        ({**BOX, "targetContainerName": "nobody"}, "targetContainerName: Unsupported value"),
    ],
)
def test_what_may_not_be_added(objects: Objects, container: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiError, match="invalid") as caught:
        added(objects, container)
    assert said in str(caught.value)


def test_one_that_is_there_is_never_changed_or_removed(objects: Objects) -> None:
    pod = added(objects, BOX)
    with pytest.raises(ApiError, match="may not be changed"):
        added(objects, {**BOX, "image": "alpine"})
    with pytest.raises(ApiError, match="may not be removed"):
        objects.ephemeral("n", "p", {**pod, "spec": {**pod["spec"], "ephemeralContainers": []}}, Options())
    without = {key: value for key, value in pod["spec"].items() if key != "ephemeralContainers"}
    with pytest.raises(ApiError, match="pod updates may not change fields"):
        objects.replace(PODS, "n", "p", {**pod, "spec": without}, Options())
