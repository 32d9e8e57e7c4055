"""What became of the undo of a change."""

from __future__ import annotations

from dataclasses import dataclass

from drills.engine.result import RecoveryVerdict


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of one change. ``finished``: nothing of it is left, and its record may go. ``theirs``: somebody else
    has the last word on what is left, ``accepted``: and may keep it.
    """

    what: str
    verdict: RecoveryVerdict
    text: str
    finished: bool
    theirs: bool = False
    accepted: bool = False

    def __str__(self) -> str:
        return f"{self.verdict}: {self.what}: {self.text}"
