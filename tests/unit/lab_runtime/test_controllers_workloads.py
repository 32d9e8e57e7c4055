"""Workload controllers: what they decide, and what they do to the Store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.lab.api.resources import DAEMONSETS, DEPLOYMENTS, NAMESPACES, NODES, PODS, REPLICASETS, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Obj
from drills.lab.controllers import jobs
from drills.lab.controllers.daemonsets import DaemonSets
from drills.lab.controllers.deployments import Deployments, Scale, limits, step
from drills.lab.controllers.owned import controller_of, percentage, template_hash
from drills.lab.controllers.replicasets import ReplicaSets
from drills.lab.controllers.scheduler import Scheduler, choose
from drills.lab.controllers.statefulsets import steps

LABELS = {"app": "x"}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


@pytest.fixture
def store() -> Store:
    made = Store()
    made.create(NAMESPACES, {"metadata": {"name": "n"}})
    for node in ("k8s-w1", "k8s-w2"):
        made.create(NODES, {"metadata": {"name": node, "labels": {"zone": node[-1]}}})
    return made


def replica_set(store: Store, replicas: int, name: str = "rs") -> Obj:
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    return store.create(REPLICASETS, {"metadata": {"name": name, "namespace": "n"}, "spec": spec})


def names(store: Store, resource: Resource = PODS) -> set[str]:
    return {obj["metadata"]["name"] for obj in store.list(resource)}


def make_ready(store: Store) -> None:
    for pod in store.list(PODS):
        store.set_status(PODS, "n", pod["metadata"]["name"], {**pod["status"], **READY})


def pod(store: Store, name: str, **metadata: Any) -> Obj:
    meta = {"name": name, "namespace": "n", "labels": LABELS, **metadata}
    return store.create(PODS, {"metadata": meta, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})


def test_replica_set_makes_and_takes_pods(store: Store) -> None:
    owner = replica_set(store, 3)
    controller = ReplicaSets(store)
    controller.reconcile(("n", "rs"))
    controller.reconcile(("n", "rs"))
    assert len(names(store)) == 3
    assert store.get(REPLICASETS, "n", "rs")["status"]["replicas"] == 3
    store.update(
        REPLICASETS, {**owner, "metadata": {"name": "rs", "namespace": "n"}, "spec": {**owner["spec"], "replicas": 1}}
    )
    controller.reconcile(("n", "rs"))
    assert len(names(store)) == 1


def test_orphans_are_adopted_and_pods_of_others_left_alone(store: Store) -> None:
    pod(store, "orphan")
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "name": "run", "uid": "u", "controller": True}
    pod(store, "drill", ownerReferences=[config_map])
    owner = replica_set(store, 1)
    ReplicaSets(store).reconcile(("n", "rs"))
    assert names(store) == {"orphan", "drill"}  # none made: the orphan will do
    reference = controller_of(store.get(PODS, "n", "orphan"))
    assert reference is not None
    assert reference["uid"] == owner["metadata"]["uid"]
    assert controller_of(store.get(PODS, "n", "drill")) == config_map


def test_pod_that_no_longer_matches_is_let_go(store: Store) -> None:
    replica_set(store, 1)
    controller = ReplicaSets(store)
    controller.reconcile(("n", "rs"))
    (made,) = store.list(PODS)
    store.update(PODS, {**made, "metadata": {**made["metadata"], "labels": {"app": "quarantine"}}})
    controller.reconcile(("n", "rs"))
    assert len(names(store)) == 2
    assert controller_of(store.get(PODS, "n", made["metadata"]["name"])) is None


def roll(store: Store, change: Callable[[Obj], Obj] | None = None) -> None:
    """Bring a Deployment to rest, every pod ready as soon as it is there."""
    if change is not None:
        old = store.get(DEPLOYMENTS, "n", "web")
        store.update(DEPLOYMENTS, {**old, "spec": change(old["spec"])})
    deployments, replica_sets = Deployments(store), ReplicaSets(store)
    for _ in range(12):
        deployments.reconcile(("n", "web"))
        for name in names(store, REPLICASETS):
            replica_sets.reconcile(("n", name))
        make_ready(store)


def test_deployment_rolls_out_and_back(store: Store) -> None:
    spec = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    store.create(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "n"}, "spec": spec})
    roll(store)
    first = names(store, REPLICASETS)
    status = store.get(DEPLOYMENTS, "n", "web")["status"]
    assert (status["replicas"], status["updatedReplicas"], status["availableReplicas"]) == (2, 2, 2)
    original = store.get(DEPLOYMENTS, "n", "web")["spec"]["template"]
    changed = {**original, "metadata": {"labels": {**LABELS, "v": "2"}}}
    roll(store, lambda now: {**now, "template": changed})
    assert sorted(item["spec"]["replicas"] for item in store.list(REPLICASETS)) == [0, 2]
    assert store.get(DEPLOYMENTS, "n", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    roll(store, lambda now: {**now, "template": original})
    (again,) = [item for item in store.list(REPLICASETS) if item["spec"]["replicas"]]
    assert {again["metadata"]["name"]} == first
    assert store.get(DEPLOYMENTS, "n", "web")["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


@given(
    replicas=st.integers(0, 8),
    surge=st.sampled_from([0, 1, 2, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, "25%", "50%"]),
    begin=st.integers(0, 8),
)
def test_rollout_ends_and_stays_within_its_limits(
    replicas: int, surge: int | str, unavailable: int | str, begin: int
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec = {"replicas": replicas, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
    most, fewest = limits(spec)
    new, old = Scale("new", 0, 0, 0), Scale("old", begin, begin, begin)
    for _ in range(40):
        wanted = step(spec, new, [old])
        assert sum(wanted.values()) <= max(replicas + most, new.wanted + old.wanted)
        # old pods that are available go only while enough others are
        leaving = min(wanted["old"], old.available)
        assert leaving == old.available or new.available + leaving >= replicas - fewest
        new = Scale("new", wanted["new"], wanted["new"], wanted["new"])
        old = Scale("old", wanted["old"], wanted["old"], min(old.available, wanted["old"]))
    assert (new.wanted, old.wanted) == (replicas, 0)


def test_recreate_waits_for_the_old_to_be_gone() -> None:
    spec = {"replicas": 2, "strategy": {"type": "Recreate"}}
    assert step(spec, Scale("new", 0, 0, 0), [Scale("old", 2, 2, 2)]) == {"new": 0, "old": 0}
    assert step(spec, Scale("new", 0, 0, 0), [Scale("old", 0, 1, 0)]) == {"new": 0, "old": 0}
    assert step(spec, Scale("new", 0, 0, 0), [Scale("old", 0, 0, 0)]) == {"new": 2, "old": 0}


def test_stateful_set_goes_one_by_one() -> None:
    owner: Obj = {"metadata": {"name": "db"}, "spec": {"replicas": 2, "template": TEMPLATE}}
    label = {"controller-revision-hash": f"db-{template_hash(TEMPLATE)}"}
    waiting: Obj = {"metadata": {"name": "db-0", "labels": label}, "status": {"phase": "Running"}}
    ready: Obj = {**waiting, "status": READY}
    assert steps(owner, {}) == [("create", "db-0")]
    assert steps(owner, {"db-0": waiting}) == []
    assert steps(owner, {"db-0": ready}) == [("create", "db-1")]
    assert steps({**owner, "spec": {**owner["spec"], "podManagementPolicy": "Parallel"}}, {}) == [
        ("create", "db-0"),
        ("create", "db-1"),
    ]
    everybody = {"db-0": ready, "db-1": ready, "db-2": ready, "db-3": ready}
    assert steps(owner, everybody) == [("delete", "db-3")]
    old: Obj = {"metadata": {"name": "db-1", "labels": {}}, "status": READY}
    assert steps(owner, {"db-0": old, "db-1": old}) == [("delete", "db-1")]


def test_daemon_set_has_a_pod_on_every_node(store: Store) -> None:
    spec = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
    store.create(DAEMONSETS, {"metadata": {"name": "agent", "namespace": "n"}, "spec": spec})
    controller = DaemonSets(store)
    controller.reconcile(("n", "agent"))
    assert {made["spec"]["nodeName"] for made in store.list(PODS)} == {"k8s-w1", "k8s-w2"}
    node = store.get(NODES, None, "k8s-w2")
    store.update(NODES, {**node, "spec": {"unschedulable": True}})
    controller.reconcile(("n", "agent"))
    assert store.get(DAEMONSETS, "n", "agent")["status"]["desiredNumberScheduled"] == 1


def job(**spec: Any) -> Obj:
    return {"spec": {"completions": 1, "parallelism": 1, "backoffLimit": 2, **spec}, "status": {}}


def test_jobs_end() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert jobs.verdict(job(), 0, 2, 1, now) is None
    complete, failed = jobs.verdict(job(), 1, 0, 0, now), jobs.verdict(job(), 0, 3, 0, now)
    assert complete is not None
    assert failed is not None
    assert (complete["kind"], failed["reason"]) == ("Complete", "BackoffLimitExceeded")
    late = {**job(activeDeadlineSeconds=5), "status": {"startTime": "2025-12-31T23:59:50Z"}}
    ended = jobs.verdict(late, 0, 0, 1, now)
    assert ended is not None
    assert ended["reason"] == "DeadlineExceeded"
    assert jobs.missing(job(completions=5, parallelism=2), 4, 0) == 1
    assert jobs.missing(job(completions=None, parallelism=2), 1, 1) == 0


def test_scheduler_spreads_and_obeys(store: Store) -> None:
    replica_set(store, 4)
    ReplicaSets(store).reconcile(("n", "rs"))
    scheduler = Scheduler(store)
    for name in names(store):
        scheduler.reconcile(("n", name))
    nodes = [made["spec"]["nodeName"] for made in store.list(PODS)]
    assert sorted(nodes) == ["k8s-w1", "k8s-w1", "k8s-w2", "k8s-w2"]
    picky: Obj = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"nodeSelector": {"zone": "2"}}}
    assert choose(picky, store.list(NODES), []) == "k8s-w2"
    assert choose({**picky, "spec": {"nodeSelector": {"zone": "9"}}}, store.list(NODES), []) is None


def test_a_preferred_node_wins_over_pods_that_are_alike_but_not_over_a_cordon(store: Store) -> None:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["k8s-w2"]}]}
    affinity = {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}
    }
    pod: Obj = {"metadata": {"name": "p", "namespace": "n", "labels": LABELS}, "spec": {"affinity": affinity}}
    there = [{**pod, "spec": {"nodeName": "k8s-w2"}, "status": READY}] * 3
    assert choose(pod, store.list(NODES), there) == "k8s-w2"
    cordoned = [{**node, "spec": {"unschedulable": node["metadata"]["name"] == "k8s-w2"}} for node in store.list(NODES)]
    assert choose(pod, cordoned, there) == "k8s-w1"


def test_pod_that_fits_nowhere_says_so_once(store: Store) -> None:
    meta = {"name": "p", "namespace": "n"}
    store.create(PODS, {"metadata": meta, "spec": {"nodeSelector": {"zone": "9"}, "containers": []}})
    scheduler = Scheduler(store)
    scheduler.reconcile(("n", "p"))
    revision = store.revision
    scheduler.reconcile(("n", "p"))
    assert store.revision == revision
    (condition,) = store.get(PODS, "n", "p")["status"]["conditions"]
    assert condition["reason"] == "Unschedulable"


@pytest.mark.parametrize(
    ("value", "total", "up", "share"), [("25%", 2, True, 1), ("25%", 2, False, 0), (3, 9, True, 3), (None, 9, True, 0)]
)
def test_percentages(value: int | str | None, total: int, up: bool, share: int) -> None:
    assert percentage(value, total, up=up) == share
