"""Releases of Cilium: how one is written, and of which something is known here."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

Release: TypeAlias = tuple[int, int]

OLDEST: Final[Release] = (1, 14)  # of older ones nobody here knows what they had
FIRST: Final[Release] = (1, 18)  # the releases of which everything is known
LAST: Final[Release] = (1, 20)

_WRITTEN: Final = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:\.[0-9]{1,4}(?:-[0-9A-Za-z.-]+)?)?")


def release_of(text: str) -> Release:
    """``1.20``, ``v1.20.2`` and ``1.20.0-pre.3`` as (1, 20). ValueError for what is no release."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is no release of Cilium; write it like {text_of(LAST)}')
    return int(found[1]), int(found[2])


def known_release(text: str) -> Release:
    """As `release_of`; ValueError also for a release of which nothing is known."""
    release = release_of(text)
    if release < OLDEST or release[0] != LAST[0]:
        raise ValueError(f"Of Cilium {text} nothing is known")
    return release


def text_of(release: Release) -> str:
    """(1, 20) as ``1.20``."""
    return f"{release[0]}.{release[1]}"


KNOWN: Final = (
    f"known are {text_of(FIRST)} to {text_of(LAST)} in full and of {text_of(OLDEST)} and later what was removed since; "
    f"what is newer is taken to be as {text_of(LAST)}"
)
