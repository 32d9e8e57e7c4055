"""Deployments: a ReplicaSet for every version of the template, and the way from one to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drills.lab.api.resources import DEPLOYMENTS, PODS, REPLICASETS, Resource
from drills.lab.api.store import Store, timestamp, utc_now
from drills.lab.api.types import Event, Obj, annotations_of, deleting, labels_of, name_of, namespace_of
from drills.lab.controllers.loop import Key
from drills.lab.controllers.owned import (
    claim,
    condition,
    key_of,
    owned,
    owner_keys,
    percentage,
    reference_to,
    set_status,
    template_hash,
)

HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True, slots=True)
class Scale:
    """A ReplicaSet's place in a rollout."""

    name: str
    wanted: int
    existing: int
    available: int


class Deployments:
    """The Deployment controller."""

    resources: tuple[Resource, ...] = (DEPLOYMENTS, REPLICASETS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """The Deployment, or the ReplicaSet's."""
        return [key_of(event.obj)] if resource == DEPLOYMENTS else owner_keys(event, "Deployment")

    def reconcile(self, key: Key) -> float | None:
        """One step of the rollout, then the report."""
        deployment = self._store.find(DEPLOYMENTS, *key)
        if deployment is None or deleting(deployment):
            return None
        sets = claim(self._store, REPLICASETS, deployment, DEPLOYMENTS)
        current = _current(deployment, sets)
        if current is None and not deployment["spec"].get("paused"):
            current = self._create(deployment, sets)
            sets = [*sets, current]
        deployment = self._number(deployment, current, sets)
        if current is not None:
            self._roll(deployment, current, [other for other in sets if other is not current])
        sets = owned(self._store, REPLICASETS, deployment)
        self._report(deployment, _current(deployment, sets), sets)
        return None

    def _create(self, deployment: Obj, sets: Sequence[Obj]) -> Obj:
        spec = deployment["spec"]
        short = template_hash(spec["template"])
        meta = (spec["template"].get("metadata") or {}).copy()
        labels = {**(meta.get("labels") or {}), HASH: short}
        selector = spec.get("selector") or {}
        selector = {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), HASH: short}}
        replicas = int(spec.get("replicas", 1))
        replica_set = {
            "metadata": {
                "name": f"{name_of(deployment)}-{short}",
                "namespace": namespace_of(deployment),
                "labels": labels,
                "annotations": {REVISION: str(1 + max(map(_revision, sets), default=0))},
                "ownerReferences": [reference_to(deployment, DEPLOYMENTS)],
            },
            "spec": {
                "replicas": replicas if not sets else 0,
                "selector": selector,
                "template": {**spec["template"], "metadata": {**meta, "labels": labels}},
            },
        }
        return self._store.create(REPLICASETS, replica_set)

    def _number(self, deployment: Obj, current: Obj | None, sets: Sequence[Obj]) -> Obj:
        """The current ReplicaSet has the highest revision, and the Deployment shows it."""
        if current is None:
            return deployment
        highest = max(map(_revision, sets))
        if _revision(current) < highest:
            current = self._annotate(REPLICASETS, current, str(highest + 1))
        return self._annotate(DEPLOYMENTS, deployment, str(_revision(current)))

    def _annotate(self, resource: Resource, obj: Obj, revision: str) -> Obj:
        if annotations_of(obj).get(REVISION) == revision:
            return obj
        annotations = {**annotations_of(obj), REVISION: revision}
        return self._store.update(resource, {**obj, "metadata": {**obj["metadata"], "annotations": annotations}})

    def _roll(self, deployment: Obj, current: Obj, others: Sequence[Obj]) -> None:
        pods = self._store.list(PODS, namespace_of(deployment))
        old = [_scale(other, pods) for other in others]
        wanted = step(deployment["spec"], _scale(current, pods), old)
        for replica_set in (current, *others):
            replicas = wanted[name_of(replica_set)]
            there = self._store.find(REPLICASETS, namespace_of(replica_set), name_of(replica_set))
            if there is not None and there["spec"].get("replicas") != replicas:
                self._store.update(REPLICASETS, {**there, "spec": {**there["spec"], "replicas": replicas}})
        self._clean_up(deployment, others)

    def _clean_up(self, deployment: Obj, others: Sequence[Obj]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit")
        empty = [other for other in others if not other["spec"].get("replicas") and not _count(other, "replicas")]
        for other in sorted(empty, key=_revision)[: max(0, len(empty) - int(10 if limit is None else limit))]:
            self._store.delete(REPLICASETS, namespace_of(other), name_of(other))

    def _report(self, deployment: Obj, current: Obj | None, sets: Sequence[Obj]) -> None:
        replicas = int(deployment["spec"].get("replicas", 1))
        _, unavailable = limits(deployment["spec"])
        total, available = (sum(_count(item, field) for item in sets) for field in ("replicas", "availableReplicas"))
        updated = _count(current, "replicas") if current else 0
        complete = updated == replicas == total == available
        counts = {
            "replicas": total,
            "updatedReplicas": updated,
            "readyReplicas": sum(_count(item, "readyReplicas") for item in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(0, replicas - available),
        }
        name = name_of(current) if current else ""
        status = {
            "observedGeneration": deployment["metadata"]["generation"],
            **{key: value for key, value in counts.items() if value},
            "conditions": _conditions(deployment, available >= replicas - unavailable, name, complete=complete),
        }
        set_status(self._store, DEPLOYMENTS, deployment, status)


def step(spec: Obj, current: Scale, old: Sequence[Scale]) -> dict[str, int]:
    """How many pods each ReplicaSet should have next (pkg/controller/deployment/rolling.go, recreate.go)."""
    replicas = int(spec.get("replicas", 1))
    if spec.get("paused"):
        return {item.name: item.wanted for item in (current, *old)}
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        gone = not any(item.existing for item in old)
        return {**{item.name: 0 for item in old}, current.name: replicas if gone else current.wanted}
    surge, unavailable = limits(spec)
    total = current.wanted + sum(item.wanted for item in old)
    room = replicas + surge - total
    wanted = {current.name: min(replicas, current.wanted + max(0, room))}
    if current.wanted > replicas:
        wanted[current.name] = replicas
    least = replicas - unavailable
    not_available = max(0, current.wanted - current.available)
    spare = total - least - not_available  # old pods that may go, the unavailable ones first
    available = current.available + sum(item.available for item in old)
    for item in old:
        broken = min(item.wanted - item.available, max(0, spare))
        left = item.wanted - max(0, broken)
        spare -= max(0, broken)
        healthy = min(left, max(0, available - least), max(0, spare))
        available -= healthy
        spare -= healthy
        wanted[item.name] = left - healthy
    return wanted


def limits(spec: Obj) -> tuple[int, int]:
    """How many pods a rollout may have too many and too few; never both 0."""
    replicas = int(spec.get("replicas", 1))
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = percentage(rolling.get("maxSurge", "25%"), replicas, up=True)
    unavailable = percentage(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    return surge, (unavailable if surge or unavailable else 1)


def _current(deployment: Obj, sets: Sequence[Obj]) -> Obj | None:
    """The ReplicaSet whose template is the Deployment's."""
    wanted = template_hash(deployment["spec"]["template"])
    return next((item for item in sets if labels_of(item).get(HASH) == wanted and not deleting(item)), None)


def _scale(replica_set: Obj, pods: Iterable[Obj]) -> Scale:
    uid = replica_set["metadata"]["uid"]
    existing = sum(any(ref["uid"] == uid for ref in pod["metadata"].get("ownerReferences") or []) for pod in pods)
    wanted = int(replica_set["spec"].get("replicas", 1))
    return Scale(name_of(replica_set), wanted, existing, min(wanted, _count(replica_set, "availableReplicas")))


def _count(replica_set: Obj, field: str) -> int:
    return int((replica_set.get("status") or {}).get(field) or 0)


def _revision(replica_set: Obj) -> int:
    return int(annotations_of(replica_set).get(REVISION) or 0)


def _conditions(deployment: Obj, enough: bool, current: str, *, complete: bool) -> list[Obj]:
    old = (deployment.get("status") or {}).get("conditions") or []
    now = timestamp(utc_now())
    if enough:
        availability = ("MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        availability = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    if complete:
        progress = ("NewReplicaSetAvailable", f'ReplicaSet "{current}" has successfully progressed.')
    else:
        progress = ("ReplicaSetUpdated", f'ReplicaSet "{current}" is progressing.')
    return [
        condition(old, "Available", true=enough, reason=availability[0], message=availability[1], now=now),
        condition(old, "Progressing", true=True, reason=progress[0], message=progress[1], now=now),
    ]
