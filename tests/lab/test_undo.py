"""The record of what is to be undone, the Lease, and recovery, against a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from api_support import Handler, RunningApi, running_api
from undo_driver import KEY, MADE, NODE, RUN, SECRET, changed

from drills.budget import ONCE, Budget
from drills.engine.journal import Journal
from drills.engine.records import Records
from drills.engine.recovery import exit_status, put_back, recover
from drills.engine.session import alone
from drills.engine.undo import Delete, Record, Restore
from drills.engine.undone import Undone
from drills.errors import WorldError
from drills.kube import Cluster
from drills.kube.holder import Holder
from drills.kube.lease import LEASE, Lease, LeaseHeld
from drills.kube.references import Reference, create, delete, read, replace
from drills.kube.secrets import Secret, create_secret
from drills.lab.api.resources import CILIUM_NODES, CONFIGMAPS, LEASES, NAMESPACES, SECRETS

pytestmark = pytest.mark.lab

WRITES = 2 * 1 + 3 * 4  # Lease taken and given back; three times: record, change, undo, record gone
GONE = "boot/1/1/1"  # the process of a holder that nobody here can see


def node() -> dict[str, Any]:
    annotations = {KEY: "SGVsbG8=", "other": "1"}
    return {"metadata": {"name": "k8s-w1", "annotations": annotations}, "spec": {"addresses": [{"ip": "10.0.0.1"}]}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with running_api(tmp_path_factory.mktemp("api")) as api:
        api.call(lambda: api.store.create(NAMESPACES, {"metadata": {"name": "drills"}}))
        yield api


@pytest.fixture
def api(server: RunningApi) -> Iterator[RunningApi]:
    store = server.store
    server.call(lambda: store.create(CILIUM_NODES, node()))
    server.call(
        lambda: store.create(SECRETS, {"metadata": {"name": "keys", "namespace": "default"}, "data": {"k": "djE="}})
    )
    yield server
    server.gate = RunningApi.gate
    for resource in (CILIUM_NODES, SECRETS, CONFIGMAPS, LEASES):
        for obj in server.call(lambda resource=resource: list(store.list(resource))):
            meta = obj["metadata"]
            server.call(lambda r=resource, m=meta: store.remove(r, m.get("namespace"), m["name"]))


@pytest.fixture
def cluster(api: RunningApi) -> Cluster:
    return Cluster.connect(kubeconfig=api.config, budget=Budget(pause=0.0))


def dump(api: RunningApi) -> dict[str, Any]:
    """All that the driver could touch, without what the server gives to each object."""
    found = {}
    for resource in (CILIUM_NODES, SECRETS, CONFIGMAPS, LEASES):
        for obj in api.call(lambda resource=resource: list(api.store.list(resource))):
            kept = json.loads(json.dumps(obj))
            for key in ("resourceVersion", "managedFields", "uid", "creationTimestamp", "generation"):
                kept["metadata"].pop(key, None)
            found[f"{resource.plural}/{obj['metadata']['name']}"] = kept
    return found


def silent(_: object) -> None:
    """Say nothing, wait for nothing."""


def recovered(cluster: Cluster, *, accept: bool = False) -> list[Undone]:
    return recover(cluster, silent, accept=accept, wait=silent)


def record(undo: Delete | Restore, order: int = 0) -> Record:
    return Record(run=RUN, order=order, what="a change", at="now", undo=undo)


def have(cluster: Cluster, reference: Reference) -> dict[str, Any]:
    found = read(cluster, reference)
    assert found is not None
    return found


def alter(cluster: Cluster, **annotations: str | None) -> dict[str, Any]:
    """As somebody else would; None takes an annotation away."""
    found = have(cluster, NODE)
    merged = {
        **found["metadata"]["annotations"],
        **{key.replace("key", KEY): value for key, value in annotations.items()},
    }
    kept = {key: value for key, value in merged.items() if value is not None}
    return replace(cluster, NODE, {**found, "metadata": {**found["metadata"], "annotations": kept}})


def rekey(cluster: Cluster) -> None:
    """The drill's change, recorded and made."""
    before = have(cluster, NODE)
    Records(cluster).add(record(Restore(object=NODE, before=before, after=changed(before))))
    replace(cluster, NODE, changed(before))


# --- killed at any write ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_any_write_and_recovered(api: RunningApi, tmp_path: Path, number: int, done: bool) -> None:
    before = dump(api)
    seen: list[str] = []
    started = threading.Event()
    process: subprocess.Popen[bytes]

    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "GET":
            return await handler(request)
        seen.append(f"{request.method} {request.path}")
        if len(seen) != number:
            return await handler(request)
        if done:
            await handler(request)
        started.wait(10)
        process.kill()
        return web.Response(status=503)

    api.gate = gate
    process = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "undo_driver.py", api.config, tmp_path / "journal.jsonl"],
        stdout=subprocess.DEVNULL,
    )
    started.set()
    assert process.wait(60) == -9, seen
    api.gate = RunningApi.gate

    cluster = Cluster.connect(kubeconfig=api.config)
    with Lease(cluster, silent):
        undone = recovered(cluster)
    assert {one.verdict for one in undone} <= {"restored", "self-healed"}
    assert dump(api) == before
    assert recovered(cluster) == []


def test_driver_alone_leaves_nothing(api: RunningApi, tmp_path: Path) -> None:
    before = dump(api)
    command = [sys.executable, Path(__file__).parent / "undo_driver.py", api.config, tmp_path / "journal.jsonl"]
    subprocess.run(command, check=True, timeout=60)
    assert dump(api) == before
    events = [json.loads(line)["event"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert events == ["change"] * 3 + ["undone"] * 3


# --- what somebody else did meanwhile ---------------------------------------------------------------------------------


def test_field_changed_after_us_is_kept_and_named(cluster: Cluster) -> None:
    rekey(cluster)
    alter(cluster, key="a third")
    for _ in range(2):
        (undone,) = recovered(cluster)
        assert (undone.verdict, undone.finished, exit_status([undone])) == ("not-restored", False, 1)
        assert f"metadata.annotations[{KEY}]" in undone.text
        assert have(cluster, NODE)["metadata"]["annotations"][KEY] == "a third"

    (accepted,) = recovered(cluster, accept=True)
    assert (accepted.finished, exit_status([accepted])) == (True, 0)
    assert recovered(cluster) == []


def test_other_field_changed_meanwhile_is_kept_and_named(cluster: Cluster) -> None:
    rekey(cluster)
    alter(cluster, other="2", more="3")
    (undone,) = recovered(cluster)
    assert (undone.verdict, undone.finished) == ("not-restored", True)
    assert "metadata.annotations.more, metadata.annotations.other" in undone.text
    annotations = have(cluster, NODE)["metadata"]["annotations"]
    assert annotations == {KEY: "SGVsbG8=", "other": "2", "more": "3"}
    assert recovered(cluster) == []


def test_repaired_by_somebody_else_is_self_healed(cluster: Cluster) -> None:
    rekey(cluster)
    alter(cluster, key="SGVsbG8=")
    (undone,) = recovered(cluster)
    assert (undone.verdict, undone.finished) == ("self-healed", True)


def test_removed_annotation_comes_back(cluster: Cluster) -> None:
    before = have(cluster, NODE)
    annotations = {"other": "1"}
    after = {**before, "metadata": {**before["metadata"], "annotations": annotations}}
    Records(cluster).add(record(Restore(object=NODE, before=before, after=after)))
    replace(cluster, NODE, after)
    (undone,) = recovered(cluster)
    assert undone.verdict == "restored"
    assert have(cluster, NODE)["metadata"]["annotations"] == before["metadata"]["annotations"]


def test_object_deleted_by_somebody_else_stays_deleted(cluster: Cluster) -> None:
    rekey(cluster)
    delete(cluster, NODE, uid=have(cluster, NODE)["metadata"]["uid"])
    (undone,) = recovered(cluster)
    assert (undone.verdict, undone.finished) == ("not-restored", False)
    assert "deleted it meanwhile" in undone.text
    assert read(cluster, NODE) is None


@pytest.mark.parametrize(("value", "verdict"), [("djE=", "self-healed"), ("djI=", "not-restored")])
def test_secret_made_anew_by_somebody_else_is_kept(cluster: Cluster, value: str, verdict: str) -> None:
    before = have(cluster, SECRET)
    Records(cluster).add(record(Restore(object=SECRET, before=before, after=None)))
    delete(cluster, SECRET, uid=before["metadata"]["uid"])
    theirs = create(cluster, SECRET, {"metadata": {"name": "keys"}, "data": {"k": value}, "type": "Opaque"})
    (undone,) = recovered(cluster)
    assert undone.verdict == verdict
    assert theirs["metadata"]["uid"] in undone.text
    assert have(cluster, SECRET) == theirs


def test_object_of_ours_by_name_but_not_by_mark_is_left_alone(cluster: Cluster) -> None:
    create(cluster, MADE, {"metadata": {"name": "made", "labels": {"drills/run": "another"}}})
    Records(cluster).add(record(Delete(objects=(MADE,))))
    (undone,) = recovered(cluster)
    assert undone.verdict == "restored"
    assert read(cluster, MADE) is not None


def test_last_change_is_undone_first(cluster: Cluster) -> None:
    records = Records(cluster)
    for order in (0, 10, 2):
        records.add(record(Delete(objects=()), order).model_copy(update={"what": str(order)}))
    assert [one.what for one in recovered(cluster)] == ["10", "2", "0"]


# --- an API that refuses ----------------------------------------------------------------------------------------------


def refusing(api: RunningApi, method: str, path: str, times: int) -> list[str]:
    refused: list[str] = []

    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == method and path in request.path and len(refused) < times:
            refused.append(request.path)
            return web.json_response({"kind": "Status", "message": "not now"}, status=500)
        return await handler(request)

    api.gate = gate
    return refused


def test_undo_that_is_refused_twice_succeeds_in_the_end(api: RunningApi, cluster: Cluster) -> None:
    rekey(cluster)
    refused = refusing(api, "PUT", "ciliumnodes", 2)
    (undone,) = recovered(cluster)
    assert undone.verdict == "restored"
    assert len(refused) == 2


def test_undo_that_is_refused_for_good_stays_recorded(api: RunningApi, cluster: Cluster) -> None:
    rekey(cluster)
    refusing(api, "PUT", "ciliumnodes", 1000)
    (undone,) = recovered(cluster)
    assert (undone.verdict, undone.finished) == ("not-restored", False)
    assert "not now" in undone.text
    api.gate = RunningApi.gate
    (undone,) = recovered(cluster)
    assert undone.verdict == "restored"


def test_change_is_not_made_where_its_undo_cannot_be_written_down(
    api: RunningApi, cluster: Cluster, tmp_path: Path
) -> None:
    refusing(api, "POST", "secrets", 1000)
    with Journal(tmp_path / "journal.jsonl", lambda: "now", Records(cluster), RUN) as journal:
        with pytest.raises(WorldError, match="was not made"):
            journal.change("pod a/b", "delete it", how=Delete(objects=()))
        assert journal.changes() == []


def test_record_that_nobody_can_read_stops_a_run_and_is_named(cluster: Cluster) -> None:
    labels = {"app.kubernetes.io/managed-by": "drills", "drills/record": "undo"}
    text = json.dumps({"schema": "drills/undo/v2", "password": "s3cr3t"}).encode()
    create_secret(cluster, Secret("drills", "drills-undo-x", {"undo.json": text}), kind="drills/undo", labels=labels)
    (undone,) = recovered(cluster)
    assert (undone.verdict, exit_status([undone])) == ("not-verified", 3)
    assert "drills-undo-x" in undone.what
    assert "s3cr3t" not in str(undone)
    assert len(recovered(cluster)) == 1


def test_record_cannot_make_recovery_write_what_it_must_not(cluster: Cluster) -> None:
    role = {"api_version": "rbac.authorization.k8s.io/v1", "plural": "clusterroles", "name": "x", "namespace": None}
    text = record(Delete(objects=())).model_dump(by_alias=True) | {
        "undo": {"action": "restore", "object": role, "before": {}, "after": None}
    }
    labels = {"app.kubernetes.io/managed-by": "drills", "drills/record": "undo"}
    secret = Secret("drills", "drills-undo-evil", {"undo.json": json.dumps(text).encode()})
    create_secret(cluster, secret, kind="drills/undo", labels=labels)
    (undone,) = recovered(cluster)
    assert undone.verdict == "not-verified"
    assert "never restored" in undone.text


# --- the Lease --------------------------------------------------------------------------------------------------------


def held(cluster: Cluster, *, renewed: str, process: str = GONE) -> None:
    spec = {"holderIdentity": "eve@elsewhere", "leaseDurationSeconds": 30, "renewTime": renewed}
    create(cluster, LEASE, {"metadata": {"name": LEASE.name, "annotations": {"drills/process": process}}, "spec": spec})


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_held_lease_says_by_whom_and_until_when(cluster: Cluster) -> None:
    held(cluster, renewed=now())
    with pytest.raises(LeaseHeld, match=r"eve@elsewhere holds the Lease drills/drills-run until \d\d:\d\d:\d\d UTC"):
        Lease(cluster, silent).__enter__()


def test_expired_lease_is_taken_over_and_goes_with_its_new_holder(cluster: Cluster) -> None:
    held(cluster, renewed="2026-03-01T20:48:00.000000Z")
    with Lease(cluster, silent, wait=silent) as lease:
        assert lease.before is not None
        assert lease.before.holder == "eve@elsewhere"
        assert have(cluster, LEASE)["spec"]["leaseTransitions"] == 1
    assert read(cluster, LEASE) is None


def test_lease_that_only_looks_expired_is_not_taken(cluster: Cluster) -> None:
    held(cluster, renewed="2026-03-01T20:48:00.000000Z")

    def renews(_: float) -> None:
        lease = have(cluster, LEASE)
        replace(cluster, LEASE, {**lease, "spec": {**lease["spec"], "renewTime": "2026-03-01T20:48:05.000000Z"}})

    with pytest.raises(LeaseHeld, match="clock"):
        Lease(cluster, silent, wait=renews).__enter__()


def test_lease_of_a_process_that_has_ended_is_taken_at_once(cluster: Cluster) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from drills.kube.holder import Holder; print(Holder.here().process)"],
        capture_output=True,
        text=True,
        check=True,
    )
    held(cluster, renewed=now(), process=done.stdout.strip())
    with Lease(cluster, silent) as lease:
        assert lease.before is not None


def test_lease_of_a_living_process_is_held_although_it_expired_not(cluster: Cluster) -> None:
    held(cluster, renewed=now(), process=Holder.here().process)
    with pytest.raises(LeaseHeld):
        Lease(cluster, silent).__enter__()


def test_lease_is_renewed_while_it_is_held(cluster: Cluster) -> None:
    with Lease(cluster, silent, renew_seconds=0.02):
        first = have(cluster, LEASE)["spec"]
        while have(cluster, LEASE)["spec"]["renewTime"] == first["renewTime"]:
            pass
        assert have(cluster, LEASE)["spec"]["acquireTime"] == first["acquireTime"]


@pytest.mark.parametrize("theft", ["taken", "deleted"])
def test_holder_is_told_when_it_loses_the_lease(cluster: Cluster, theft: str) -> None:
    told = threading.Event()
    texts: list[str] = []

    def lost(text: str) -> None:
        texts.append(text)
        told.set()

    with Lease(cluster, lost, renew_seconds=0.05, holder=Holder("me", "")):
        while True:
            lease = have(cluster, LEASE)
            try:
                if theft == "deleted":
                    delete(cluster, LEASE, uid=lease["metadata"]["uid"])
                else:
                    replace(cluster, LEASE, {**lease, "spec": {**lease["spec"], "holderIdentity": "eve"}})
            except WorldError:
                continue  # it was just renewed
            break
        assert told.wait(10)
    assert ("eve" if theft == "taken" else "deleted") in texts[0]
    assert (read(cluster, LEASE) is None) == (theft == "deleted")


def test_lease_is_lost_when_the_api_refuses_for_long(api: RunningApi, cluster: Cluster) -> None:
    told = threading.Event()
    with Lease(cluster, lambda _: told.set(), renew_seconds=0.02, duration_seconds=1):
        refusing(api, "PUT", "leases", 10**6)
        assert told.wait(10)


def test_without_the_namespace_the_sentence_says_how_to_make_it(tmp_path: Path) -> None:
    with running_api(tmp_path) as bare:
        cluster = Cluster.connect(kubeconfig=bare.config)
        with pytest.raises(WorldError, match="kubectl create namespace drills"):
            Lease(cluster, silent).__enter__()
        assert Records(cluster).outstanding() == []


def test_run_does_not_start_over_what_is_left(cluster: Cluster) -> None:
    rekey(cluster)
    with (
        pytest.raises(WorldError, match=r"left a change on drills-api .a change.: `drills recover` first"),
        alone(cluster, silent, silent, recover_first=False, command="drills recover"),
    ):
        pytest.fail("it started")
    assert read(cluster, LEASE) is None

    with alone(cluster, silent, silent, recover_first=True, command="drills recover"):
        assert have(cluster, NODE)["metadata"]["annotations"][KEY] == "SGVsbG8="


def test_run_does_not_start_over_what_cannot_be_put_back(cluster: Cluster) -> None:
    rekey(cluster)
    alter(cluster, key="a third")
    with (
        pytest.raises(WorldError, match="could be put back"),
        alone(cluster, silent, silent, recover_first=True, command="drills recover"),
    ):
        pytest.fail("it started")


def test_what_a_run_could_not_undo_is_said_at_its_end(cluster: Cluster) -> None:
    said: list[str] = []
    with alone(cluster, said.append, silent, recover_first=False, command="drills recover --context prod"):
        rekey(cluster)
    assert said == ["Not undone on drills-api: a change. Finish it with `drills recover --context prod`."]


def test_put_back_never_raises_for_what_the_world_lacks(tmp_path: Path) -> None:
    with running_api(tmp_path) as bare:
        cluster = Cluster.connect(kubeconfig=bare.config, budget=ONCE)
    undone = put_back(cluster, record(Delete(objects=(MADE,))), wait=silent)
    assert (undone.verdict, undone.finished) == ("not-verified", False)
