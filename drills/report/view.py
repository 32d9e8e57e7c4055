"""What is known of a run while it runs: events folded into an immutable picture that any thread may draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar

from drills.engine.events import (
    AlertMoved,
    AttemptsMade,
    DrillFinished,
    Event,
    Phase,
    PhaseStarted,
    Role,
    RunStarted,
    Stage,
)
from drills.engine.result import Drill

STAGES: tuple[Stage, ...] = ("quiet", "pending", "firing", "at Alertmanager", "notified", "resolved")

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Attempts:
    """How far the attack or the control is."""

    planned: int
    outcomes: Mapping[str, int]

    @property
    def made(self) -> int:
        """Attempts so far."""
        return sum(self.outcomes.values())


@dataclass(frozen=True, slots=True)
class AlertView:
    """The stage that an alert has reached, and when each stage was seen (the console's clock)."""

    stage: Stage
    seen: Mapping[Stage, float]


@dataclass(frozen=True, slots=True)
class DrillView:
    """A drill while it runs. Times are the console's clock, in wall seconds."""

    name: str
    phase: Phase | None = None
    detail: str = ""
    since: float = 0.0
    seconds: float | None = None
    attack_began: float | None = None
    attempts: Mapping[Role, Attempts] = field(default_factory=dict)
    alerts: Mapping[str, AlertView] = field(default_factory=dict)
    finished: Drill | None = None


@dataclass(frozen=True, slots=True)
class RunView:
    """A run while it runs; ``started`` is None before its first event."""

    started: RunStarted | None = None
    began: float = 0.0
    drills: Mapping[str, DrillView] = field(default_factory=dict)


def advance(view: RunView, event: Event, now: float) -> RunView:
    """The picture after an event that came at ``now``; events that change nothing of it return it as it is."""
    match event:
        case RunStarted():
            return RunView(event, now, {name: DrillView(name) for name in event.drills})
        case DrillFinished(drill):
            return _change(view, replace(_drill(view, drill.name), finished=drill))
        case PhaseStarted() | AttemptsMade() | AlertMoved():
            return _change(view, _advance_drill(_drill(view, event.drill), event, now))
    return view


def _drill(view: RunView, name: str) -> DrillView:
    return view.drills.get(name) or DrillView(name)


def _change(view: RunView, drill: DrillView) -> RunView:
    return replace(view, drills=_with(view.drills, drill.name, drill))


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    return MappingProxyType({**mapping, key: value})


def _advance_drill(drill: DrillView, event: PhaseStarted | AttemptsMade | AlertMoved, now: float) -> DrillView:
    match event:
        case PhaseStarted():
            return replace(drill, phase=event.phase, detail=event.detail, since=now, seconds=event.seconds)
        case AttemptsMade():
            attempts = Attempts(event.planned, MappingProxyType(dict(event.outcomes)))
            began = drill.attack_began
            if began is None and event.role == "attack" and attempts.made:
                began = now
            return replace(drill, attempts=_with(drill.attempts, event.role, attempts), attack_began=began)
        case AlertMoved():
            before = drill.alerts.get(event.alert)
            seen: Mapping[Stage, float] = before.seen if before else {}
            return replace(
                drill, alerts=_with(drill.alerts, event.alert, AlertView(event.stage, _with(seen, event.stage, now)))
            )
