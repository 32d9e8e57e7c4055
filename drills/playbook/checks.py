"""What a schema cannot say about a playbook: a source that exists, a rate within the guards, a control beside a denial.

Pure: a loaded playbook in, complaints with the path of the value they are about out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from drills.playbook.model import (
    Denied,
    Drill,
    ExistingPod,
    FloodInjection,
    From,
    HttpInjection,
    Injection,
    Paced,
    Permission,
    Playbook,
    Source,
    WireguardInjection,
)
from drills.playbook.nearest import did_you_mean
from drills.source import KeyPath
from drills.units import format_duration, format_rate

SHORTEST_TCP_TIMEOUT = 1.0  # seconds: the kernel sends its second SYN after one second


class Complaint(NamedTuple):
    """Something wrong with the value at a path."""

    path: KeyPath
    message: str


def complaints(playbook: Playbook) -> Iterator[Complaint]:
    """Everything wrong with a playbook that fits the schema, in the order of the file."""
    for name, source in playbook.spec.sources.items():
        yield from _outside_guards(playbook, source, ("spec", "sources", name))
    first: dict[str, int] = {}
    for index, drill in enumerate(playbook.drills):
        path: KeyPath = ("spec", "drills", index)
        if drill.name in first:
            yield Complaint((*path, "name"), f'the drill "{drill.name}" stands twice; drills are told apart by name')
        first.setdefault(drill.name, index)
        yield from _of_drill(playbook, drill, path)


def _of_drill(playbook: Playbook, drill: Drill, path: KeyPath) -> Iterator[Complaint]:
    for where, injection in _injections(drill, path):
        if not isinstance(injection, WireguardInjection):
            yield from _of_source(playbook, injection.source, (*where, "from"))
            yield from _of_pace(playbook, injection, where)
    if isinstance(drill.injection, FloodInjection):
        yield from _of_flood(drill.injection, (*path, "inject", "flood"))
    if isinstance(drill.injection, WireguardInjection):
        yield from _of_wireguard(playbook, drill.injection, (*path, "inject", "wireguard"))
        yield from _of_captures(playbook, drill, path)
    yield from _of_rates(playbook, drill, path)
    yield from _of_denials(drill, path)
    yield from _of_expectations(drill, path)


def _injections(drill: Drill, path: KeyPath) -> Iterator[tuple[KeyPath, Paced | WireguardInjection]]:
    yield (*path, "inject", drill.injection.kind), drill.injection
    if drill.control is not None:
        yield (*path, "control", drill.control.kind), drill.control
    for index, under in enumerate(drill.expect.during):
        yield (*path, "expect", "during", index, under.injection.kind), under.injection


def _of_source(playbook: Playbook, source: From, path: KeyPath) -> Iterator[Complaint]:
    if not isinstance(source, str):
        yield from _outside_guards(playbook, source, path)
    elif source not in playbook.spec.sources:
        known = list(playbook.spec.sources)
        yield Complaint(path, f'unknown source "{source}"; {did_you_mean(source, known, "sources")}')


def _outside_guards(playbook: Playbook, source: Source | ExistingPod, path: KeyPath) -> Iterator[Complaint]:
    allowed = playbook.guards.namespaces
    if allowed is not None and source.namespace not in allowed:
        key = "pod" if isinstance(source, ExistingPod) else "namespace"
        yield Complaint(
            (*path, key), f'namespace "{source.namespace}" is not among guards.namespaces ({", ".join(allowed)})'
        )


def _of_pace(playbook: Playbook, paced: Paced, path: KeyPath) -> Iterator[Complaint]:
    if paced.attempts < 1:
        pace = f"{format_rate(paced.rate)} for {_written(paced.duration)}"
        yield Complaint((*path, "rate"), f"{pace} makes no attempt at all")
    yield from _too_long(playbook, paced.duration, path)
    timeout = getattr(paced, "timeout", None)
    if timeout is not None and timeout < SHORTEST_TCP_TIMEOUT:
        yield Complaint((*path, "timeout"), "a timeout below 1s ends before the kernel's second attempt to connect")


def _too_long(playbook: Playbook, duration: float, path: KeyPath) -> Iterator[Complaint]:
    limit = playbook.guards.max_duration
    if duration > limit:
        yield Complaint((*path, "duration"), f"{_written(duration)} is beyond guards.maxDuration ({_written(limit)})")


def _of_rates(playbook: Playbook, drill: Drill, path: KeyPath) -> Iterator[Complaint]:
    total = sum(each.rate for _, each in _injections(drill, path) if isinstance(each, Paced))
    limit = playbook.guards.max_requests_per_second
    if total > limit:
        yield Complaint(
            (*path, "inject", drill.injection.kind, "rate"),
            f'drill "{drill.name}" sends {format_rate(total)} in all, beyond guards.maxRequestsPerSecond ({limit:g})',
        )


def _of_wireguard(playbook: Playbook, injection: WireguardInjection, path: KeyPath) -> Iterator[Complaint]:
    yield from _too_long(playbook, injection.duration, path)
    if injection.fault == "secret-deleted" and injection.secret is None:
        yield Complaint((*path, "fault"), "secret-deleted needs to know which: secret: namespace/name")
    namespace, allowed = (injection.secret or "").partition("/")[0], playbook.guards.namespaces
    if injection.secret is not None and allowed is not None and namespace not in allowed:
        yield Complaint(
            (*path, "secret"), f'namespace "{namespace}" is not among guards.namespaces ({", ".join(allowed)})'
        )
    if injection.fault != "secret-deleted" and injection.secret is not None:
        yield Complaint((*path, "secret"), f"the fault {injection.fault} has nothing to do with a Secret")
    if injection.fault == "secret-deleted":
        what = "secret-deleted reaches every node that uses the Secret"
        yield from _unless_allowed(playbook, "cluster-wide", what, (*path, "fault"))


def _of_captures(playbook: Playbook, drill: Drill, path: KeyPath) -> Iterator[Complaint]:
    if drill.captures:
        what = f"plaintext: {drill.expect.plaintext} is proven by privileged pods on every node"
        yield from _unless_allowed(playbook, "capture", what, (*path, "expect", "plaintext"))


def _unless_allowed(playbook: Playbook, word: Permission, what: str, path: KeyPath) -> Iterator[Complaint]:
    if word not in playbook.guards.allow:
        allow = ", ".join((*playbook.guards.allow, word))
        yield Complaint(path, f"{what}, which the guards do not allow: write allow: [{allow}] under spec.guards")


def _of_flood(injection: FloodInjection, path: KeyPath) -> Iterator[Complaint]:
    if injection.users < injection.workers:
        yield Complaint(
            (*path, "workers"),
            f"{injection.workers} workers share {injection.users} users; each of them needs at least one",
        )


def _of_denials(drill: Drill, path: KeyPath) -> Iterator[Complaint]:
    expect = drill.expect
    if (expect.denied is not None or expect.during) and drill.control is None:
        yield Complaint(
            (*path, "expect"),
            f'drill "{drill.name}" expects a denial and has no control; denied counts only beside an authorised '
            "attempt that succeeds",
        )
    yield from _unfit_denials(drill.injection, expect.denied or (), (*path, "expect", "denied"))
    if expect.denied is not None and isinstance(drill.injection, FloodInjection | WireguardInjection):
        yield Complaint((*path, "expect", "denied"), f"denied does not go with {drill.injection.kind}")
    for index, under in enumerate(expect.during):
        where = (*path, "expect", "during", index, "denied")
        yield from _unfit_denials(under.injection, under.denied, where)


def _unfit_denials(injection: Injection, denials: tuple[Denied, ...], path: KeyPath) -> Iterator[Complaint]:
    for denied in denials:
        if denied.status is not None and not isinstance(injection, HttpInjection):
            yield Complaint(path, f"a denial with a status needs an http injection; {injection.kind} has none")
        if denied.dns is not None and injection.kind != "dns":
            yield Complaint(path, f"a denial by dns needs a dns injection, not {injection.kind}")


def _of_expectations(drill: Drill, path: KeyPath) -> Iterator[Complaint]:
    expect, kind = drill.expect, drill.injection.kind
    if not expect.model_fields_set:
        yield Complaint((*path, "expect"), f'drill "{drill.name}" expects nothing; then it proves nothing')
    if expect.during and kind != "flood":
        yield Complaint((*path, "expect", "during"), f"during goes with a flood, not with {kind}")
    for key in ("plaintext", "path"):
        if getattr(expect, key) is not None and kind != "wireguard":
            yield Complaint((*path, "expect", key), f"{key} goes with wireguard, not with {kind}")
    names = [alert.name for alert in expect.alerts]
    for index, name in enumerate(expect.quiet):
        if name in names:
            yield Complaint((*path, "expect", "quiet", index), f'alert "{name}" is to fire and to stay quiet')


def _written(duration: float) -> str:
    return format_duration(round(duration * 1000))
