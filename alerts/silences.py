"""Silences of Alertmanager: those that it has, and those that a run makes. Pure; times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from alerts.timestamps import epoch

AUTHOR: Final = "drills"
# Alertmanager takes its own clock's now for a begin that is past (silence/silence.go), and waits for one that is not.
_BEFORE_NOW: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One matcher of a silence."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool


@dataclass(frozen=True, slots=True)
class Silence:
    """A silence, expired ones included."""

    id: str
    state: Literal["active", "pending", "expired"]
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    created_by: str
    comment: str

    @property
    def stands(self) -> bool:
        """Whether it has not ended."""
        return self.state != "expired"


@dataclass(frozen=True, slots=True)
class OwnSilence:
    """A silence as a run makes it: each of ``labels`` is pinned to its value, ``comment`` says whose it is."""

    labels: Mapping[str, str]
    comment: str
    ends_at: float

    def is_ours(self, found: Silence) -> bool:
        """Whether a silence was made by the same drill of the same run."""
        return (found.created_by, found.comment) == (AUTHOR, self.comment)

    def is_this(self, found: Silence) -> bool:
        """Whether a silence is this very one."""
        pinned = {Matcher(name, value, is_regex=False, is_equal=True) for name, value in self.labels.items()}
        return self.is_ours(found) and set(found.matchers) == pinned

    def body(self) -> dict[str, Any]:
        """What Alertmanager takes; it begins at once."""
        return {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in sorted(self.labels.items())
            ],
            "startsAt": (datetime.now(UTC) - _BEFORE_NOW).isoformat(),
            "endsAt": datetime.fromtimestamp(self.ends_at, tz=UTC).isoformat(),
            "createdBy": AUTHOR,
            "comment": self.comment,
        }


def silence_of(data: Mapping[str, Any]) -> Silence:
    """A silence as Alertmanager's API tells it (v2). KeyError and the like for something else."""
    return Silence(
        id=data["id"],
        state=data["status"]["state"],
        matchers=tuple(
            Matcher(item["name"], item["value"], bool(item["isRegex"]), bool(item.get("isEqual", True)))
            for item in data["matchers"]
        ),
        starts_at=epoch(data["startsAt"]) or 0.0,
        ends_at=epoch(data["endsAt"]) or 0.0,
        created_by=data.get("createdBy", ""),
        comment=data.get("comment", ""),
    )
