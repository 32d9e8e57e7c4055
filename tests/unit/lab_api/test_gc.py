"""What belongs to something that is gone, goes."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.deletion import DeleteOptions, delete
from drills.lab.api.gc import GarbageCollector
from drills.lab.api.resources import CONFIGMAPS, NAMESPACES, PODS, SECRETS
from drills.lab.api.store import Store


@pytest.fixture
def store() -> Store:
    made = Store()
    made.create(NAMESPACES, {"metadata": {"name": "shop"}})
    return made


def owned(store: Store, name: str, *owners: dict[str, Any]) -> dict[str, Any]:
    references = [
        {"apiVersion": "v1", "kind": o["kind"], "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}
        for o in owners
    ]
    return store.create(SECRETS, {"metadata": {"name": name, "namespace": "shop", "ownerReferences": references}})


def owner(store: Store, name: str) -> dict[str, Any]:
    return store.create(CONFIGMAPS, {"metadata": {"name": name, "namespace": "shop"}})


def test_dependants_go_with_their_last_owner(store: Store) -> None:
    collector = GarbageCollector(store)
    first, second = owner(store, "first"), owner(store, "second")
    owned(store, "of-both", first, second)
    store.delete(CONFIGMAPS, "shop", "first")
    collector.sweep()
    left = store.get(SECRETS, "shop", "of-both")["metadata"]["ownerReferences"]
    assert [reference["name"] for reference in left] == ["second"]
    store.delete(CONFIGMAPS, "shop", "second")
    collector.sweep()
    assert store.find(SECRETS, "shop", "of-both") is None


def test_orphans_stay(store: Store) -> None:
    first = owner(store, "first")
    owned(store, "child", first)
    delete(store, CONFIGMAPS, first, DeleteOptions(propagation="Orphan"))
    GarbageCollector(store).sweep()
    assert store.get(SECRETS, "shop", "child")["metadata"]["ownerReferences"] == []


def test_in_the_foreground_the_owner_goes_last(store: Store) -> None:
    first = owner(store, "first")
    child = owned(store, "child", first)
    store.update(SECRETS, {**child, "metadata": {**child["metadata"], "finalizers": ["drills/hold"]}})
    delete(store, CONFIGMAPS, first, DeleteOptions(propagation="Foreground"))
    collector = GarbageCollector(store)
    collector.sweep()
    assert store.find(CONFIGMAPS, "shop", "first") is not None
    held = store.get(SECRETS, "shop", "child")
    store.update(SECRETS, {**held, "metadata": {**held["metadata"], "finalizers": []}})
    collector.sweep()
    assert store.find(CONFIGMAPS, "shop", "first") is None


def test_a_namespace_goes_when_it_is_empty(store: Store) -> None:
    collector = GarbageCollector(store, namespace_grace=1.0)
    owner(store, "first")
    store.create(
        PODS, {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"nodeName": "k8s-w1", "containers": []}}
    )
    store.delete(NAMESPACES, None, "shop")
    assert collector.sweep(10.0) == 1.0
    assert store.find(CONFIGMAPS, "shop", "first") is not None
    assert collector.sweep(11.0) is None
    assert store.find(CONFIGMAPS, "shop", "first") is None
    assert store.get(PODS, "shop", "p")["metadata"]["deletionTimestamp"]
    store.remove(PODS, "shop", "p")
    collector.sweep(12.0)
    assert store.find(NAMESPACES, None, "shop") is None
