"""ReplicaSets: so many pods that match, no more and no fewer."""

from __future__ import annotations

from collections.abc import Iterable

from drills.lab.api.resources import PODS, REPLICASETS, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Event, Obj, deleting, labels_of, name_of, namespace_of
from drills.lab.controllers.loop import Key
from drills.lab.controllers.owned import (
    active,
    claim,
    controller_of,
    delete_order,
    is_ready,
    key_of,
    new_pod,
    owner_keys,
    set_status,
)


class ReplicaSets:
    """The ReplicaSet controller."""

    resources: tuple[Resource, ...] = (REPLICASETS, PODS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """The ReplicaSet, or the pod's; an orphan may concern any in its namespace."""
        if resource == REPLICASETS:
            return [key_of(event.obj)]
        if controller_of(event.obj) is None:
            return [key_of(owner) for owner in self._store.list(REPLICASETS, namespace_of(event.obj))]
        return owner_keys(event, "ReplicaSet")

    def reconcile(self, key: Key) -> float | None:
        """Create or delete pods, then report."""
        owner = self._store.find(REPLICASETS, *key)
        if owner is None:
            return None
        pods = active(claim(self._store, PODS, owner, REPLICASETS))
        if not deleting(owner):
            wanted = int(owner["spec"].get("replicas", 1))
            for _ in range(wanted - len(pods)):
                pods.append(self._store.create(PODS, new_pod(owner, REPLICASETS)))
            surplus = sorted(pods, key=delete_order)[: max(0, len(pods) - wanted)]
            for pod in surplus:
                self._store.delete(PODS, key[0], name_of(pod))
            pods = [pod for pod in pods if pod not in surplus]
        self._report(owner, pods)
        return None

    def _report(self, owner: Obj, pods: list[Obj]) -> None:
        template = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
        ready = sum(map(is_ready, pods))
        status: Obj = {
            "replicas": len(pods),
            "fullyLabeledReplicas": sum(template.items() <= labels_of(pod).items() for pod in pods),
            "observedGeneration": owner["metadata"]["generation"],
        }
        if ready:
            status |= {"readyReplicas": ready, "availableReplicas": ready}
        set_status(self._store, REPLICASETS, owner, status)
