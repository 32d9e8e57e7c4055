"""What a plan says is touched: everything that is made, with its end, and what is changed, with its way back."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.engine.publications import Where
from drills.engine.touched import Touched, objects
from drills.playbook import load

SHIPPED = Path(__file__).parents[3] / "playbooks" / "zero-trust.yaml"
FAULTS = {
    "key-replaced": ("change CiliumNode k8s-w1",),
    "key-removed": ("change CiliumNode k8s-w1",),
    "key-file-deleted": (
        "run commands in Pod kube-system/the agent of k8s-w1",
        "delete Pod kube-system/the agent of k8s-w1",
    ),
    "secret-deleted, secret: backend/keys": ("delete Secret backend/keys",),
}


def of(drill: str, text: str, tmp_path: Path, nodes: list[str] | None = None) -> list[Touched]:
    path = tmp_path / "playbook.yaml"
    path.write_text(text)
    playbook = load(path)
    chosen = [one for one in playbook.drills if one.name == drill]
    return objects(playbook, chosen, nodes)


def test_each_source_has_one_pod_in_a_drill(tmp_path: Path) -> None:
    found = of("database-from-frontend", SHIPPED.read_text(), tmp_path)
    assert [f"{one.action} {one.title}" for one in found] == [
        "create Lease drills/drills-run",
        "create Secret drills/drills-undo-RUN-NUMBER",
        "create ConfigMap frontend/drill-frontend-RUN-11",
        "create Pod frontend/drill-frontend-RUN-11",
        "create ConfigMap backend/drill-backend-RUN-11",
        "create Pod backend/drill-backend-RUN-11",
    ]
    assert all(one.undo for one in found)


def test_what_is_published_into_the_cluster_is_touched() -> None:
    playbook = load(SHIPPED)
    told = [Where("events"), Where("configmap"), Where("grafana", "http://grafana")]
    without = objects(playbook, playbook.drills)
    more = [one for one in objects(playbook, playbook.drills, publish=told) if one not in without]
    found = [f"{one.action} {one.title}" for one in more]
    events = [f"create Event {one}/drills.RANDOM" for one in playbook.guards.namespaces or ()]
    assert len(events) > 1
    assert found == [*events, "create ConfigMap drills/drills-result-zero-trust"]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_says_what_it_changes(tmp_path: Path, fault: str) -> None:
    text = SHIPPED.read_text().replace("fault: key-replaced", f"fault: {fault}")
    text = text.replace("[capture]", "[capture, cluster-wide]")
    found = [f"{one.action} {one.title}" for one in of("wireguard-key", text, tmp_path, ["k8s-w1", "k8s-w2"])]
    assert "create Pod drills/drill-capture-k8s-w2-RUN" in found
    assert [one for one in found if not one.startswith("create")] == list(FAULTS[fault])


def test_without_a_cluster_every_node_stands_for_all(tmp_path: Path) -> None:
    found = of("wireguard-key", SHIPPED.read_text(), tmp_path)
    assert any("on every node" in one.name for one in found)


def test_a_drill_that_looks_for_no_plaintext_makes_no_capture_pods(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace("      plaintext: none\n", "").replace("allow: [capture]", "allow: []")
    found = [f"{one.action} {one.title}" for one in of("wireguard-key", text, tmp_path, ["k8s-w1", "k8s-w2"])]
    number = [one.name for one in load(SHIPPED).drills].index("wireguard-key") + 1
    assert found[2:] == [
        f"create ConfigMap frontend/drill-frontend-RUN-{number}",
        f"create Pod frontend/drill-frontend-RUN-{number}",
        "change CiliumNode k8s-w1",
    ]


def test_an_existing_pod_only_runs_commands(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace(
        "frontend: {namespace: frontend, labels: {app: frontend}}", "frontend: {pod: frontend/x}"
    )
    found = of("admin-path", text, tmp_path)
    assert [f"{one.action} {one.title}" for one in found[2:]] == ["run commands in Pod frontend/x"]


def test_an_ephemeral_container_is_a_change_whose_entry_stays(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace(
        "frontend: {namespace: frontend, labels: {app: frontend}}", "frontend: {pod: frontend/x.y, ephemeral: true}"
    )
    (one,) = of("admin-path", text, tmp_path)[2:]
    assert f"{one.action} {one.title}" == "change Pod frontend/x.y"
    assert "drill-frontend-RUN-1 is added" in one.undo
    assert "its entry stays until the pod goes" in one.undo


def test_a_flood_has_a_pod_for_the_master_and_for_each_worker(tmp_path: Path) -> None:
    found = of("flood", SHIPPED.read_text(), tmp_path)
    pods = [one.name for one in found if one.kind == "Pod"]
    number = [one.name for one in load(SHIPPED).drills].index("flood") + 1
    assert pods == [f"drill-frontend{role}-RUN-{number}" for role in ("-master", "-worker1", "-worker2", "")]


def test_the_silences_of_a_drill_are_listed(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace("spec:\n", "spec:\n  notify: silence\n", 1)
    (silence,) = [one for one in of("admin-path", text, tmp_path) if one.kind == "Silence"]
    assert silence.title == 'Silence {alertname="CiliumHTTPRequestsDenied", severity="warning"}'
    assert "ends by itself" in silence.undo
    assert not [one for one in of("admin-path", SHIPPED.read_text(), tmp_path) if one.kind == "Silence"]
