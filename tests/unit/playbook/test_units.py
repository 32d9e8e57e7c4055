"""Durations and rates mean what Prometheus and the playbook say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.units import format_duration, format_rate, parse_duration, parse_rate, seconds


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("1ms", 1),
        ("90s", 90_000),
        ("1m30s", 90_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("1y", 31_536_000_000),
        ("1y2w3d4h5m6s7ms", 31_536_000_000 + 2 * 604_800_000 + 3 * 86_400_000 + 14_706_007),
    ],
)
def test_duration_is_read(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds
    assert seconds(text) == milliseconds / 1000


@pytest.mark.parametrize(
    "text", ["", "5", "s", "1.5s", "-1s", "1s1m", "1s1s", "1 s", "1S", "٣s", "1s\n", "999999999999y", "five minutes"]
)
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (90_000, "1m30s"),
        (7 * 86_400_000, "1w"),
        (8 * 86_400_000, "8d"),
        (20_500, "20s500ms"),
        (750, "750ms"),
    ],
)
def test_duration_is_written_as_prometheus_writes_it(milliseconds: int, text: str) -> None:
    assert format_duration(milliseconds) == text


@given(st.integers(min_value=0, max_value=10**12))
def test_written_durations_are_read_back(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds


def test_negative_duration_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)


@pytest.mark.parametrize(
    ("text", "per_second"), [("5/s", 5.0), ("300/m", 5.0), ("0.5/s", 0.5), ("1/m", 1 / 60), ("30/m", 0.5)]
)
def test_rate_is_read(text: str, per_second: float) -> None:
    assert parse_rate(text) == per_second


@pytest.mark.parametrize("text", ["5", "5/h", "/s", "-5/s", "5 /s", "5/s\n", "five/s", "1e3/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)


@pytest.mark.parametrize(("per_second", "text"), [(5.0, "5/s"), (0.5, "30/m"), (1 / 60, "1/m"), (0.123, "0.123/s")])
def test_rate_is_written(per_second: float, text: str) -> None:
    assert format_rate(per_second) == text
