"""A silence of ours: what Alertmanager is told, and by what it is known again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from alerts.silences import OwnSilence, silence_of

OURS = OwnSilence({"alertname": "Denied", "severity": "warning"}, "drills: run r", 2_000_000_000.0)


def told(**change: Any) -> dict[str, Any]:
    """As Alertmanager tells it."""
    body = OURS.body()
    return {**body, "id": "i", "status": {"state": "active"}, "matchers": body["matchers"][::-1], **change}


def test_every_label_is_pinned_by_equality_and_it_begins_at_once() -> None:
    body = OURS.body()
    assert {one["name"]: one["value"] for one in body["matchers"]} == OURS.labels
    assert all(one["isEqual"] and not one["isRegex"] for one in body["matchers"])
    assert datetime.fromisoformat(body["startsAt"]) < datetime.now(UTC)  # whatever the clocks are apart
    assert datetime.fromisoformat(body["endsAt"]).timestamp() == OURS.ends_at
    assert body["createdBy"] == "drills"


def test_it_is_known_again() -> None:
    assert OURS.is_this(silence_of(told()))
    assert silence_of(told()).stands
    assert not silence_of(told(status={"state": "expired"})).stands


@pytest.mark.parametrize(
    "change",
    [
        {"createdBy": "ann"},
        {"comment": "drills: run s"},
        {"matchers": OURS.body()["matchers"][:1]},
        {"matchers": [{**one, "isRegex": True} for one in OURS.body()["matchers"]]},
        {"matchers": [{**one, "isEqual": False} for one in OURS.body()["matchers"]]},
    ],
)
def test_another_one_is_not_taken_for_it(change: dict[str, Any]) -> None:
    assert not OURS.is_this(silence_of(told(**change)))


def test_a_silence_for_another_alert_of_the_same_drill_is_ours_too() -> None:
    found = silence_of(told(matchers=OURS.body()["matchers"][:1]))
    assert OURS.is_ours(found)
    assert not OURS.is_this(found)
