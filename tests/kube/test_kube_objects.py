"""What the engine makes and takes back: drill pods with their owners, the Lease, undo records, a recovery."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from kube_support import Server, eventually

from drills.engine import recovery
from drills.engine.journal import Journal
from drills.engine.naming import drill_pod
from drills.engine.records import Records
from drills.engine.touched import acting
from drills.engine.undo import Record, Restore, of_drill_pod
from drills.errors import WorldError
from drills.kube import DrillPodSpec, ReplacedError
from drills.kube.api import core
from drills.kube.lease import LEASE, Lease, LeaseHeld
from drills.kube.references import Reference, create, read
from drills.kube.rights import Right, granted


def spec_of(server: Server, name: str) -> DrillPodSpec:
    labels = {"app": "front"}
    return DrillPodSpec(f"run-{server.name}", "admin", name, server.front, labels, lifetime=60.0, node="no-such-node")


@pytest.fixture(scope="module", autouse=True)
def default_account(server: Server) -> None:
    """A namespace's pods wait for its service account, which a controller makes; here it may not run."""
    path = core("serviceaccounts", server.front)
    if not eventually(lambda: server.cluster.find("look", "GET", f"{path}/default") is not None, 3.0):
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        server.cluster.call("make the service account", "POST", path, body=body)


def test_a_drill_pod_comes_with_its_owner_and_goes_with_it(server: Server) -> None:
    spec = spec_of(server, "drill-comes-and-goes")
    made = server.cluster.create_drill_pod(spec)
    pod = server.cluster.call("read the pod", "GET", core("pods", server.front, spec.name))
    (owner,) = pod["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ConfigMap", made.owner, True)
    assert pod["metadata"]["annotations"]["drills/run"] == spec.run
    assert pod["spec"]["readinessGates"] == [{"conditionType": "drills/never-ready"}]
    with pytest.raises(ReplacedError):
        server.cluster.delete_drill_pod(server.front, spec.name, 10.0, replace(made, pod="another"))
    server.cluster.delete_drill_pod(server.front, spec.name, 10.0)
    for plural in ("pods", "configmaps"):
        assert server.cluster.find("look", "GET", core(plural, server.front, spec.name)) is None


def test_a_namespace_that_enforces_restricted_takes_it(server: Server) -> None:
    """Strict on a server with Pod Security admission; any other takes it all the more."""
    server.kubectl("label", "--overwrite", "namespace", server.front, "pod-security.kubernetes.io/enforce=restricted")
    spec = spec_of(server, "drill-restricted")
    server.cluster.create_drill_pod(spec)
    assert server.cluster.delete_drill_pod(server.front, spec.name, 10.0)


def test_the_lease_keeps_a_second_run_out_and_goes(server: Server) -> None:
    lost: list[str] = []
    with Lease(server.cluster, lost.append, renew_seconds=0.2) as held:
        assert held.before is None
        with pytest.raises(LeaseHeld, match="holds the Lease"), Lease(server.cluster, lost.append):
            pass
        before = read(server.cluster, LEASE)
        assert before is not None
        assert eventually(lambda: (read(server.cluster, LEASE) or before)["spec"] != before["spec"])  # it is renewed
    assert read(server.cluster, LEASE) is None
    assert lost == []


def test_a_lease_that_somebody_takes_away_is_told(server: Server) -> None:
    told = threading.Event()
    with Lease(server.cluster, lambda _: told.set(), renew_seconds=0.1):
        server.cluster.call("take the Lease away", "DELETE", LEASE.path)
        assert told.wait(10)


def test_undo_records_are_read_back_in_order_and_go(server: Server) -> None:
    records = Records(server.cluster)
    mine = [_record(server, order) for order in (1, 2)]
    for record in mine:
        records.add(record)
    with pytest.raises(WorldError, match="could not be written down"):
        records.add(mine[0])
    found = [one.record for one in records.outstanding() if one.record and one.record.run == mine[0].run]
    assert found == mine[::-1]
    for record in mine:
        records.drop(record)
    assert [one for one in records.outstanding() if one.record and one.record.run == mine[0].run] == []


def test_recover_undoes_what_a_run_left(server: Server) -> None:
    """A drill pod that was made, an object that was changed and one that was deleted."""
    cluster, run = server.cluster, f"run-{server.name}"
    spec = spec_of(server, "drill-left-behind")
    changed, deleted = (_config_map(server, name) for name in ("changed", "deleted"))
    records = Records(cluster)
    undos = [
        of_drill_pod(server.front, spec.name),
        Restore(object=_reference(server, "changed"), before=changed, after={**changed, "data": {"key": "drilled"}}),
        Restore(object=_reference(server, "deleted"), before=deleted, after=None),
    ]
    for order, undo in enumerate(undos, 1):
        records.add(Record(schema="drills/undo/v1", run=run, order=order, what=f"change {order}", at="now", undo=undo))
    cluster.create_drill_pod(spec)
    cluster.call("change", "PUT", _reference(server, "changed").path, body={**changed, "data": {"key": "drilled"}})
    cluster.call("delete", "DELETE", _reference(server, "deleted").path)
    said: list[str] = []
    undone = recovery.recover(cluster, said.append)
    assert [one.verdict for one in undone] == ["restored"] * 3, said
    assert recovery.exit_status(undone) == 0
    for name in ("changed", "deleted"):
        now = read(cluster, _reference(server, name))
        assert now is not None
        assert now["data"] == {"key": name}
    assert cluster.find("look", "GET", core("pods", server.front, spec.name)) is None
    assert recovery.recover(cluster, said.append) == []


def test_every_pod_of_a_flood_is_made_and_goes(server: Server) -> None:
    """Locust's master and workers, and the probe: by the names that a plan gives them."""
    (flood,) = [one for one in server.playbook.drills if one.name == "flood"]
    made = []
    for key in acting(flood):
        name = drill_pod(key, f"run-{server.name}", flood.name, server.playbook)
        server.cluster.create_drill_pod(spec_of(server, name))
        made.append(name)
    assert len(made) == 4
    listed = server.cluster.call("list pods", "GET", core("pods", server.front))["items"]
    assert set(made) <= {one["metadata"]["name"] for one in listed}
    for name in made:
        assert server.cluster.delete_drill_pod(server.front, name, 10.0)
        assert server.cluster.find("look", "GET", core("pods", server.front, name)) is None


def test_what_a_killed_run_left_is_taken_over_and_undone(server: Server, tmp_path: Path) -> None:
    """Its Lease has expired, its journal ends in the middle, and its pod is there."""
    cluster, run = server.cluster, f"run-{server.name}"
    spec = spec_of(server, "drill-of-a-killed-run")
    lost: list[str] = []
    lease = {
        "holderIdentity": "somebody@elsewhere",
        "leaseDurationSeconds": 30,
        "renewTime": "2026-01-01T00:00:00.000000Z",
    }
    body = {"apiVersion": LEASE.api_version, "kind": "Lease", "metadata": {"name": LEASE.name}, "spec": lease}
    create(cluster, LEASE, body)
    with Journal(tmp_path / "journal.jsonl", lambda: "now", Records(cluster), run, server.name) as journal:
        undo = of_drill_pod(server.front, spec.name)
        journal.change("the pod of a killed run", undo="delete it", how=undo)
        cluster.create_drill_pod(spec)
    said: list[str] = []
    with Lease(cluster, lost.append, wait=lambda _: None) as taken:
        assert taken.before is not None
        assert taken.before.holder == "somebody@elsewhere"
        undone = recovery.recover(cluster, said.append)
    assert [(one.what, one.verdict) for one in undone] == [("the pod of a killed run", "restored")], said
    assert cluster.find("look", "GET", core("pods", server.front, spec.name)) is None
    assert read(cluster, LEASE) is None
    assert Records(cluster).outstanding() == []


def test_who_may_do_all_is_told_so(server: Server) -> None:
    assert granted(server.cluster, Right("", "pods", "create", server.front))


def _record(server: Server, order: int) -> Record:
    undo = of_drill_pod(server.front, f"drill-{order}")
    return Record(schema="drills/undo/v1", run=f"run-{server.name}", order=order, what="a pod", at="now", undo=undo)


def _reference(server: Server, name: str) -> Reference:
    return Reference("v1", "configmaps", name, server.front)


def _config_map(server: Server, name: str) -> dict[str, object]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": name}}
    return server.cluster.call(f"make {name}", "POST", core("configmaps", server.front), body=body)
