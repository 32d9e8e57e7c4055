"""An alert's life from Prometheus's raw samples, one every second here."""

from __future__ import annotations

import pytest

from alerts.life import Life, life, selector
from alerts.prometheus import Series

A = {"alertname": "A", "severity": "warning"}


def series(state: str, *times: float, **labels: str) -> Series:
    return Series({"__name__": "ALERTS", **A, **labels, "alertstate": state}, tuple((t, 1.0) for t in times))


def seen(*samples: Series, since: float = 100, until: float = 200) -> Life:
    return life(samples, since=since, until=until, interval_ms=1000)


def run(start: float, count: int) -> list[float]:
    return [start + step for step in range(count)]


def test_nothing_happened() -> None:
    assert seen() == Life()


def test_pending_firing_resolved() -> None:
    found = seen(series("pending", *run(110, 5)), series("firing", *run(115, 20)))
    assert (found.active_at, found.firing_at, found.resolved_at) == (110, 115, 135)
    assert not found.active_before


def test_without_for_it_fires_at_once() -> None:
    found = seen(series("firing", *run(110, 3)))
    assert (found.active_at, found.firing_at) == (110, 110)


def test_still_firing_at_the_end_is_not_resolved() -> None:
    assert seen(series("firing", *run(110, 90))).resolved_at is None


def test_still_pending_and_no_longer_pending() -> None:
    assert seen(series("pending", *run(190, 11))).pending_until == 200
    found = seen(series("pending", *run(110, 10)))
    assert (found.firing_at, found.resolved_at, found.pending_until) == (None, None, 119)


@pytest.mark.parametrize("state", ["pending", "firing"])
def test_active_when_the_period_began(state: str) -> None:
    found = seen(series(state, *run(97, 10)))
    assert found.active_before
    assert found.firing_at is None


def test_over_before_the_period_began_does_not_count() -> None:
    assert not seen(series("firing", *run(90, 9))).active_before


def test_one_missed_evaluation_does_not_end_it() -> None:
    found = seen(series("firing", 110, 111, 113, 114))
    assert (found.firing_at, found.resolved_at) == (110, 115)
    assert found.spells[0].missed_evaluations == 1


def test_ended_and_began_again() -> None:
    found = seen(series("pending", 110, 111, 130, 131), series("firing", 112, 113, 132, 133))
    assert [(spell.active_at, spell.firing_at) for spell in found.spells] == [(110, 112), (130, 132)]
    assert (found.firing_at, found.resolved_at) == (112, 134)


def test_back_to_pending_is_a_new_spell() -> None:
    found = seen(series("firing", *run(110, 3)), series("pending", *run(113, 2)))
    assert [spell.active_at for spell in found.spells] == [110, 113]


def test_of_two_label_sets_the_first_to_fire_and_the_last_to_end() -> None:
    found = seen(
        series("pending", 110, 111, instance="a"),
        series("firing", *run(112, 5), instance="a"),
        series("firing", *run(120, 9), instance="b"),
    )
    assert (found.active_at, found.firing_at, found.resolved_at) == (110, 112, 129)


def test_selector() -> None:
    assert selector("A", {"severity": 'q"'}) == 'ALERTS{alertname="A",severity="q\\""}'
