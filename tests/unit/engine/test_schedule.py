"""The order of drills: every one runs once, those in conflict never overlap, and the whole is short."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from drill_texts import drill_text, playbook
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.bounds import Timing
from alerts.rule import AlertRule, load_rules
from drills.engine import schedule
from drills.engine.feasible import Watched
from drills.engine.schedule import Plan, Planned
from drills.playbook import load

ROOT = Path(__file__).parents[3]
SHIPPED = schedule.as_written(load_rules(ROOT / "alerts" / "rules" / "cilium-security.yaml"), 15)
HTTP, DNS, DROPS = "CiliumHTTPRequestsDenied", "CiliumDNSLookupsDenied", "CiliumPolicyDrops"
API, SITE, DB = "http-api.backend", "malicious-site.com", "database.database"


def plan_of(*drills: str, rate: float = 500, rules: list[Watched] = SHIPPED) -> Plan:
    one = playbook(*drills, rate=rate)
    return schedule.plan(one, one.drills, rules, 15)


def place(plan: Plan, drill: str) -> tuple[float, float, float]:
    one = next(each for each in plan.drills if each.drill == drill)
    return one.starts, one.attack_over, one.ends


def test_three_kinds_run_side_by_side() -> None:
    plan = plan_of(
        drill_text("a", "http", API, (HTTP,)),
        drill_text("b", "dns", SITE, (DNS,)),
        drill_text("c", "tcp", DB, (DROPS,)),
    )
    assert [place(plan, name)[0] for name in "abc"] == [0.0, 0.0, 0.0]
    assert all(one.waits == () for one in plan.drills)
    assert len(plan.chain) == 1
    assert plan.seconds < plan.alone / 2.9


def test_variants_follow_one_another_once_the_alert_has_gone() -> None:
    plan = plan_of(
        drill_text("variant", "http", API),
        drill_text("first", "http", API, (HTTP,)),
        drill_text("other", "http", API),
    )
    assert [one.drill for one in plan.drills] == ["first", "variant", "other"]
    assert place(plan, "variant")[0] == place(plan, "first")[2]
    assert place(plan, "other")[0] == place(plan, "variant")[1]
    assert plan.chain == ("first", "variant", "other")
    assert [wait.drill for wait in plan.direct("other")] == ["variant"]  # which waits for the first itself


def test_drills_that_gain_nothing_stay_in_the_playbooks_order() -> None:
    names = ["e", "b", "d", "a", "c"]
    plan = plan_of(*(drill_text(name, "http", API) for name in names))
    assert [one.drill for one in plan.drills] == names


def test_a_baseline_that_was_shown_already_is_not_waited_for() -> None:
    """Its alert has been inactive since the run began, for nobody else moves it."""
    plan = plan_of(
        drill_text("fault", "wireguard", "k8s-w1", ("CiliumNodePathBroken",)), drill_text("b", "dns", SITE, (DNS,))
    )
    starts, over, _ = place(plan, "fault")
    one = next(each for each in plan.drills if each.drill == "fault")
    assert starts == place(plan, "b")[1]
    assert over - starts == pytest.approx(schedule.PREPARE_SECONDS + one.durations.attack + schedule.PROVE_SECONDS)


def test_what_another_drill_has_moved_is_waited_out() -> None:
    moved = plan_of(drill_text("a", "http", API), drill_text("b", "http", API, (HTTP,)))
    (first, second) = moved.drills
    assert (first.drill, second.drill) == ("b", "a")  # the other way round the alert would have to go first
    assert second.disturbed_by == frozenset()
    (alone,) = plan_of(drill_text("b", "http", API, (HTTP,))).drills
    assert first.ends == alone.ends


def test_the_guards_rate_holds_for_all_that_attack_together() -> None:
    drills = (drill_text("a", "http", API), drill_text("b", "dns", SITE), drill_text("c", "tcp", DB))
    together = plan_of(*drills, rate=12)  # 6 + 3 + 3 in a second
    kept = plan_of(*drills, rate=9)
    assert {one.starts for one in together.drills} == {0.0}
    for one in kept.drills:
        at_once = [each for each in kept.drills if each.starts <= one.starts < each.attack_over]
        assert sum(each.rate for each in at_once) <= 9


@pytest.mark.parametrize(("limit", "beside_it"), [(129, True), (128, False), (101, False)])
def test_a_flood_counts_at_the_rate_that_it_may_reach_while_it_makes_up(limit: float, beside_it: bool) -> None:
    drills = (drill_text("load", "flood", API), drill_text("names", "dns", SITE))  # 125 + 1 and 2 + 1 in a second
    plan = plan_of(*drills, rate=limit)
    assert (place(plan, "names")[0] < place(plan, "load")[1]) == beside_it
    assert all(one.rate <= limit for one in plan.drills)


def test_without_its_rule_an_alert_takes_no_time() -> None:
    (one,) = plan_of(drill_text("a", "http", API, ("NotLoaded",))).drills
    assert (one.durations.baseline, one.durations.resolution) == (0.0, 0.0)


def test_rules_that_time_lapse_cannot_scale_are_left_out() -> None:
    rules = [AlertRule("Good", "up == 0", for_ms=60_000), AlertRule("Bad", "hour() > 3", for_ms=60_000)]
    found = schedule.as_written(rules, 15, Timing(30_000, 15_000))
    assert [(one.rule.alert, one.rule.for_ms, one.timing) for one in found] == [("Good", 4000, Timing(2000, 1000))]


def test_nothing_is_planned_for_nothing() -> None:
    plan = schedule.plan(playbook(drill_text("a", "http", API)), (), SHIPPED, 15)
    assert (plan.drills, plan.seconds, plan.chain) == ((), 0.0, ())


def test_the_shipped_game_day_fits_its_time() -> None:
    one = load(ROOT / "playbooks" / "zero-trust.yaml")
    plan = schedule.plan(one, one.drills, SHIPPED, 15)
    assert len(plan.drills) == len(one.drills) >= 8
    assert plan.seconds < 140 < plan.alone
    check(plan)


# --- whatever the playbook --------------------------------------------------------------------------------------------

CHOICES = st.tuples(
    st.sampled_from(["http", "http-any", "dns", "tcp", "flood", "wireguard"]),
    st.sampled_from([(), (HTTP,), (DNS,), (DROPS,), (HTTP, "CiliumRequestFlood"), ("CiliumNodePathBroken",)]),
    st.sampled_from([(), ("CiliumSecurityMetricsMissing",), ("CiliumRequestFlood",)]),
    st.booleans(),
)
HOSTS = {"dns": SITE, "tcp": DB, "wireguard": "k8s-w1"}


@settings(max_examples=40, deadline=None)
@given(st.lists(CHOICES, min_size=1, max_size=6), st.sampled_from([120.0, 500.0]))
def test_drills_in_conflict_never_overlap(
    chosen: list[tuple[str, tuple[str, ...], tuple[str, ...], bool]], rate: float
) -> None:
    texts = [
        drill_text(f"d{number}", kind, HOSTS.get(kind, API), alerts, tuple(set(quiet) - set(alerts)), resolves)
        for number, (kind, alerts, quiet, resolves) in enumerate(chosen)
    ]
    plan = plan_of(*texts, rate=rate)

    assert sorted(one.drill for one in plan.drills) == [f"d{number}" for number in range(len(texts))]
    check(plan)
    assert plan_of(*texts, rate=rate) == plan  # the same every time


def check(plan: Plan) -> None:
    """Every pair in conflict is in order, nobody waits for who comes later, and the chain is as long as the whole."""
    order = {one.drill: number for number, one in enumerate(plan.drills)}
    known = {one.drill: one for one in plan.drills}
    for one, other in combinations(plan.drills, 2):
        first, second = sorted((one, other), key=lambda each: order[each.drill])
        waits = {wait.drill: wait.conflict for wait in second.waits}
        assert second.drill not in {wait.drill for wait in first.waits}
        apart = schedule.conflicts.between(plan.footprints[first.drill], plan.footprints[second.drill])
        assert waits.get(first.drill) == apart
        if apart is not None:
            assert second.starts >= first.over(apart.until)
    for mover in plan.drills:
        for reader in plan.drills:
            check_undisturbed(plan, mover, reader)
    for one in plan.drills:
        direct = plan.direct(one.drill)
        assert {wait.drill for wait in direct} <= {wait.drill for wait in one.waits}
        assert bool(direct) is bool(one.waits)
    assert known[plan.chain[-1]].ends == plan.seconds


def check_undisturbed(plan: Plan, mover: Planned, reader: Planned) -> None:
    """Nobody attacks, from its start on, what the rules of another one read, while that one runs."""
    prints = plan.footprints[mover.drill], plan.footprints[reader.drill]
    if mover is reader or not any(prints[0].moves(read) for read in prints[1].reads):
        return
    assert mover.attack_over <= reader.starts or mover.starts >= reader.ends
    assert not (prints[0].expects & prints[1].quiet) or mover.ends <= reader.starts or mover.starts >= reader.ends


def test_a_silenced_drill_lasts_until_its_alert_is_at_rest() -> None:
    loud = drill_text("a", "http", API, (HTTP,), resolves=False)
    silent = loud.replace("name: a,", "name: a, notify: silence,")
    (first,), (second,), (third,) = (
        plan_of(one).drills for one in (loud, silent, drill_text("a", "http", API, (HTTP,)))
    )
    assert first.durations.resolution < second.durations.resolution == third.durations.resolution
