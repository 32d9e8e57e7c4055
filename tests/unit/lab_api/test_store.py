"""The rules that every client of the API relies on, at the Store itself."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from drills.lab.api.errors import ApiError
from drills.lab.api.resources import CNP, CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS, SECRETS, SERVICEACCOUNTS
from drills.lab.api.store import Store

NOON = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def store() -> Store:
    made = Store(clock=lambda: NOON, history=64)
    made.create(NAMESPACES, {"metadata": {"name": "shop"}})
    return made


def config(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "data": data}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


def test_creating_stamps_the_object(store: Store) -> None:
    made = store.create(CONFIGMAPS, config(x="1"))
    assert made["apiVersion"] == "v1"
    assert made["kind"] == "ConfigMap"
    assert made["metadata"]["creationTimestamp"] == "2026-11-22T12:00:00Z"
    assert made["metadata"]["generation"] == 1
    assert made["metadata"]["resourceVersion"] == str(store.revision)
    assert len(made["metadata"]["uid"]) == 36


def test_creating_does_not_keep_the_callers_object(store: Store) -> None:
    given = config(x="1")
    store.create(CONFIGMAPS, given)
    given["data"]["x"] = "2"
    assert store.get(CONFIGMAPS, "shop", "a")["data"] == {"x": "1"}


def test_creating_twice_is_a_conflict(store: Store) -> None:
    store.create(CONFIGMAPS, config())
    with pytest.raises(ApiError, match='configmaps "a" already exists') as caught:
        store.create(CONFIGMAPS, config())
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


def test_a_missing_namespace_is_not_found(store: Store) -> None:
    with pytest.raises(ApiError, match='namespaces "nowhere" not found'):
        store.create(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "nowhere"}})


def test_a_generated_name_is_unlike_the_next(store: Store) -> None:
    names = {
        store.create(CONFIGMAPS, {"metadata": {"generateName": "run-", "namespace": "shop"}})["metadata"]["name"]
        for _ in range(5)
    }
    assert len(names) == 5
    assert all(name.startswith("run-") and len(name) == 9 for name in names)


def test_a_namespace_gets_its_label_and_its_service_account(store: Store) -> None:
    assert store.get(NAMESPACES, None, "shop")["metadata"]["labels"] == {"kubernetes.io/metadata.name": "shop"}
    assert store.get(SERVICEACCOUNTS, "shop", "default")


def test_string_data_is_write_only(store: Store) -> None:
    made = store.create(SECRETS, {"metadata": {"name": "s", "namespace": "shop"}, "stringData": {"key": "secret"}})
    assert made["data"] == {"key": "c2VjcmV0"}
    assert "stringData" not in made


def test_an_update_with_a_stale_version_is_a_conflict(store: Store) -> None:
    first = store.create(CONFIGMAPS, config(x="1"))
    store.update(CONFIGMAPS, {**first, "data": {"x": "2"}})
    with pytest.raises(ApiError, match="the object has been modified") as caught:
        store.update(CONFIGMAPS, {**first, "data": {"x": "3"}})
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")


def test_an_update_of_another_object_of_that_name_is_a_conflict(store: Store) -> None:
    first = store.create(CONFIGMAPS, config())
    store.delete(CONFIGMAPS, "shop", "a")
    second = store.create(CONFIGMAPS, config())
    stale = {**second, "metadata": {**second["metadata"], "uid": first["metadata"]["uid"]}}
    with pytest.raises(ApiError, match="UID in precondition"):
        store.update(CONFIGMAPS, stale)


def test_the_generation_rises_with_the_spec_only(store: Store) -> None:
    made = store.create(CNP, {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"ingress": [{}]}})
    labelled = store.update(CNP, {**made, "metadata": {**made["metadata"], "labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 1
    judged = store.set_status(CNP, "shop", "p", {"conditions": []})
    assert judged["metadata"]["generation"] == 1
    changed = store.update(CNP, {**judged, "spec": {"egress": [{}]}})
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == {"conditions": []}


def test_an_update_without_a_change_is_no_event(store: Store) -> None:
    made = store.create(CONFIGMAPS, config(x="1"))
    before = store.revision
    assert store.update(CONFIGMAPS, config(x="1")) == made
    assert store.revision == before


def test_an_update_does_not_touch_the_status(store: Store) -> None:
    store.create(PODS, pod())
    store.set_status(PODS, "shop", "p", {"phase": "Running", "podIP": "10.244.1.10"})
    updated = store.update(PODS, {**store.get(PODS, "shop", "p"), "status": {"phase": "Failed"}})
    assert updated["status"] == {"phase": "Running", "podIP": "10.244.1.10"}


def test_a_dry_run_changes_nothing(store: Store) -> None:
    before = store.revision
    assert store.create(CONFIGMAPS, config(), dry_run=True)["metadata"]["uid"]
    assert store.find(CONFIGMAPS, "shop", "a") is None
    store.create(CONFIGMAPS, config())
    store.update(CONFIGMAPS, config(x="1"), dry_run=True)
    store.delete(CONFIGMAPS, "shop", "a", dry_run=True)
    assert store.get(CONFIGMAPS, "shop", "a")["data"] == {}
    assert store.revision == before + 1


def test_listing_by_namespace_and_labels(store: Store) -> None:
    store.create(NAMESPACES, {"metadata": {"name": "other"}})
    for namespace, name, tier in (("shop", "b", "x"), ("shop", "a", "x"), ("shop", "c", "y"), ("other", "a", "x")):
        store.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": namespace, "labels": {"tier": tier}}})
    found = store.list(CONFIGMAPS, "shop", {"tier": "x"})
    assert [obj["metadata"]["name"] for obj in found] == ["a", "b"]
    assert len(store.list(CONFIGMAPS)) == 4


def test_a_pod_on_a_node_waits_for_its_kubelet(store: Store) -> None:
    store.create(PODS, pod(nodeName="k8s-w1", terminationGracePeriodSeconds=5))
    dying = store.delete(PODS, "shop", "p")
    assert dying["metadata"]["deletionTimestamp"] == "2026-11-22T12:00:05Z"
    assert dying["metadata"]["deletionGracePeriodSeconds"] == 5
    assert store.delete(PODS, "shop", "p") is dying
    assert store.delete(PODS, "shop", "p", grace=1)["metadata"]["deletionGracePeriodSeconds"] == 1
    store.remove(PODS, "shop", "p")
    assert store.find(PODS, "shop", "p") is None
    store.remove(PODS, "shop", "p")


@pytest.mark.parametrize(("spec", "phase", "grace"), [({}, "Pending", None), ({"nodeName": "n"}, "Succeeded", None),
                                                      ({"nodeName": "n"}, "Running", 0)])  # fmt: skip
def test_a_pod_that_nobody_needs_to_stop_goes_at_once(
    store: Store, spec: dict[str, str], phase: str, grace: int | None
) -> None:
    store.create(PODS, pod(**spec))
    store.set_status(PODS, "shop", "p", {"phase": phase})
    store.delete(PODS, "shop", "p", grace=grace)
    assert store.find(PODS, "shop", "p") is None


def test_an_object_goes_with_its_last_finalizer(store: Store) -> None:
    made = store.create(CONFIGMAPS, config())
    held = store.update(CONFIGMAPS, {**made, "metadata": {**made["metadata"], "finalizers": ["drills/undo"]}})
    waiting = store.delete(CONFIGMAPS, "shop", "a")
    assert waiting["metadata"]["deletionTimestamp"]
    assert held["metadata"]["uid"] == waiting["metadata"]["uid"]
    store.update(CONFIGMAPS, {**waiting, "metadata": {**waiting["metadata"], "finalizers": []}})
    assert store.find(CONFIGMAPS, "shop", "a") is None


def test_nothing_new_enters_a_namespace_that_ends(store: Store) -> None:
    assert store.delete(NAMESPACES, None, "shop")["status"]["phase"] == "Terminating"
    with pytest.raises(ApiError, match="because it is being terminated") as caught:
        store.create(CONFIGMAPS, config())
    assert caught.value.status == 403


def test_a_watch_begins_with_what_is_there_and_goes_on(store: Store) -> None:
    async def follow() -> list[tuple[str, Any]]:
        store.create(CONFIGMAPS, config(x="1"))
        watch = store.watch(CONFIGMAPS)
        store.update(CONFIGMAPS, config(x="2"))
        store.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "shop"}, "spec": {}})
        store.delete(CONFIGMAPS, "shop", "a")
        watch.close()
        return [(kind, obj["data"]) async for kind, obj in watch]

    seen = asyncio.run(follow())
    assert seen == [("ADDED", {"x": "1"}), ("MODIFIED", {"x": "2"}), ("DELETED", {"x": "2"})]


def test_a_watch_resumes_where_it_was(store: Store) -> None:
    async def follow() -> list[str]:
        revision = int(store.create(CONFIGMAPS, config("a"))["metadata"]["resourceVersion"])
        store.create(CONFIGMAPS, config("b"))
        watch = store.watch(CONFIGMAPS, since=revision)
        store.create(CONFIGMAPS, config("c"))
        watch.close()
        return [obj["metadata"]["name"] async for _, obj in watch]

    assert asyncio.run(follow()) == ["b", "c"]


def test_a_watch_from_before_the_history_is_refused(store: Store) -> None:
    start = store.revision
    for number in range(70):
        store.create(CONFIGMAPS, config(f"c{number}"))
    with pytest.raises(ApiError, match="too old resource version") as caught:
        store.watch(CONFIGMAPS, since=start)
    assert (caught.value.status, caught.value.reason) == (410, "Expired")
    store.watch(CONFIGMAPS, since=store.revision - 64).close()


def test_a_watch_from_another_life_of_the_lab_is_refused(store: Store) -> None:
    with pytest.raises(ApiError, match="too large resource version"):
        store.watch(CONFIGMAPS, since=store.revision + 1)


def test_a_waiting_watch_ends_when_it_is_closed(store: Store) -> None:
    async def follow() -> list[Any]:
        watch = store.watch(PODS)
        reader = asyncio.ensure_future(anext(watch, None))
        await asyncio.sleep(0)
        watch.close()
        return [await reader]

    assert asyncio.run(follow()) == [None]
