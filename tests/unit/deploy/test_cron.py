"""How long a schedule may be silent, which says when nothing was heard for too long."""

from __future__ import annotations

import pytest

from drills.deploy.cron import check_timezone, longest_gap
from drills.errors import InputError

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("* * * * *", MINUTE),
        ("*/5 * * * *", 5 * MINUTE),
        ("0 3 * * *", DAY),
        ("0 3 * * 1", 7 * DAY),
        ("0 9-17 * * MON-FRI", 2 * DAY + 16 * HOUR),
        ("0 0 1 * *", 31 * DAY),
        ("@hourly", HOUR),
        ("@yearly", 366 * DAY),
        ("0 0 29 2 *", (3 * 365 + 366) * DAY),
    ],
)
def test_longest_gap(schedule: str, seconds: float) -> None:
    assert longest_gap(schedule) == seconds


@pytest.mark.parametrize(
    "schedule", ["", "0 3 * *", "0 3 * * 1 2026", "61 * * * *", "0 0 30 2 *", "@often", "0 0 L * *"]
)
def test_what_no_cronjob_takes(schedule: str) -> None:
    with pytest.raises(InputError, match="none of a CronJob"):
        longest_gap(schedule)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd"])
def test_unknown_time_zones(name: str) -> None:
    with pytest.raises(InputError, match="no time zone"):
        check_timezone(name)
