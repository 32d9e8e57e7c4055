"""Every object that a run creates, changes or deletes, and what becomes of it, worked out before. Pure.

All of them are the cluster's, but for silences, which are Alertmanager's.

Names that a run gives end with the last characters of its own name, written ``RUN`` here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from alerts.prometheus import LoadedRule
from drills.engine.feasible import everything_tried
from drills.engine.naming import capture_pod, drill_pod, ephemeral_container, flood_roles, key_of
from drills.engine.pinning import matchers, pins
from drills.engine.publications import Where, result_map
from drills.engine.result import Model
from drills.engine.rights import acted_in
from drills.kube.cilium import AGENTS
from drills.kube.lease import LEASE, NAMESPACE
from drills.playbook import Drill, ExistingPod, FloodInjection, Playbook, Source, WireguardInjection
from drills.playbook.model import From

RUN: Final = "RUN"
GOES: Final = "deleted when the drill ends"

Action = Literal["create", "change", "delete", "run commands in"]


class Touched(Model):
    """One object. ``drill`` None: of the run as a whole. ``undo``: what becomes of it, in words."""

    action: Action
    kind: str
    namespace: str | None
    name: str
    drill: str | None
    undo: str

    @property
    def title(self) -> str:
        """``Pod frontend/drill-frontend-RUN``"""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def objects(
    playbook: Playbook,
    drills: Sequence[Drill],
    nodes: Sequence[str] | None = None,
    publish: Sequence[Where] = (),
    rules: Sequence[LoadedRule] = (),
    outside: Mapping[str, str] | None = None,
) -> list[Touched]:
    """All of them, in the order in which a run comes to them. ``nodes`` None: nobody was asked for their names.

    ``publish``: where the results go. ``rules``: as Prometheus has them, whose labels silences pin, beside those that
    it adds (``outside``).
    """
    records = "one for each change, deleted when the change is undone"
    return [
        _touched("create", "Lease", NAMESPACE, LEASE.name, None, "deleted at the end"),
        _touched("create", "Secret", NAMESPACE, f"drills-undo-{RUN}-NUMBER", None, records),
        *(one for where in publish for one in _of_publication(playbook, where)),
        *(one for drill in drills for one in (*_of_drill(playbook, drill, nodes), *_silences(drill, rules, outside))),
    ]


def _of_publication(playbook: Playbook, where: Where) -> Iterator[Touched]:
    if where.kind == "events":
        for namespace in acted_in(playbook):
            undo = "one at the beginning and one at the end; the API forgets them, after an hour by default"
            yield _touched("create", "Event", namespace, "drills.RANDOM", None, undo)
    if where.kind == "configmap":
        undo = "stays, until the next run writes it over"
        yield _touched("create", "ConfigMap", NAMESPACE, result_map(playbook.name), None, undo)


def _silences(drill: Drill, rules: Sequence[LoadedRule], outside: Mapping[str, str] | None) -> Iterator[Touched]:
    undo = "ended once the alert no longer fires; it ends by itself, too"
    for expected in drill.silenced:
        yield _touched("create", "Silence", None, matchers(pins(expected, rules, outside)), drill.name, undo)


def _of_drill(playbook: Playbook, drill: Drill, nodes: Sequence[str] | None) -> Iterator[Touched]:
    for key, source in acting(drill).items():
        yield from _of_actor(playbook, playbook.source_of(source), key, drill.name)
    if isinstance(drill.injection, WireguardInjection):
        yield from _captures(drill, nodes)
        yield from _of_fault(drill.injection, drill.name)


def acting(drill: Drill) -> dict[str, From]:
    """Who acts in a drill, by the key of its pod: every source once, and a flood's in every role."""
    found: dict[str, From] = {}
    for tried in everything_tried(drill):
        if not isinstance(tried, WireguardInjection):
            roles = flood_roles(tried) if isinstance(tried, FloodInjection) else [""]
            found |= {key_of(tried.source, role): tried.source for role in roles}
    return found


def _of_actor(playbook: Playbook, source: Source | ExistingPod, key: str, drill: str) -> Iterator[Touched]:
    if isinstance(source, ExistingPod) and source.ephemeral:
        name = ephemeral_container(key, RUN, drill, playbook)
        undo = f"ephemeral container {name} is added; it ends with the drill, its entry stays until the pod goes"
        yield _touched("change", "Pod", source.namespace, source.name, drill, undo)
    elif isinstance(source, ExistingPod):
        undo = "the probe ends with the drill; the pod stays as it is"
        yield _touched("run commands in", "Pod", source.namespace, source.name, drill, undo)
    else:
        yield from _pod(source.namespace, drill_pod(key, RUN, drill, playbook), drill)


def _captures(drill: Drill, nodes: Sequence[str] | None) -> Iterator[Touched]:
    if drill.captures:
        for node in ["NODE (on every node)"] if nodes is None else nodes:
            yield from _pod(NAMESPACE, capture_pod(node, RUN), drill.name)


def _of_fault(fault: WireguardInjection, drill: str) -> Iterator[Touched]:
    agent, restarted = f"the agent of {fault.node}", "its DaemonSet starts another"
    match fault.fault:
        case "key-replaced" | "key-removed":
            undo = "its public key is written back"
            yield _touched("change", "CiliumNode", None, fault.node, drill, undo)
        case "key-file-deleted":
            undo = "the private key's file, renamed, gets its name back"
            yield _touched("run commands in", "Pod", AGENTS[0], agent, drill, undo)
            yield _touched("delete", "Pod", AGENTS[0], agent, drill, restarted)
        case "device-deleted":
            yield _touched("run commands in", "Pod", AGENTS[0], agent, drill, "the agent makes the device again")
            yield _touched("delete", "Pod", AGENTS[0], agent, drill, f"to repair it; {restarted}")
        case "secret-deleted" if fault.secret is not None:
            namespace, _, name = fault.secret.partition("/")
            yield _touched("delete", "Secret", namespace, name, drill, "made again as it was, with another uid")


def _pod(namespace: str, name: str, drill: str) -> Iterator[Touched]:
    yield _touched("create", "ConfigMap", namespace, name, drill, f"owns the pod; {GOES}")
    yield _touched("create", "Pod", namespace, name, drill, GOES)


def _touched(action: Action, kind: str, namespace: str | None, name: str, drill: str | None, undo: str) -> Touched:
    return Touched(action=action, kind=kind, namespace=namespace, name=name, drill=drill, undo=undo)
