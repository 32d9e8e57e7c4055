"""What a run tells while it runs: the console and the log listen, the engine does not know who."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from drills.engine.result import Drill, Result

Phase = Literal["prepare", "baseline", "inject", "observe", "recover", "done"]
Role = Literal["attack", "control", "load"]
Stage = Literal["quiet", "pending", "firing", "at Alertmanager", "notified", "resolved"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A playbook begins; ``time_lapse`` 1 is real time."""

    run: str
    playbook: str
    target: str
    time_lapse: float
    drills: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    """A drill enters a phase that takes at most ``seconds`` on the wall (None: not known)."""

    drill: str
    phase: Phase
    detail: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class AttemptsMade:
    """Attempts so far, by outcome."""

    drill: str
    role: Role
    planned: int
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class AlertMoved:
    """An alert reached another stage of its life."""

    drill: str
    alert: str
    stage: Stage


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a reader of the log wants to know."""

    drill: str
    text: str


@dataclass(frozen=True, slots=True)
class DrillFinished:
    """A drill has its verdict."""

    drill: Drill


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run has its result."""

    result: Result


Event = RunStarted | PhaseStarted | AttemptsMade | AlertMoved | Note | DrillFinished | RunFinished
Listener = Callable[[Event], None]
