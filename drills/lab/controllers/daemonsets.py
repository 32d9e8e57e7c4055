"""DaemonSets: one pod on every node that fits."""

from __future__ import annotations

from collections.abc import Iterable

from drills.lab.api.resources import DAEMONSETS, NODES, PODS, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Event, Obj, deleting, labels_of, name_of, namespace_of
from drills.lab.controllers.loop import Key
from drills.lab.controllers.owned import (
    claim,
    finished,
    is_ready,
    key_of,
    new_pod,
    owner_keys,
    percentage,
    set_status,
    template_hash,
)
from drills.lab.controllers.scheduler import fits

HASH = "controller-revision-hash"


class DaemonSets:
    """The DaemonSet controller."""

    resources: tuple[Resource, ...] = (DAEMONSETS, PODS, NODES)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """The DaemonSet, or the pod's; all when nodes change."""
        if resource == NODES:
            return [key_of(owner) for owner in self._store.list(DAEMONSETS)]
        return [key_of(event.obj)] if resource == DAEMONSETS else owner_keys(event, "DaemonSet")

    def reconcile(self, key: Key) -> float | None:
        """Pods where they are missing, none where they do not belong, old ones replaced; then the report."""
        owner = self._store.find(DAEMONSETS, *key)
        if owner is None:
            return None
        pods = claim(self._store, PODS, owner, DAEMONSETS)
        nodes = [name_of(node) for node in self._store.list(NODES) if fits(owner["spec"]["template"], node)]
        if not deleting(owner):
            self._place(owner, pods, nodes)
            self._replace(owner, pods, nodes)
        self._report(owner, nodes)
        return None

    def _place(self, owner: Obj, pods: list[Obj], nodes: list[str]) -> None:
        there = {pod["spec"].get("nodeName") for pod in pods}
        for node in nodes:
            if node not in there:
                pod = new_pod(owner, DAEMONSETS, labels={HASH: template_hash(owner["spec"]["template"])})
                pod["spec"]["nodeName"] = node
                self._store.create(PODS, pod)
        for pod in pods:
            if not deleting(pod) and (finished(pod) or pod["spec"].get("nodeName") not in nodes):
                self._store.delete(PODS, namespace_of(pod), name_of(pod))

    def _replace(self, owner: Obj, pods: list[Obj], nodes: list[str]) -> None:
        strategy = owner["spec"].get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        revision = template_hash(owner["spec"]["template"])
        rolling = strategy.get("rollingUpdate") or {}
        missing = len(nodes) - sum(is_ready(pod) and not deleting(pod) for pod in pods)
        room = max(1, percentage(rolling.get("maxUnavailable", 1), len(nodes), up=True)) - missing
        old = [pod for pod in pods if labels_of(pod).get(HASH) != revision and not deleting(pod)]
        for pod in sorted(old, key=is_ready):
            if is_ready(pod) and room <= 0:
                return
            room -= is_ready(pod)
            self._store.delete(PODS, namespace_of(pod), name_of(pod))

    def _report(self, owner: Obj, nodes: list[str]) -> None:
        revision = template_hash(owner["spec"]["template"])
        pods = [pod for pod in claim(self._store, PODS, owner, DAEMONSETS) if not deleting(pod)]
        here = [pod for pod in pods if pod["spec"].get("nodeName") in nodes]
        ready = sum(map(is_ready, here))
        status = {
            "observedGeneration": owner["metadata"]["generation"],
            "desiredNumberScheduled": len(nodes),
            "currentNumberScheduled": len(here),
            "updatedNumberScheduled": sum(labels_of(pod).get(HASH) == revision for pod in here),
            "numberReady": ready,
            "numberAvailable": ready,
            "numberMisscheduled": len(pods) - len(here),
        }
        if len(nodes) > ready:
            status["numberUnavailable"] = len(nodes) - ready
        set_status(self._store, DAEMONSETS, owner, status)
