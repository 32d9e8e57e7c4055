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
        ("@every 1h30m", HOUR + 30 * MINUTE),
        ("0 3 ? * SUN", 7 * DAY),
        ("0,30  3/8 * JAN-dec 0-6", 7 * HOUR + 30 * MINUTE),
        ("0 0 1,15 * 1", 7 * DAY),  # either kind of day will do
        ("0 0 */2 * 1", 2 * DAY),  # a step restricts as a list does; cron(8) would want both
        ("0 0 ?/1 * 1", 7 * DAY),
        ("59 23 31 12 *", 366 * DAY),
    ],
)
def test_longest_gap(schedule: str, seconds: float) -> None:
    assert longest_gap(schedule) == seconds


@pytest.mark.parametrize(
    "schedule",
    [
        "", "0 3 * *", "0 3 * * 1 2026", "61 * * * *", "0 0 30 2 *", "@often", "@Daily", "0 0 L * *", "0 3 * * 7",
        "0 3 * * 5-7", "0 3 * * 5-1", "0 0 0 * *", "*/0 * * * *", "1-2-3 * * * *", "1/2/3 * * * *", ", * * * *",
        "0 3 * * SUNDAY", "-1 * * * *", "@every", "@every 0s", "@every hour", "0 3 * FOO *",
    ],
)  # fmt: skip
def test_what_no_cronjob_takes(schedule: str) -> None:
    with pytest.raises(InputError, match="none of a CronJob"):
        longest_gap(schedule)


@pytest.mark.parametrize("schedule", ["TZ=Europe/Zurich 0 3 * * *", "CRON_TZ=UTC @daily"])
def test_a_time_zone_does_not_belong_into_a_schedule(schedule: str) -> None:
    """Kubernetes refuses it beside the field timeZone, which is always set."""
    with pytest.raises(InputError, match="--timezone"):
        longest_gap(schedule)


@pytest.mark.parametrize("name", ["Etc/UTC", "UTC", "Europe/Zurich", "America/Argentina/Ushuaia"])
def test_time_zones(name: str) -> None:
    check_timezone(name)


@pytest.mark.parametrize("name", ["Mars/Base", "", "../etc/passwd", "localtime", "Local", "local", "posix/UTC"])
def test_unknown_time_zones(name: str) -> None:
    with pytest.raises(InputError, match="no time zone"):
        check_timezone(name)
