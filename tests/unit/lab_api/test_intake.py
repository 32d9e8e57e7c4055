"""What the API says to a document: unknown fields, wrong types, broken rules, in its own words."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from drills.lab.api.errors import ApiError
from drills.lab.api.intake import check_change, check_new, decode
from drills.lab.api.objects import LAST_APPLIED, Objects, Patch
from drills.lab.api.paths import Options
from drills.lab.api.resources import (
    CNP,
    CONFIGMAPS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    PROMETHEUS_RULES,
    SERVICES,
    Resource,
)
from drills.lab.api.store import Store

POLICY: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "p", "namespace": "shop"},
    "spec": {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{"namespaceSelector": {}}]}]},
}
UNKNOWN = "spec.ingress[0].fromEndpoints[0].namespaceSelector"


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec},
    }


def pod(**container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": "nginx", **container}]},
    }


def test_strict_refuses_unknown_fields() -> None:
    with pytest.raises(ApiError) as caught:
        decode(CNP, POLICY, "Strict")
    assert caught.value.status == 400
    assert caught.value.message == (
        'CiliumNetworkPolicy in version "v2" cannot be handled as a CiliumNetworkPolicy: strict decoding error: '
        f'unknown field "{UNKNOWN}"'
    )


@pytest.mark.parametrize(("validation", "warnings"), [("Warn", [f'unknown field "{UNKNOWN}"']), ("Ignore", [])])
def test_otherwise_unknown_fields_are_pruned(validation: Any, warnings: list[str]) -> None:
    decoded = decode(CNP, POLICY, validation)
    assert decoded.obj["spec"]["ingress"] == [{"fromEndpoints": [{}]}]
    assert decoded.warnings == warnings


def test_built_in_kinds_are_strict_in_the_same_words() -> None:
    with pytest.raises(
        ApiError, match=r'strict decoding error: unknown field "spec.template.spec.containers\[0\].imagee"'
    ):
        decode(DEPLOYMENTS, deployment(template={"spec": {"containers": [{"imagee": "x"}]}}), "Strict")
    with pytest.raises(ApiError, match=r'unknown field "metadata\.label"'):
        decode(CNP, {"metadata": {"label": {}}, "spec": {}}, "Strict")


def test_a_wrong_type_in_a_built_in_kind_cannot_be_decoded() -> None:
    with pytest.raises(
        ApiError, match=r"cannot unmarshal string into Go struct field .spec.replicas of type integer"
    ) as caught:
        decode(DEPLOYMENTS, deployment(replicas="three"), "Ignore")
    assert caught.value.status == 400


@pytest.mark.parametrize(("resource", "document", "why"), [
    (PODS, {"kind": "Service"}, "does not match the expected kind"),
    (PODS, {"apiVersion": "v2"}, "does not match the expected API version"),
    (PODS, [], "must be of type object"),
    (PODS, {"metadata": "x"}, "metadata"),
])  # fmt: skip
def test_documents_of_another_kind(resource: Resource, document: Any, why: str) -> None:
    with pytest.raises(ApiError, match=why) as caught:
        decode(resource, document, "Warn")
    assert caught.value.status == 400


@pytest.mark.parametrize(("resource", "document", "why"), [
    (DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {"template": {}}}, "spec.selector: Required value"),
    (DEPLOYMENTS, deployment(selector={"matchLabels": {"app": "b"}}), "`selector` does not match template `labels`"),
    (PODS, {"metadata": {"name": "p"}, "spec": {"containers": []}}, "spec.containers: Required value"),
    (PODS, pod(image=""), r"spec.containers\[0\].image: Required value"),
    (PODS, pod(name="Web"), r"spec.containers\[0\].name: Invalid value: \"Web\""),
    (PODS, pod(ports=[{"containerPort": 70000}]), "must be between 1 and 65535"),
    (PODS, pod(volumeMounts=[{"name": "v", "mountPath": "/v"}]), 'Not found: "v"'),
    (PODS, pod(resources={"limits": {"cpu": "many"}}), "quantities must match"),
    (PODS, {"metadata": {"name": "Bad_Name"}, "spec": pod()["spec"]}, "RFC 1123 subdomain"),
    (CONFIGMAPS, {"metadata": {"name": "c", "labels": {"a": "b c"}}}, "a valid label must be"),
    (CONFIGMAPS, {"metadata": {"name": "c", "labels": {"-a": "b"}}}, "name part must consist of"),
    (SERVICES, {"metadata": {"name": "s"}, "spec": {}}, "spec.ports: Required value"),
    (SERVICES, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}, {"port": 2}]}}, r"\[0\].name: Required"),
    (JOBS, {"metadata": {"name": "j"}, "spec": {"template": {"spec": pod()["spec"]}}}, "restartPolicy: Required value"),
    (CNP, {"metadata": {"name": "p"}, "spec": {"ingress": "x"}}, "spec.ingress"),
    (PROMETHEUS_RULES, {"metadata": {"name": "r"}, "spec": {"groups": [{"rules": []}]}}, r"spec.groups\[0\].name"),
])  # fmt: skip
def test_objects_that_break_the_rules_of_their_kind(resource: Resource, document: Any, why: str) -> None:
    decoded = decode(resource, document, "Strict")
    with pytest.raises(ApiError, match=why) as caught:
        check_new(resource, decoded.obj)
    assert (caught.value.status, caught.value.reason) == (422, "Invalid")


@pytest.mark.parametrize(
    "resources", [{"limits": {"cpu": 1, "memory": "64Mi"}}, {"requests": {"cpu": "100m"}}, {"limits": {"cpu": 0.5}}]
)
def test_quantities_may_be_numbers(resources: Any) -> None:
    check_new(PODS, decode(PODS, pod(resources=resources), "Strict").obj)


def test_what_may_not_be_changed() -> None:
    old = decode(DEPLOYMENTS, deployment(), "Strict").obj
    new = copy.deepcopy(old)
    new["spec"]["selector"] = {"matchLabels": {"app": "b"}}
    new["spec"]["template"]["metadata"]["labels"] = {"app": "b"}
    with pytest.raises(ApiError, match="field is immutable"):
        check_change(DEPLOYMENTS, old, new)
    running = decode(PODS, pod(), "Strict").obj
    moved = {**running, "spec": {**running["spec"], "nodeName": "k8s-w2"}}
    with pytest.raises(ApiError, match="pod updates may not change fields other than"):
        check_change(PODS, running, moved)


@pytest.fixture
def objects() -> Objects:
    store = Store()
    store.create(NAMESPACES, {"metadata": {"name": "shop"}})
    return Objects(store)


def test_applying_twice_removes_what_the_second_lacks(objects: Objects) -> None:
    first = objects.apply(
        CNP, "shop", {**POLICY, "spec": {"description": "x", "endpointSelector": {}, "ingress": [{}]}}, "Strict"
    )
    assert first.created
    assert LAST_APPLIED in first.obj["metadata"]["annotations"]
    second = objects.apply(CNP, "shop", {**POLICY, "spec": {"endpointSelector": {}, "ingress": [{}]}}, "Strict")
    assert not second.created
    assert "description" not in second.obj["spec"]
    third = objects.apply(CNP, "shop", {**POLICY, "spec": {"endpointSelector": {}, "ingress": [{}]}}, "Strict")
    assert third.obj["metadata"]["resourceVersion"] == second.obj["metadata"]["resourceVersion"]


def test_applying_with_warnings_stores_the_pruned_object(objects: Objects) -> None:
    applied = objects.apply(CNP, "shop", POLICY, "Warn")
    assert applied.warnings == [f'unknown field "{UNKNOWN}"']
    assert applied.obj["spec"]["ingress"] == [{"fromEndpoints": [{}]}]


def test_a_patch_that_brings_unknown_fields_is_invalid_when_strict(objects: Objects) -> None:
    objects.create(CNP, "shop", {**POLICY, "spec": {"endpointSelector": {}, "ingress": [{}]}}, Options())
    patch = Patch("merge", {"spec": {"nonsense": 1}})
    with pytest.raises(ApiError, match=r'strict decoding error: unknown field "spec\.nonsense"') as caught:
        objects.patch(CNP, "shop", "p", patch, Options(validation="Strict"))
    assert caught.value.status == 422
    assert objects.patch(CNP, "shop", "p", patch, Options()).warnings == ['unknown field "spec.nonsense"']


def test_a_pod_needs_its_service_account(objects: Objects) -> None:
    document = pod()
    document["spec"]["serviceAccountName"] = "robot"
    with pytest.raises(ApiError, match='serviceaccount "robot" not found') as caught:
        objects.create(PODS, "shop", document, Options())
    assert caught.value.status == 403


def test_a_patch_with_a_stale_version_is_a_conflict(objects: Objects) -> None:
    made = objects.create(CONFIGMAPS, "shop", {"metadata": {"name": "c"}}, Options()).obj
    version = made["metadata"]["resourceVersion"]
    change = Patch("merge", {"metadata": {"resourceVersion": version}, "data": {"a": "1"}})
    objects.patch(CONFIGMAPS, "shop", "c", change, Options())
    with pytest.raises(ApiError) as caught:
        objects.patch(CONFIGMAPS, "shop", "c", change, Options())
    assert caught.value.status == 409


def test_server_side_apply_creates_and_says_what_it_is(objects: Objects) -> None:
    patch = Patch("apply", {"data": {"a": "1"}})
    made = objects.patch(CONFIGMAPS, "shop", "c", patch, Options())
    assert made.created
    assert "last writer wins" in made.warnings[0]
    changed = objects.patch(CONFIGMAPS, "shop", "c", Patch("apply", {"data": {"b": "2"}}), Options())
    assert changed.obj["data"] == {"a": "1", "b": "2"}
