"""Times as Prometheus and Alertmanager write them: RFC 3339 with up to nine decimals, here seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def epoch(text: str | None) -> float | None:
    """Seconds since the epoch of an RFC 3339 time; None for an absent one and for Go's zero time (year 1)."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)  # cuts nanoseconds to microseconds
    if moment.year == 1:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def rfc3339(seconds: float) -> str:
    """The UTC time with milliseconds, as result.json carries it: ``2026-11-22T20:48:07.123Z``."""
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
