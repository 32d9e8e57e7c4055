"""Times as Prometheus and Alertmanager write them."""

from __future__ import annotations

import pytest

from alerts.timestamps import epoch, rfc3339


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T01:00:00.5+01:00", 0.5),
        ("2026-11-22T20:48:07.123456789Z", 1795380487.123456),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
    ],
)
def test_epoch(text: str | None, seconds: float | None) -> None:
    assert epoch(text) == seconds


def test_rfc3339() -> None:
    assert rfc3339(1795380487.1234) == "2026-11-22T20:48:07.123Z"
