"""Label and field selectors."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.errors import ApiError
from drills.lab.api.resources import CONFIGMAPS, EVENTS, PODS, Resource
from drills.lab.api.selectors import as_text, parse, selector_of

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "shop", "labels": {"app": "web", "tier": "front", "k8s.io/part-of": "x"}},
    "spec": {"nodeName": "k8s-w1", "hostNetwork": True},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(("text", "matches"), [
    ("", True),
    ("app=web", True),
    ("app==web", True),
    ("app=api", False),
    ("app!=api", True),
    ("missing!=api", True),
    ("app", True),
    ("missing", False),
    ("!missing", True),
    ("!app", False),
    ("app in (api, web)", True),
    ("app in (api)", False),
    ("app notin (api)", True),
    ("missing notin (api)", True),
    ("app=web,tier=front", True),
    ("app=web,tier=back", False),
    ("app in (web,api),tier notin (back),!missing", True),
    ("k8s.io/part-of=x", True),
    ("missing=", False),
])  # fmt: skip
def test_label_selectors(text: str, matches: bool) -> None:
    assert parse(PODS, text, "").matches(POD) is matches


@pytest.mark.parametrize("text", ["app=web tier=front", "in (a)", "app in a", "=web", "app=w eb", "a=b,,c=d"])
def test_a_label_selector_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ApiError, match="unable to parse requirement") as caught:
        parse(PODS, text, "")
    assert caught.value.status == 400


@pytest.mark.parametrize(("text", "matches"), [
    ("metadata.name=p", True),
    ("metadata.name!=p", False),
    ("metadata.namespace==shop,status.phase=Running", True),
    ("spec.nodeName=k8s-w2", False),
    ("spec.nodeName!=", True),
    ("status.podIP=", True),
    ("spec.hostNetwork=true", True),
])  # fmt: skip
def test_field_selectors(text: str, matches: bool) -> None:
    assert parse(PODS, "", text).matches(POD) is matches


@pytest.mark.parametrize(
    ("resource", "text"), [(CONFIGMAPS, "data.x=1"), (PODS, "spec.nonsense=1"), (EVENTS, "status.phase=x")]
)
def test_a_field_that_cannot_be_selected_by(resource: Resource, text: str) -> None:
    with pytest.raises(ApiError, match="field label not supported"):
        parse(resource, "", text)


def test_selectors_of_objects() -> None:
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["front"]},
            {"key": "x", "operator": "DoesNotExist"},
        ],
    }
    assert selector_of(selector).matches(POD)
    assert not selector_of({"matchLabels": {"app": "api"}}).matches(POD)
    assert selector_of(None).matches(POD)
    assert as_text(selector) == "app=web,tier in (front),!x"
    assert parse(PODS, as_text(selector), "").matches(POD)
