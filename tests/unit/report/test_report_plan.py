"""A plan as lines."""

from __future__ import annotations

import pytest

from drills.engine.conflicts import Conflict, Until
from drills.engine.schedule import Durations, Plan, Planned, Wait
from drills.report.plan import lines, waves

MOVES = Conflict(Until.END, ("method can move x, which A reads", "both go to http-api.backend"))
SHARES = Conflict(Until.ATTACK, ("both go to http-api.backend",))
ADMIN = Planned("admin", Durations(6, 6, 22), (), 0.0, 13.5, 34.0)
LOOKUP = Planned("lookup", Durations(6, 6, 0), (), 0.0, 13.5, 14.5)
METHOD = Planned("method", Durations(0, 2, 0), (Wait("admin", MOVES),), 34.0, 39.5, 40.5)
HEADER = Planned("header", Durations(0, 2, 0), (Wait("admin", MOVES), Wait("method", SHARES)), 39.5, 45.0, 46.0)


def plan(*drills: Planned, time_lapse: float = 15) -> Plan:
    return Plan(drills, time_lapse, 500)


def test_what_begins_when_and_what_it_waits_for() -> None:
    assert list(lines(plan(ADMIN, LOOKUP, METHOD, HEADER))) == [
        "4 drills, about 46 s (11 min 30 s of the playbook); one after another it would be 62 s.",
        "The longest chain: admin, then method, then header.",
        "",
        "at once:",
        "  admin   at rest 90 s, attack 90 s, until judged 5 min 30 s",
        "  lookup  at rest 90 s, attack 90 s",
        "",
        "after 34 s (8 min 30 s of the playbook):",
        "  method  attack 30 s",
        "          after admin, once its alerts have been judged: method can move x, which A reads (and 1 more)",
        "",
        "after 40 s (9 min 52 s of the playbook):",
        "  header  attack 30 s",
        "          after method, once its attack is over: both go to http-api.backend",
    ]


def test_in_real_time_there_is_one_time() -> None:
    assert list(lines(plan(ADMIN, time_lapse=1))) == [
        "1 drill, about 34 s.",
        "",
        "at once:",
        "  admin  at rest 6 s, attack 6 s, until judged 22 s",
    ]


def test_nothing_to_do() -> None:
    assert list(lines(plan())) == ["No drill is planned."]


@pytest.mark.parametrize("hostile", ["a\x1b[2Jb", "a\nb"])
def test_names_cannot_act_on_a_terminal(hostile: str) -> None:
    text = "\n".join(lines(plan(Planned(hostile, Durations(0, 2, 0), (), 0.0, 5.5, 6.5))))
    assert "\x1b" not in text
    assert "a\nb" not in text


def test_drills_that_begin_together_are_a_wave() -> None:
    assert [[one.drill for one in wave] for wave in waves(plan(ADMIN, METHOD, LOOKUP))] == [
        ["admin", "lookup"],
        ["method"],
    ]
