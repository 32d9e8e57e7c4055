"""The geometry of a timeline: on one axis, inside its lanes, and drawn as what was proven."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import report_factory as factory
import report_journal as journals

from drills.engine.result import Drill, Result
from drills.report import record
from drills.report.chart import Axis, Lane, Look, ticks
from drills.report.record import DrillRecord
from drills.report.timeline import Timeline, timeline

MAKERS = [
    factory.passed,
    factory.breach,
    factory.inconclusive,
    factory.miss,
    factory.aborted,
    factory.hostile,
    factory.game_day,
]


def drawn(drill: Drill, of: DrillRecord | None = None) -> Timeline:
    found = timeline(drill, of or DrillRecord(), 15)
    assert found is not None
    return found


def lane(name: str, of: Timeline) -> Lane:
    return next(one for one in of.lanes if one.name == name)


def looks(of: Lane) -> set[Look]:
    return {mark.look for mark in of.marks}


@pytest.fixture
def game_day(tmp_path: Path) -> dict[str, Timeline]:
    run = factory.game_day()
    found = record.read(journals.write(tmp_path / "journal.jsonl", journals.lines(run, journals.ATTACKS)))
    return {drill.name: drawn(drill, found.of(drill.name)) for drill in run.drills}


@pytest.mark.parametrize("make", MAKERS)
def test_every_mark_lies_in_its_lane(make: Callable[[], Result]) -> None:
    for drill in make().drills:
        for one in drawn(drill).lanes:
            for mark in one.marks:
                assert 0 <= mark.x <= mark.x + mark.width <= 100.001, mark
                assert 0 <= mark.y <= mark.y + mark.height <= one.height, mark


def test_times_are_the_playbooks_and_zero_is_the_first_attempt() -> None:
    found = drawn(factory.drill())
    assert found.zero == factory.at(6)
    alert = lane("CiliumHTTPRequestsDenied", found)
    assert "pending +1 min → firing +2 min → " in alert.caption  # 4 s and 8 s on the wall
    (zero,) = [tick for tick in found.ticks if tick.label == "0"]
    attack = lane("Attack", found).marks[0]
    assert attack.x == zero.x
    assert found.whole


def test_one_leak_of_900_is_seen_where_it_happened(game_day: dict[str, Timeline]) -> None:
    attack = lane("Attack", game_day["one-leak"])
    (leak,) = [mark for mark in attack.marks if mark.look == "leaked"]
    assert leak.height >= 9
    assert leak.title.endswith("http-403: 14, http-200: 1")
    first, last = attack.marks[0], attack.marks[-1]
    assert (leak.x - first.x) / (last.x - first.x) == pytest.approx(500 / 900, abs=0.03)
    assert not game_day["one-leak"].whole


def test_denials_beside_a_dead_path_are_not_drawn_as_they_should_be(game_day: dict[str, Timeline]) -> None:
    assert looks(lane("Attack", game_day["admin-path"])) == {"expected"}
    assert looks(lane("Attack", game_day["database"])) == {"unclear"}
    assert looks(lane("Control", game_day["database"])) == {"expected", "unclear"}


def test_an_alert_that_never_fired_has_a_window_and_a_limit_only(game_day: dict[str, Timeline]) -> None:
    alert = lane("CiliumHTTPRequestsDenied", game_day["unheard"])
    assert looks(alert) == {"rest", "window", "limit"}
    assert alert.caption.startswith("did not fire; its rule can fire 60 to 90 s after its condition holds")


def test_an_alert_that_was_not_judged_is_not_said_to_be_silent() -> None:
    alert = lane("CiliumHTTPRequestsDenied", drawn(factory.breach().drills[0]))
    assert alert.caption == "the attack was not denied; the playbook allows 4 min"
    assert looks(alert) == {"rest", "limit"}


def test_what_was_left_behind_reaches_the_end(game_day: dict[str, Timeline]) -> None:
    (left,) = [mark for mark in lane("Put back", game_day["one-leak"]).marks if mark.look == "left"]
    assert left.x + left.width == pytest.approx(100)


def test_a_drill_without_any_attempt() -> None:
    found = drawn(factory.drill(first_attempt_at=None, last_attempt_at=None, alerts=[]))
    assert not found.attacked
    assert found.zero == factory.at(0)
    assert lane("Attack", found).marks == ()


def test_a_drill_without_any_time_has_no_timeline() -> None:
    nothing = dict.fromkeys(("started_at", "first_attempt_at", "last_attempt_at", "finished_at"))
    assert timeline(factory.drill(**nothing, alerts=[]), DrillRecord(), 1) is None


@pytest.mark.parametrize("length", [2, 7, 59, 600, 690, 5000, 90_000, 10_000_000])
def test_ticks_are_few_and_in_order(length: float) -> None:
    found = list(ticks(Axis(factory.BEGAN, -length / 4, length, 1)))
    assert 2 <= len(found) <= 10
    assert [tick.x for tick in found] == sorted(tick.x for tick in found)
    assert "0" in [tick.label for tick in found]
