"""Where an alert stopped on its way to the receiver: the words of the contract's ``stoppedAt``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

StoppedAt: TypeAlias = Literal[
    "rule-not-loaded",
    "rule-error",
    "no-series",
    "no-match",
    "birth",
    "below-threshold",
    "condition-too-short",
    "pending",
    "not-at-alertmanager",
    "silenced",
    "inhibited",
    "time-muted",
    "wrong-receiver",
    "receiver-failed",
    "deduplicated",
    "unknown",
]


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where an alert stopped, and why."""

    at: StoppedAt
    reason: str
