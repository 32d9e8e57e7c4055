"""When a CronJob runs, by the rules of what Kubernetes reads its schedule with: robfig/cron v3, ParseStandard.

https://github.com/robfig/cron/blob/v3.0.1/parser.go. They are not those of cron(8): Sunday is 0 and never 7, ``?`` is
``*``, and ``*/2`` restricts a day as a list of days does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from drills.errors import InputError

NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EVERY: Final = re.compile(r"@every (?=\d)((?P<hours>\d+)h)?((?P<minutes>\d+)m)?((?P<seconds>\d+)s)?")
_MONTHS: Final = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_BEGIN: Final = date(2024, 1, 1)
_DAYS_LOOKED_AT: Final = 9 * 366  # two leap days are among them
_MINUTES: Final = 24 * 60
_NOT_ZONES: Final = ("local", "localtime", "posixrules")  # what they mean depends on the machine


@dataclass(frozen=True, slots=True)
class _Field:
    """What one of the five may say. ``first``: the number of the first of ``names``."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, tuple(_MONTHS), 1),
    _Field("day of week", 0, 6, tuple(_DAYS)),
)


@dataclass(frozen=True, slots=True)
class _Set:
    """The numbers that a field means; ``star``: it restricts nothing."""

    numbers: frozenset[int]
    star: bool


class _WrongError(Exception):
    """What is wrong with a field, in words."""


def longest_gap(schedule: str) -> float:
    """Seconds between two runs at most. InputError for what no CronJob takes, and for what never runs."""
    if "TZ" in schedule:
        raise InputError(f'The schedule "{schedule}" names a time zone, which no CronJob takes there: use --timezone.')
    try:
        if schedule.startswith("@every "):
            return _every(schedule)
        fields = zip(_fields(schedule), _FIELDS, strict=True)
        minutes, hours, *days = (_numbers(text, field) for text, field in fields)
        times = sorted(60 * hour + minute for hour in hours.numbers for minute in minutes.numbers)
        return _gap(times, _matching(*days))
    except _WrongError as error:
        raise InputError(f'The schedule "{schedule}" is none of a CronJob: {error}.') from None


def _fields(schedule: str) -> list[str]:
    found = NICKNAMES.get(schedule, schedule).split()
    if len(found) != len(_FIELDS):
        raise _WrongError("it has five fields, such as 0 3 * * 1, or is one of @daily and the like")
    return found


def _every(schedule: str) -> float:
    found = _EVERY.fullmatch(schedule)
    parts = {} if found is None else {name: int(value) for name, value in found.groupdict("0").items()}
    if not any(parts.values()):
        raise _WrongError("@every takes hours, minutes and seconds, such as @every 1h30m")
    return timedelta(**parts).total_seconds()


def _numbers(text: str, field: _Field) -> _Set:
    ranges = [_range(one, field) for one in text.split(",") if one]
    if not ranges:
        raise _WrongError(f"its {field.name} is empty")
    return _Set(frozenset().union(*(one.numbers for one in ranges)), any(one.star for one in ranges))


def _range(text: str, field: _Field) -> _Set:
    ends, slash, step_text = text.partition("/")
    low_text, hyphen, high_text = ends.partition("-")
    step = _number(step_text, field) if slash else 1
    if low_text in ("*", "?") and not hyphen:
        low, high = field.low, field.high
    else:
        low = _value(low_text, field)
        high = _value(high_text, field) if hyphen else (field.high if slash else low)
    if step == 0:
        raise _WrongError(f'the step of its {field.name} "{text}" is 0')
    if not field.low <= low <= high <= field.high:
        raise _WrongError(f'its {field.name} "{text}" is not within {field.low} to {field.high}')
    return _Set(frozenset(range(low, high + 1, step)), low_text in ("*", "?") and step == 1)


def _value(text: str, field: _Field) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.first
    return _number(text, field)


def _number(text: str, field: _Field) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _WrongError(f'its {field.name} has "{text}", which is no number')
    return int(text)


def _matching(of_month: _Set, months: _Set, of_week: _Set) -> list[date]:
    """The days of some years on which it runs: where both kinds of day are restricted, either will do."""
    every = (_BEGIN + timedelta(days=number) for number in range(_DAYS_LOOKED_AT))
    both = of_month.star or of_week.star
    return [
        day
        for day in every
        if day.month in months.numbers
        and (all if both else any)(
            (day.day in of_month.numbers, day.isoweekday() % 7 in of_week.numbers),
        )
    ]


def _gap(times: list[int], days: list[date]) -> float:
    """``times`` in minutes of a day. The longest of the gaps within a day and between two of the days, in seconds."""
    if len(days) < 2:
        raise _WrongError("it never runs")
    within = [later - earlier for earlier, later in pairwise(times)]
    between = [(later - earlier).days * _MINUTES + times[0] - times[-1] for earlier, later in pairwise(days)]
    return 60.0 * max([*within, *between])


def check_timezone(name: str) -> None:
    """InputError for a time zone that nobody knows, or that every machine has another one of."""
    try:
        known = ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = ""
    if not known or known.lower() in _NOT_ZONES or known.startswith(("posix/", "right/")):
        raise InputError(f'There is no time zone "{name}"; they are called like Europe/Zurich or Etc/UTC.')
