"""What can be said of a drill before it runs, from the playbook and the rules alone: no target is asked.

The engine refuses such a drill before it starts (`drills.engine.preflight`); ``drills check`` finds it in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from alerts import bounds
from alerts.bounds import Timing
from alerts.rule import AlertRule
from drills.inject import flood
from drills.inject.base import SHORTEST_FAULT_SECONDS
from drills.inject.kinds import kind_of
from drills.playbook import (
    AlertExpectation,
    Control,
    Drill,
    FloodInjection,
    Injection,
    Playbook,
    ProbeInjection,
    WireguardInjection,
)

Tried: TypeAlias = Injection | Control


@dataclass(frozen=True, slots=True)
class Watched:
    """A rule that a drill expects or wants quiet, on the wall's clock as Prometheus evaluates it."""

    rule: AlertRule
    timing: Timing


def too_early(expected: AlertExpectation, one: Watched, time_lapse: float = 1.0) -> str | None:
    """Why no run could see the alert in time: ``within`` is below the best case. None where it can come in time."""
    bound = bounds.detection(one.rule, one.timing)
    best, worst = bound.best * time_lapse, bound.worst * time_lapse
    if expected.within >= best:
        return None
    return (
        f"{expected.name} cannot fire within {expected.within:g} s, because its rule waits {best:g} s; ask for "
        f"`within: {worst:g}s` or more."
    )


def too_short(injection: Injection, expected: AlertExpectation, one: Watched, time_lapse: float = 1.0) -> str | None:
    """Why the alert could not come for an injection of that length; None where the condition holds long enough."""
    lasts = injection.duration / time_lapse
    if isinstance(injection, WireguardInjection):
        lasts = max(lasts, SHORTEST_FAULT_SECONDS)
    if bounds.holds_long_enough(one.rule, one.timing, lasts):
        return None
    shortest = bounds.shortest_injection(one.rule, one.timing) * time_lapse
    return (
        f"an injection of {injection.duration:g} s is too short for {expected.name}, whose condition must hold longer "
        f"than that; inject for more than {shortest:g} s."
    )


def target_outside_guards(drill: Drill, playbook: Playbook) -> str | None:
    """Which attack or control goes to a namespace that the guards do not list, in words; None where none does."""
    allowed = playbook.guards.namespaces
    for host, named in ends(drill):
        if allowed is not None and named is not None and named[0] not in allowed:
            return f"goes to {host}, and guards.namespaces does not list {named[0]}."
    return None


def ends(drill: Drill) -> list[tuple[str, tuple[str, str] | None]]:
    """Every host that a drill goes to, with the namespace and name of the Service that it means."""
    return [_end(tried) for tried in everything_tried(drill) if not isinstance(tried, WireguardInjection)]


def _end(tried: FloodInjection | ProbeInjection | Control) -> tuple[str, tuple[str, str] | None]:
    if isinstance(tried, FloodInjection):
        return flood.host_of(tried), flood.service(tried)
    kind = kind_of(tried)
    return kind.host, kind.service


def everything_tried(drill: Drill) -> Iterator[Tried]:
    """The attack, the control, and what is tried under a flood."""
    yield drill.injection
    if drill.control is not None:
        yield drill.control
    for under in drill.expect.during:
        yield under.injection
