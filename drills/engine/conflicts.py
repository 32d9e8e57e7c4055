"""Which drills may not run at the same time, and why: each reason in words, for whoever reads the plan. Pure.

Two drills are kept apart while one of them attacks where they share a target, where one cuts off paths that the other
needs, or where both are proven by the same counter. They are kept apart until the first has ended where the second
can move a series that a rule of the first reads, or where both name the same alert: its resolution, and the silence
of an alert that must stay quiet, are judged until then. So no drill's own silence, which pins an alert's name, hides
the alert of another one that runs beside it. What the first has moved before the second begins is waited out by the
second's own baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from drills.engine.effects import Footprint
from drills.inject.proof import Maker

PROOF = {
    Maker.HTTP: 'cilium_policy_l7_total{rule="denied",proxy_type="envoy"}',
    Maker.DNS: 'cilium_policy_l7_total{rule="denied",proxy_type="fqdn"}',
    Maker.PACKETS: 'cilium_drop_count_total{reason=~"Policy denied.*"}',
}


class Until(StrEnum):
    """What of an earlier drill must be over before a later one begins."""

    ATTACK = "attack"  # with what proves its denials, and with the repair of a fault
    END = "end"  # its alerts have been judged


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why one drill waits for an earlier one, and how long."""

    until: Until
    reasons: tuple[str, ...]


def between(first: Footprint, second: Footprint) -> Conflict | None:
    """What keeps ``second`` from beginning beside ``first``; None if nothing does."""
    moved = tuple(dict.fromkeys([*_faults(first, second), *_alerts(first, second), *_moves(second, first)]))
    if moved:
        return Conflict(Until.END, moved)
    found = tuple(dict.fromkeys([*_attacks(first, second), *_moves(first, second)]))
    return Conflict(Until.ATTACK, found) if found else None


def _faults(first: Footprint, second: Footprint) -> Iterator[str]:
    if first.fault is not None and second.fault is not None:
        yield f"both are faults, on {first.fault} and on {second.fault}"


def _alerts(first: Footprint, second: Footprint) -> Iterator[str]:
    for name in sorted(first.expects & second.expects):
        yield f"both expect the alert {name}"
    for one, other in ((first, second), (second, first)):
        for name in sorted(one.expects & other.quiet):
            yield f"{one.name} expects the alert {name}, which is to stay quiet in {other.name}"


def _moves(mover: Footprint, reader: Footprint) -> Iterator[str]:
    for read in reader.reads:
        if mover.moves(read):
            yield f"{mover.name} can move {read.selector}, which {read.alert} of {reader.name} reads"


def _attacks(first: Footprint, second: Footprint) -> Iterator[str]:
    for one, other in ((first, second), (second, first)):
        if one.fault is not None and other.fault is None:
            yield f"{one.name} cuts {one.fault} off, and paths of {other.name} may lead there"
    for host in sorted((first.attacked & second.used) | (second.attacked & first.used)):
        yield f"both go to {host}"
    for maker in sorted(first.proven_by & second.proven_by):
        yield f"the denials of both are proven by {PROOF[maker]}"
