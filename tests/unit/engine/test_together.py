"""Drills in threads of their own: begun when those before them are far enough, ended whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from drill_texts import drill_text, playbook

from drills.engine import judging, schedule
from drills.engine.conflicts import Conflict, Until
from drills.engine.interrupt import Interrupt
from drills.engine.result import Control, Drill, Enforcement, Recovery
from drills.engine.schedule import Durations, Plan, Planned, Wait
from drills.engine.seen import Seen
from drills.engine.together import Together

API, SITE, DB = "http-api.backend", "malicious-site.com", "database.database"
SOON = 10.0  # seconds until a test that hangs fails


def result(name: str, reason: str = "") -> Drill:
    return Drill(
        name=name,
        verdict="inconclusive" if reason else "passed",
        reasons=[reason] if reason else [],
        enforcement=Enforcement(verdict="held", attempts=1, planned=1, denied=1, leaked=0, outcomes={}),
        control=Control(verdict="up", attempts=1, succeeded=1),
        recovery=Recovery(verdict="restored", seconds=0.0),
    )


class Scripted:
    """A drill that does what its script says; tells others by events what it has reached."""

    def __init__(self, name: str, script: Callable[[Scripted], None] = lambda _: None, longest: float = 60.0) -> None:
        self.name = name
        self.began, self.ended = threading.Event(), threading.Event()
        self.undisturbed_since = -1.0
        self.attack_over: Callable[[], None] = lambda: None
        self.thread = ""
        self._script, self._longest = script, longest

    def run(self, attack_over: Callable[[], None], undisturbed_since: float) -> Drill:
        self.attack_over, self.undisturbed_since = attack_over, undisturbed_since
        self.thread = threading.current_thread().name
        self.began.set()
        self._script(self)
        self.ended.set()
        return result(self.name)

    def longest(self) -> float:
        return self._longest

    def lost(self, reason: str) -> Drill:
        return result(self.name, reason)


def interrupt() -> Interrupt:
    return Interrupt(lambda _: None)


def plan_of(*drills: str, rate: float = 500) -> Plan:
    one = playbook(*drills, rate=rate)
    return schedule.plan(one, one.drills, (), 15)


def run(plan: Plan, *drills: Scripted, stop: Interrupt | None = None) -> Mapping[str, Drill]:
    return Together(plan, {one.name: one for one in drills}, stop or interrupt()).run()


def meet(*others: threading.Event) -> Callable[[Scripted], None]:
    def script(_: Scripted) -> None:
        assert all(one.wait(SOON) for one in others)

    return script


THREE = plan_of(drill_text("a", "http", API), drill_text("b", "dns", SITE), drill_text("c", "tcp", DB))


def test_drills_without_conflict_run_at_the_same_time() -> None:
    barrier = threading.Barrier(3)

    def script(_: Scripted) -> None:
        barrier.wait(SOON)

    drills = [Scripted(name, script) for name in "abc"]

    found = run(THREE, *drills)

    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys("abc", "passed")
    assert {one.thread for one in drills} == {"drill-a", "drill-b", "drill-c"}


def test_a_drill_begins_when_the_attack_before_it_is_over_and_not_before() -> None:
    seen: list[bool] = []

    def first(own: Scripted) -> None:
        seen.append(second.began.is_set())
        own.attack_over()
        assert second.began.wait(SOON)  # although this one has not ended

    one, second = Scripted("a", first), Scripted("b")

    run(plan_of(drill_text("a", "http", API), drill_text("b", "http", API)), one, second)

    assert seen == [False]


def test_a_drill_that_would_move_an_alert_waits_for_its_end() -> None:
    seen: list[bool] = []

    def first(own: Scripted) -> None:
        own.attack_over()
        assert third.ended.wait(SOON)  # the run goes on meanwhile
        seen.append(second.began.is_set())

    one, second, third = Scripted("a", first), Scripted("b"), Scripted("c")
    plan = plan_of(
        drill_text("a", "http", API, ("Same",)), drill_text("b", "http", API, ("Same",)), drill_text("c", "dns", SITE)
    )

    run(plan, one, second, third)

    assert seen == [False]
    assert second.began.is_set()


def test_a_bug_in_one_drill_is_that_drills_verdict() -> None:
    def broken(_: Scripted) -> None:
        raise ZeroDivisionError("of nothing")

    plan = plan_of(drill_text("a", "http", API), drill_text("b", "http", API), drill_text("c", "dns", SITE))

    found = run(plan, Scripted("a", broken), Scripted("b"), Scripted("c"))

    assert {name: one.verdict for name, one in found.items()} == {"a": "inconclusive", "b": "passed", "c": "passed"}
    assert found["a"].reasons == ["internal error (ZeroDivisionError: of nothing); this is a bug"]


def test_a_stopped_run_begins_no_more_drills_and_waits_for_those_that_run() -> None:
    stop = interrupt()

    def stopping(own: Scripted) -> None:
        stop.abort("enough")
        own.attack_over()

    other = Scripted("b", meet(stop.stop))
    plan = plan_of(drill_text("a", "http", API), drill_text("b", "dns", SITE), drill_text("c", "http", API))

    found = run(plan, Scripted("a", stopping), other, Scripted("c"), stop=stop)

    assert found.keys() == {"a", "b"}
    assert other.ended.is_set()


def test_a_drill_that_hangs_is_given_up_and_stops_the_run() -> None:
    stop, freed = interrupt(), threading.Event()
    plan = plan_of(drill_text("a", "http", API), drill_text("b", "http", API))
    try:
        found = run(plan, Scripted("a", meet(freed), longest=0.0), Scripted("b"), stop=stop)
    finally:
        freed.set()

    assert found.keys() == {"a"}
    assert found["a"].reasons == ["it hung: it had not ended after 0 s"]
    assert stop.reason == "the drill a hangs"


def test_a_drill_is_told_since_when_its_alerts_are_left_alone() -> None:
    """The variant moves the alert's series, and goes first because the other's rate does not fit beside it."""
    first, second = Scripted("a", lambda own: own.attack_over()), Scripted("b")
    moved = Planned("b", Durations(0, 0, 0), (Wait("a", Conflict(Until.ATTACK, ())),), 0, 0, 0, frozenset({"a"}))
    plan = Plan((Planned("a", Durations(0, 0, 0), (), 0, 0, 0), moved), 15, 500)
    began = time.time()

    run(plan, first, second)

    assert first.undisturbed_since == 0.0
    assert began <= second.undisturbed_since <= time.time()


def test_all_that_attack_at_once_stay_within_the_guards_rate() -> None:
    seen: dict[str, list[str]] = {}

    def script(own: Scripted) -> None:
        seen[own.name] = together.attacking()
        own.attack_over()

    drills = {name: Scripted(name, script) for name in "abc"}
    texts = (drill_text("a", "http", API), drill_text("b", "dns", SITE), drill_text("c", "tcp", DB))
    together = Together(plan_of(*texts, rate=6), drills, interrupt())  # they make 6, 3 and 3 in a second

    together.run()

    assert seen["a"] == ["a"]
    assert "a" not in seen["b"] + seen["c"]


def test_a_drill_that_broke_off_is_not_judged_and_says_why() -> None:
    spec = playbook(drill_text("a", "http", API, ("Denied",), ("Quiet",))).drills[0]
    seen = Seen(started=1.0)

    unknown = judging.lost(spec, seen, "it hung")
    seen.recovery = Recovery(verdict="not-restored", seconds=1.0, reason="pod frontend/x is still there")
    left = judging.lost(spec, seen, "it hung")

    assert (unknown.verdict, unknown.enforcement.verdict) == ("inconclusive", "inconclusive")
    assert [one.verdict for one in (*unknown.alerts, *unknown.quiet)] == ["not-judged", "not-judged"]
    assert unknown.recovery.verdict == "not-verified"
    assert all("it hung" in reason for reason in unknown.reasons if "resolution" not in reason)
    assert left.verdict == "failed"
