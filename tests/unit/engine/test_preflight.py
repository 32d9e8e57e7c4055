"""What is refused before a drill starts, and what is still about from the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from alerts.alertmanager import ManagedAlert
from alerts.prometheus import ActiveAlert, LoadedRule
from drills.engine.lives import Wanted, rule_error
from drills.engine.preflight import check_namespaces, left_over, rule_for
from drills.engine.run import conditions
from drills.engine.watch import Snapshot
from drills.errors import InputError
from drills.playbook import Playbook, parse


def managed(name: str, ends_at: float | None) -> ManagedAlert:
    return ManagedAlert(
        labels={"alertname": name},
        annotations={},
        fingerprint=name,
        starts_at=1.0,
        ends_at=ends_at,
        updated_at=2.0,
        state="active",
        silenced_by=(),
        inhibited_by=(),
        muted_by=(),
        receivers=("security",),
    )


def rule(name: str, *, active: bool) -> LoadedRule:
    alert = ActiveAlert({"alertname": name}, {}, "firing", 1.0, 1.0)
    return LoadedRule(
        name=name,
        query="up",
        for_ms=0,
        keep_firing_ms=0,
        labels={},
        annotations={},
        state="firing" if active else "inactive",
        health="ok",
        last_error="",
        last_evaluation=1.0,
        evaluation_seconds=0.0,
        alerts=(alert,) if active else (),
        group="g",
        file="f",
        interval_ms=1000,
    )


def test_of_rules_of_one_name_that_which_can_carry_the_labels() -> None:
    page, warn = ({"severity": level} for level in ("page", "warning"))
    plain, paged = replace(rule("A", active=False), labels=warn), replace(rule("A", active=False), labels=page)
    templated = replace(plain, labels={"severity": "{{ $labels.level }}"})
    assert rule_for("A", page, [plain, paged]) is paged
    assert rule_for("A", page, [plain, templated]) is templated  # it may become anything
    assert rule_for("A", page, [templated, paged]) is paged
    assert rule_for("A", {"severity": "none"}, [plain, paged]) is plain  # to say what there is
    assert rule_for("B", {}, [plain]) is None


def test_an_evaluation_that_fails_is_told_of_a_rule_with_templated_labels_too() -> None:
    ill = replace(rule("A", active=False), labels={"node": "{{ $labels.node }}"}, health="err", last_error="no")
    polls = [Snapshot(2.0, rules=(ill,))]
    assert rule_error(polls, Wanted("A", {"node": "w1"}), (), 1.0) == "evaluating A fails: no"
    assert rule_error(polls, Wanted("A", {"node": "w1"}), (), 3.0) is None
    assert (
        rule_error([Snapshot(2.0, rules=(replace(ill, labels={"node": "w2"}),))], Wanted("A", {"node": "w1"}), (), 1.0)
        is None
    )


@pytest.mark.parametrize(
    ("active", "kept", "expected"),
    [
        (False, [managed("A", 7.0), managed("B", 9.0)], 9.0),
        (False, [managed("Other", 99.0), managed("A", 7.0)], 7.0),
        (True, [managed("A", 7.0)], None),  # Prometheus has it as well: that is no leftover
        (False, [managed("A", None)], None),  # nobody said when it ends
        (False, [], None),
    ],
)
def test_leftover_of_a_prometheus_that_died(active: bool, kept: Sequence[ManagedAlert], expected: float | None) -> None:
    snapshot = Snapshot(at=5.0, rules=(rule("A", active=active),), managed=tuple(kept))

    assert left_over(snapshot, [("A", {}), ("B", {})]) == expected


PLAYBOOK = Path(__file__).parents[3] / "playbooks" / "admin-path.yaml"


def playbook(old: str = "", new: str = "") -> Playbook:
    text = PLAYBOOK.read_text()
    assert old in text
    return parse(text.replace(old, new) if old else text, "playbook.yaml")


def test_a_target_outside_of_the_guards_is_refused() -> None:
    narrow = playbook("namespaces: [frontend, backend]", "namespaces: [frontend]")

    with pytest.raises(InputError, match=r"http-api\.backend, and guards\.namespaces does not list backend"):
        check_namespaces(narrow.drills[0], narrow)
    check_namespaces(playbook().drills[0], playbook())


def guarded(condition: str) -> Playbook:
    return playbook("maxDuration: 15m", f"maxDuration: 15m\n    abortWhen: ['{condition}']")


def test_a_guards_condition_is_playbook_time() -> None:
    assert conditions(guarded("sum(rate(x_total[5m])) > 3"), 15.0) == ("sum((rate(x_total[20s]) / 15)) > 3",)
    assert conditions(guarded("sum(up) == 0"), 1.0) == ("sum(up) == 0",)


@pytest.mark.parametrize("condition", ["sum(((", "hour() > 3"])
def test_a_guards_condition_that_cannot_be_asked_is_refused(condition: str) -> None:
    with pytest.raises(InputError):
        conditions(guarded(condition), 15.0)
