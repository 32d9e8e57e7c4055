"""A drill pod carries its source's identity, keeps out of Services and of the node, and ends by itself."""

from __future__ import annotations

from drills.kube.pods import DrillPodSpec, owner_manifest, pod_manifest

SPEC = DrillPodSpec(
    run="run-1", drill="admin-path", name="drill-x", namespace="frontend", labels={"app": "frontend"}, lifetime=61.6
)


def test_labels_are_the_source_s_and_no_others() -> None:
    metadata = pod_manifest(SPEC, "uid-1")["metadata"]
    assert metadata["labels"] == {"app": "frontend"}
    assert metadata["annotations"] == {"drills/run": "run-1", "drills/drill": "admin-path"}


def test_its_owner_is_a_controller() -> None:
    (owner,) = pod_manifest(SPEC, "uid-1")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("ConfigMap", "drill-x", "uid-1", True)
    assert owner_manifest(SPEC)["metadata"]["labels"]["drills/run"] == "run-1"


def test_it_is_restricted_and_limited() -> None:
    spec = pod_manifest(SPEC, "uid-1")["spec"]
    assert spec["activeDeadlineSeconds"] == 62
    assert spec["readinessGates"] == [{"conditionType": "drills/never-ready"}]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    container = spec["containers"][0]["securityContext"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["allowPrivilegeEscalation"] is False
    assert "hostNetwork" not in spec
    assert "nodeName" not in spec
    assert "serviceAccountName" not in spec


def test_service_account_and_node_are_taken_over() -> None:
    given = DrillPodSpec(**{**_fields(SPEC), "service_account": "client", "node": "k8s-w1"})
    spec = pod_manifest(given, "uid-1")["spec"]
    assert (spec["serviceAccountName"], spec["nodeName"]) == ("client", "k8s-w1")


def test_a_preferred_node_is_asked_for_and_one_that_is_named_wins() -> None:
    given = {**_fields(SPEC), "prefers": "k8s-w2"}
    spec = pod_manifest(DrillPodSpec(**given), "uid-1")["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert term["preference"]["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["k8s-w2"]}]
    assert "nodeName" not in spec
    named = pod_manifest(DrillPodSpec(**{**given, "node": "k8s-w1"}), "uid-1")["spec"]
    assert (named["nodeName"], "affinity" in named) == ("k8s-w1", False)


def _fields(spec: DrillPodSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in DrillPodSpec.__dataclass_fields__}
