"""Finds a node for every pod: by its selectors, then by what it prefers, then the one with the fewest pods like it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from drills.lab.api.resources import NODES, PODS, Resource
from drills.lab.api.store import Store, timestamp, utc_now
from drills.lab.api.types import Event, Obj, deleting, labels_of, name_of, namespace_of
from drills.lab.controllers.loop import Key
from drills.lab.controllers.owned import controller_of, finished, key_of
from drills.lab.runtime import events


class Scheduler:
    """The scheduler's controller."""

    resources: tuple[Resource, ...] = (PODS, NODES)

    def __init__(self, store: Store) -> None:
        self._store = store

    def affected(self, resource: Resource, event: Event) -> Iterable[Key]:
        """Pods without a node; all of them when nodes change."""
        pods = [event.obj] if resource == PODS else self._store.list(PODS)
        if event.type == "DELETED" and resource == PODS:
            return []
        return [key_of(pod) for pod in pods if not pod["spec"].get("nodeName")]

    def reconcile(self, key: Key) -> float | None:
        """Bind the pod, or say why it cannot be."""
        pod = self._store.find(PODS, *key)
        if pod is None or deleting(pod) or pod["spec"].get("nodeName") or finished(pod):
            return None
        nodes = self._store.list(NODES)
        node = choose(pod, nodes, self._store.list(PODS))
        now = timestamp(utc_now())
        if node is None:
            message = f"0/{len(nodes)} nodes are available: no node matches the pod's selectors and is schedulable."
            facts = {"status": "False", "reason": "Unschedulable", "message": message}
            if _set_scheduled(self._store, pod, facts, now):
                events.record(self._store, pod, "FailedScheduling", message, source="default-scheduler")
            return None
        bound = self._store.update(PODS, {**pod, "spec": {**pod["spec"], "nodeName": node}})
        _set_scheduled(self._store, bound, {"status": "True"}, now)
        return None


def choose(pod: Obj, nodes: Sequence[Obj], pods: Iterable[Obj]) -> str | None:
    """The name of the best node. Deterministic: most preferred, fewest siblings, fewest pods, by name."""
    preferred = {name_of(node): _preference(pod, node) for node in nodes if fits(pod, node)}
    fitting = [name for name, weight in preferred.items() if weight == max(preferred.values())]
    if not fitting:
        return None
    siblings, all_pods = dict.fromkeys(fitting, 0), dict.fromkeys(fitting, 0)
    for other in pods:
        node = other["spec"].get("nodeName")
        if node in all_pods and not finished(other) and not deleting(other):
            all_pods[node] += 1
            siblings[node] += _alike(pod, other)
    return min(fitting, key=lambda name: (siblings[name], all_pods[name], name))


def fits(pod: Obj, node: Obj) -> bool:
    """nodeSelector, required node affinity, cordons and taints."""
    spec, node_spec = pod["spec"], node.get("spec") or {}
    if node_spec.get("unschedulable") or not _tolerates(spec, node_spec):
        return False
    if not (spec.get("nodeSelector") or {}).items() <= labels_of(node).items():
        return False
    required = _node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms")
    return not terms or any(_term_matches(term, node) for term in terms)


def _preference(pod: Obj, node: Obj) -> int:
    """The weights of the preferred node affinities that a node meets, in sum."""
    terms = _node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution") or []
    return sum(term["weight"] for term in terms if _term_matches(term.get("preference") or {}, node))


def _node_affinity(pod: Obj) -> Obj:
    return (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}


def _term_matches(term: Obj, node: Obj) -> bool:
    fields = {"metadata.name": name_of(node)}
    return all(_expression(entry, labels_of(node)) for entry in term.get("matchExpressions") or []) and all(
        _expression(entry, fields) for entry in term.get("matchFields") or []
    )


def _expression(entry: Obj, values: dict[str, str]) -> bool:
    key, operator, wanted = entry["key"], entry["operator"], entry.get("values") or []
    present = key in values
    return {
        "In": present and values.get(key) in wanted,
        "NotIn": not present or values[key] not in wanted,
        "Exists": present,
        "DoesNotExist": not present,
    }.get(operator, False)


def _tolerates(spec: Obj, node_spec: Obj) -> bool:
    tolerations = spec.get("tolerations") or []
    taints = [taint for taint in node_spec.get("taints") or [] if taint.get("effect") in ("NoSchedule", "NoExecute")]
    return all(any(_tolerated(taint, toleration) for toleration in tolerations) for taint in taints)


def _tolerated(taint: Obj, toleration: Obj) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")


def _alike(pod: Obj, other: Obj) -> bool:
    if namespace_of(pod) != namespace_of(other):
        return False
    mine, theirs = controller_of(pod), controller_of(other)
    if mine is not None and theirs is not None:
        return bool(mine["uid"] == theirs["uid"])
    return bool(labels_of(pod)) and labels_of(pod) == labels_of(other)


def _set_scheduled(store: Store, pod: Obj, facts: Obj, now: str) -> bool:
    """Write the PodScheduled condition; whether it is news."""
    status = pod.get("status") or {}
    others = [entry for entry in status.get("conditions") or [] if entry["type"] != "PodScheduled"]
    old: Obj = next((entry for entry in status.get("conditions") or [] if entry["type"] == "PodScheduled"), {})
    if all(old.get(key) == value for key, value in facts.items()):
        return False
    scheduled = {"type": "PodScheduled", "lastProbeTime": None, "lastTransitionTime": now, **facts}
    store.set_status(PODS, namespace_of(pod), name_of(pod), {**status, "conditions": [*others, scheduled]})
    return True
