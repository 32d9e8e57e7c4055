"""Durations and rates, written the way Prometheus and the playbook write them.

A duration is ``90s``, ``1m30s`` or ``2h``; a rate is ``5/s`` or ``300/m``. Both are parsed here and nowhere else, so
that ``1m30s`` means the same in a rule, in a playbook and on the command line. Units and their order are those of
Prometheus (``model/time.go``, ``ParseDuration``): y w d h m s ms, each at most once, the largest first, whole numbers.
"""

from __future__ import annotations

import re
from fractions import Fraction

DURATION_PATTERN = (
    r"^(?=.)(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$"  # a group for each unit
)
RATE_PATTERN = r"^(\d+(?:\.\d+)?)/(s|m)$"

_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_UNIT_NAMES = ("y", "w", "d", "h", "m", "s", "ms")
_EXACT_ONLY = ("y", "w")  # Prometheus prints these only where nothing is left over
_LONGEST_MS = 2**63 // 1_000_000  # Prometheus counts nanoseconds in 64 bits

_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_RATE = re.compile(RATE_PATTERN, re.ASCII)


def parse_duration(text: str) -> int:
    """A duration in milliseconds: ``1m30s`` -> 90000. Raises ValueError with a sentence that says what is expected."""
    if text == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a duration; write it like 90s, 1m30s or 500ms')
    total = sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS_MS, strict=True) if count is not None)
    if total > _LONGEST_MS:
        raise ValueError(f'"{text}" is longer than Prometheus can count')
    return total


def format_duration(milliseconds: int) -> str:
    """Milliseconds as Prometheus prints them: 90000 -> ``1m30s``, 0 -> ``0s``. Raises ValueError below zero."""
    if milliseconds < 0:
        raise ValueError(f"a duration is not negative: {milliseconds} ms")
    if milliseconds == 0:
        return "0s"
    parts = []
    rest = milliseconds
    for unit, name in zip(_UNITS_MS, _UNIT_NAMES, strict=True):
        if name in _EXACT_ONLY and rest % unit:
            continue
        count, rest = divmod(rest, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts)


def seconds(text: str) -> float:
    """A duration in seconds: ``1m30s`` -> 90.0. Raises ValueError as ``parse_duration`` does."""
    return parse_duration(text) / 1000


def parse_rate(text: str) -> float:
    """Attempts per second: ``5/s`` -> 5.0, ``300/m`` -> 5.0. Raises ValueError that says what to write."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a rate; write it like 5/s or 300/m')
    count, per = match.groups()
    return float(Fraction(count) / (60 if per == "m" else 1))


def format_rate(per_second: float) -> str:
    """Attempts per second as a playbook writes them: 5.0 -> ``5/s``, 0.5 -> ``30/m``."""
    per_minute = per_second * 60
    if per_second != int(per_second) and abs(per_minute - round(per_minute)) < 1e-9:
        return f"{round(per_minute)}/m"
    return f"{per_second:g}/s"
