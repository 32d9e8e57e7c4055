"""When a schedule runs: CronJobs take the five fields of cron(8), and its nicknames."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

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
_ITEM = r"(?:\*|\d+|[A-Za-z]{3})(?:-(?:\d+|[A-Za-z]{3}))?(?:/\d+)?"
_FIELDS = re.compile(rf"{_ITEM}(?:,{_ITEM})*(?: +{_ITEM}(?:,{_ITEM})*){{4}}")
_LONG: Final = timedelta(days=400)
_MANY: Final = 12_000  # runs: more than a week of minutes
_BEGIN: Final = datetime(2023, 12, 31, tzinfo=UTC)  # before a leap year


def longest_gap(schedule: str) -> float:
    """Seconds between two runs at most. InputError for what no CronJob takes (robfig/cron v3, ParseStandard)."""
    fields = NICKNAMES.get(schedule, schedule)
    if not _FIELDS.fullmatch(fields):
        raise InputError(f'The schedule "{schedule}" is none of a CronJob: it has five fields, such as "0 3 * * 1".')
    try:
        runs = CronSim(fields, _BEGIN)
        found = [next(runs), next(runs)]
        for one in islice(runs, _MANY):
            if one - found[0] > _LONG:
                break
            found.append(one)
    except (CronSimError, StopIteration) as error:
        raise InputError(f'The schedule "{schedule}" is none of a CronJob: {error or "it never runs"}.') from None
    return max((later - earlier).total_seconds() for earlier, later in pairwise(found))


def check_timezone(name: str) -> None:
    """InputError for a time zone that nobody knows."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f'There is no time zone "{name}"; they are called like Europe/Zurich or Etc/UTC.') from None
