"""Whether a matcher can pass any of the values that there are."""

from __future__ import annotations

import re
from functools import lru_cache

from alerts.promql import LabelMatcher
from drills.cilium.patterns import PatternError, re2

_LONGEST = 500
_NESTED = re.compile(r"\([^()]*[*+}][^()]*\)\s*(?:[*+]|\{\d+,)")  # (a+)+ takes Python for ever, and RE2 no time


def passes(matcher: LabelMatcher, value: str) -> bool | None:
    """Whether a label value (empty for a label that is absent) passes; None where that is not known here."""
    if matcher.operator in ("=", "!="):
        return matcher.passes(value)
    hit = _hits(matcher.value, value)
    return None if hit is None else hit == (matcher.operator == "=~")


@lru_cache(maxsize=4096)
def any_passes(matcher: LabelMatcher, values: tuple[str, ...]) -> bool | None:
    """Whether at least one of the values passes; None where that is not known."""
    known = [passes(matcher, value) for value in values]
    if any(known):
        return True
    return None if None in known else False


@lru_cache(maxsize=65536)
def _hits(pattern: str, value: str) -> bool | None:
    if len(pattern) > _LONGEST or _NESTED.search(pattern):
        return None
    try:
        return re2(pattern).fullmatch(value) is not None
    except PatternError:
        return None
