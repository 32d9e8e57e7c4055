"""Every error that a user can see: typed, one clear sentence that says what to do, and the exit status it ends with.

No traceback reaches a user: ``drills.cli`` turns these into a sentence on standard error. The exit
status is part of the contract (see README, "Exit status").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class DrillsError(Exception):
    """Something that ends the command; its text is the sentence that the user reads."""

    exit_status = 3


class WorldError(DrillsError):
    """What the world lacks: an API, a program, a port, a lab that is not ready (exit 3)."""

    exit_status = 3


class InputError(DrillsError):
    """What the user wrote is wrong: arguments, playbook, manifest (exit 2)."""

    exit_status = 2


class Aborted(DrillsError):
    """A guard or an interrupt stopped the run; everything was rolled back (exit 4)."""

    exit_status = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file: line and column count from 1."""

    file: Path | str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class SourceError(InputError):
    """Wrong input that stands at a place in a file."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message
