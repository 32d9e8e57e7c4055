"""StatefulSets: pods with fixed names, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drills.lab.api.resources import PODS, STATEFULSETS, Resource
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
    set_status,
    template_hash,
)

HASH = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
INDEX = "apps.kubernetes.io/pod-index"


class StatefulSets:
    """The StatefulSet controller."""

    resources: tuple[Resource, ...] = (STATEFULSETS, PODS)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """The StatefulSet, or the pod's."""
        return [key_of(event.obj)] if resource == STATEFULSETS else owner_keys(event, "StatefulSet")

    def reconcile(self, key: Key) -> float | None:
        """One step: the first pod that is missing, too many or out of date; then the report."""
        owner = self._store.find(STATEFULSETS, *key)
        if owner is None:
            return None
        pods = {name_of(pod): pod for pod in claim(self._store, PODS, owner, STATEFULSETS)}
        if not deleting(owner):
            self._step(owner, pods)
        self._report(owner)
        return None

    def _step(self, owner: Obj, pods: Mapping[str, Obj]) -> None:
        for action, name in steps(owner, pods):
            if action == "create":
                self._store.create(PODS, _pod(owner, name))
            else:
                self._store.delete(PODS, namespace_of(owner), name)

    def _report(self, owner: Obj) -> None:
        pods = claim(self._store, PODS, owner, STATEFULSETS)
        revision = _revision(owner)
        ready = sum(map(is_ready, pods))
        updated = sum(labels_of(pod).get(HASH) == revision for pod in pods)
        old = (owner.get("status") or {}).get("currentRevision")
        done = updated == len(pods) == ready
        status = {
            "observedGeneration": owner["metadata"]["generation"],
            "replicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": updated,
            "currentReplicas": updated if done else len(pods) - updated,
            "updateRevision": revision,
            "currentRevision": revision if done or not old else old,
            "collisionCount": 0,
        }
        set_status(self._store, STATEFULSETS, owner, status)


def steps(owner: Obj, pods: Mapping[str, Obj]) -> list[tuple[str, str]]:
    """What to do now: ``("create" | "delete", pod name)``; empty while a pod is awaited."""
    spec = owner["spec"]
    parallel = spec.get("podManagementPolicy") == "Parallel"
    first = int((spec.get("ordinals") or {}).get("start") or 0)
    wanted = [f"{name_of(owner)}-{first + index}" for index in range(int(spec.get("replicas", 1)))]
    found: list[tuple[str, str]] = []
    for name in wanted:
        pod = pods.get(name)
        if pod is None:
            found.append(("create", name))
        elif finished(pod) and not deleting(pod):
            found.append(("delete", name))
        if not parallel and (pod is None or deleting(pod) or not is_ready(pod)):
            return found
    surplus = sorted(set(pods) - set(wanted), key=_ordinal, reverse=True)
    for name in surplus:
        if not deleting(pods[name]):
            found.append(("delete", name))
        if not parallel:
            return found
    return found or _outdated(owner, pods, wanted)


def _outdated(owner: Obj, pods: Mapping[str, Obj], wanted: list[str]) -> list[tuple[str, str]]:
    """The last pod of an old revision, when all after it are ready."""
    strategy = owner["spec"].get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    revision = _revision(owner)
    for name in reversed(wanted[partition:]):
        pod = pods.get(name)
        if pod is None or deleting(pod):
            return []
        if labels_of(pod).get(HASH) != revision:
            return [("delete", name)]
        if not is_ready(pod):
            return []
    return []


def _pod(owner: Obj, name: str) -> Obj:
    labels = {HASH: _revision(owner), POD_NAME: name, INDEX: str(_ordinal(name))}
    pod = new_pod(owner, STATEFULSETS, name=name, labels=labels)
    spec = pod["spec"]
    spec["hostname"] = name
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    claims = [template["metadata"]["name"] for template in owner["spec"].get("volumeClaimTemplates") or []]
    volumes = [volume for volume in spec.get("volumes") or [] if volume["name"] not in claims]
    volumes += [{"name": item, "persistentVolumeClaim": {"claimName": f"{item}-{name}"}} for item in claims]
    if volumes:
        spec["volumes"] = volumes
    return pod


def _revision(owner: Obj) -> str:
    return f"{name_of(owner)}-{template_hash(owner['spec']['template'])}"


def _ordinal(name: str) -> int:
    text = name.rpartition("-")[2]
    return int(text) if text.isdigit() else 0
