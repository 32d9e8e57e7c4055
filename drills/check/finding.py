"""What a check found: a rule with its documentation, and a place where it is broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from drills.errors import Place


class Level(StrEnum):
    """How bad it is. An error makes ``drills check`` end with 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that is looked for, with all that its documentation page says.

    ``wrong`` and ``right`` are whole YAML documents (several, divided by ``---``, where it takes more than one): the
    tests check that ``drills check`` finds exactly this rule in the first and nothing in the second.
    """

    name: str  # such as cilium/ingress-empty-list
    level: Level
    title: str  # one line, without a full stop
    problem: str  # what is wrong, and how people come to write it
    effect: str  # what the cluster really does
    fix: str  # what to write instead
    wrong: str
    right: str
    source: str  # where the fact stands: version and file, or documentation
    options: Mapping[str, Any] = field(default_factory=dict)  # what the examples need beside the files

    def at(
        self,
        place: Place,
        message: str,
        *,
        effect: str | None = None,
        fix: str | None = None,
        level: Level | None = None,
        span: int = 1,
    ) -> Finding:
        """A finding of this rule; ``effect`` and ``fix`` say what holds for this very place."""
        return Finding(
            self.name, level or self.level, place, message, effect or self.effect, fix or self.fix, max(1, span)
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule broken at a place. ``span`` is how many characters of the line are meant, from the column on."""

    rule: str
    level: Level
    place: Place
    message: str
    effect: str
    fix: str
    span: int = 1

    @property
    def key(self) -> tuple[str, int, int, str, str]:
        """Findings are shown in the order of the files; equal ones once."""
        return (str(self.place.file), self.place.line, self.place.column, self.rule, self.message)
