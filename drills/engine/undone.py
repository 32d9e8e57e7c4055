"""What became of the undo of one change."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from drills.engine.result import RecoveryVerdict
from drills.errors import DrillsError
from drills.kube import KubeError

_WORST_FIRST: tuple[RecoveryVerdict, ...] = ("not-restored", "not-verified", "self-healed", "restored")


def worst(verdicts: Collection[RecoveryVerdict]) -> RecoveryVerdict:
    """Of several undos together."""
    return next(each for each in _WORST_FIRST if each in verdicts)


def of_error(error: DrillsError) -> RecoveryVerdict:
    """Of an undo that ended so: what nobody could find out is not verified, and not said to be wrong."""
    return "not-verified" if isinstance(error, KubeError) and error.uncertain else "not-restored"


@dataclass(frozen=True, slots=True)
class Undone:
    """What became of one change. ``finished``: nothing of it is left, and its record may go. ``theirs``: somebody else
    has the last word on what is left, ``accepted``: and may keep it. ``keyless``: a key's file that had been hidden was
    not there to be put back.
    """

    what: str
    verdict: RecoveryVerdict
    text: str
    finished: bool
    theirs: bool = False
    accepted: bool = False
    keyless: bool = False

    def __str__(self) -> str:
        return f"{self.verdict}: {self.what}: {self.text}"
