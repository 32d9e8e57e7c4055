"""What a user may have meant: the nearest known word."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

_CLOSE = 0.5  # SequenceMatcher's ratio; below, a proposal would be a guess


def did_you_mean(word: str, known: Sequence[str], plural: str) -> str:
    """Ends an error's sentence: ``did you mean "url"?``, or the list of what is known where nothing comes near."""
    if not known:
        return f"there are no {plural} here"
    nearest = max(known, key=lambda each: SequenceMatcher(None, word.lower(), each.lower()).ratio())
    if SequenceMatcher(None, word.lower(), nearest.lower()).ratio() >= _CLOSE:
        return f'did you mean "{nearest}"?'
    return f"known {plural}: {', '.join(known)}"
