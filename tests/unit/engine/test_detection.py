"""The verdict on an alert, from its life."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alerts.stopped import Stopped
from drills.engine.detection import AlertFacts, Times, judge_alert, judge_quiet

LIVED = Times(pending=1010.0, firing=1012.0, at_alertmanager=1012.1, notified=1012.2, resolved=1030.0)
FACTS = AlertFacts(
    name="Denied",
    within=60.0,
    resolves_within=300.0,
    attack_began=1010.0,
    attack_ended=1020.0,
    time_lapse=15.0,
    times=LIVED,
    bounds=None,
    active_before=False,
    unjudged=None,
    stop=None,
    expects_notice=True,
)
GAPS = "missed during the drill: scrapes of cilium-agent w1"


@pytest.mark.parametrize(
    ("change", "verdict", "stopped_at"),
    [
        ({}, "detected", None),
        ({"within": 20.0}, "late", None),
        ({"within": 20.0, "gaps": GAPS}, "not-judged", None),  # late for want of scrapes
        ({"gaps": GAPS}, "detected", None),  # in time all the same
        ({"times": Times(), "stop": Stopped("no-series", "x")}, "missed", "no-series"),
        ({"times": Times(), "stop": Stopped("no-series", "x"), "gaps": GAPS}, "missed", "no-series"),
        ({"times": Times(), "stop": Stopped("birth", "x"), "gaps": GAPS}, "missed", "birth"),
        (
            {"times": Times(), "stop": Stopped("birth", "x"), "gaps": GAPS, "stopped_by_gaps": True},
            "not-judged",
            None,
        ),
        ({"times": Times()}, "missed", "unknown"),
        ({"times": replace(LIVED, notified=None), "stop": Stopped("silenced", "x")}, "undelivered", "silenced"),
        ({"times": replace(LIVED, notified=None), "expects_notice": False}, "detected", None),
        ({"active_before": True}, "premature", None),
        ({"unjudged": "Prometheus restarted"}, "not-judged", None),
        ({"resolution_unjudged": "Prometheus restarted"}, "detected", None),
    ],
)
def test_verdict(change: dict[str, Any], verdict: str, stopped_at: str | None) -> None:
    alert = judge_alert(replace(FACTS, **change))
    assert (alert.verdict, alert.stopped_at) == (verdict, stopped_at)


@pytest.mark.parametrize(
    ("change", "resolution"),
    [
        ({}, "resolved"),
        ({"resolves_within": 100.0}, "too-late"),
        ({"resolves_within": None}, "resolved"),
        ({"times": replace(LIVED, resolved=None)}, "not-resolved"),
        ({"times": replace(LIVED, resolved=None), "resolves_within": None}, "not-judged"),
        ({"resolution_unjudged": "the rule Denied was not loaded all the time"}, "not-judged"),
        ({"unjudged": "Prometheus no longer answers"}, "not-judged"),
        ({"times": Times(), "stop": Stopped("no-series", "x")}, "not-judged"),
    ],
)
def test_resolution(change: dict[str, Any], resolution: str) -> None:
    alert = judge_alert(replace(FACTS, **change))
    assert alert.resolution == resolution
    assert (alert.resolved_at is not None) == (resolution in ("resolved", "too-late"))


def test_reasons_say_what_was_missed_and_when() -> None:
    assert judge_alert(replace(FACTS, within=20.0)).reason.startswith("fired 30 s after the first attempt")
    assert judge_alert(replace(FACTS, within=20.0, gaps=GAPS)).reason == GAPS
    unsure = judge_alert(replace(FACTS, resolution_unjudged="Prometheus restarted"))
    assert unsure.reason == "whether it resolved cannot be judged: Prometheus restarted"


def test_noise_is_noise_even_where_quiet_could_not_be_judged() -> None:
    assert judge_quiet("Q", "it fired", "a target was down").verdict == "noisy"
    assert judge_quiet("Q", None, "a target was down").verdict == "not-judged"
    assert judge_quiet("Q", None, None).verdict == "quiet"


def test_without_a_receiver_alertmanager_must_have_it_for_somebody() -> None:
    told = replace(FACTS, times=replace(LIVED, notified=None), expects_notice=False)

    assert judge_alert(replace(told, handed_over=True)).verdict == "detected"
    assert judge_alert(replace(told, handed_over=False)).verdict == "undelivered"
    assert judge_alert(replace(told, handed_over=None)).verdict == "detected"


def test_what_cannot_be_judged_is_not_premature() -> None:
    assert judge_alert(replace(FACTS, active_before=True, unjudged="the rule was changed")).verdict == "not-judged"


def test_silenced_by_this_run_alone_counts_as_delivered() -> None:
    facts = replace(FACTS, times=replace(LIVED, notified=None), expects_notice=False, silenced_by=("s1",))
    alert = judge_alert(facts)
    assert (alert.verdict, alert.silenced_by, alert.notified_at, alert.reason) == ("detected", ["s1"], None, "")
    late = judge_alert(replace(facts, within=20.0))
    assert (late.verdict, late.silenced_by) == ("late", ["s1"])
    missed = judge_alert(replace(facts, times=Times(), stop=Stopped("no-series", "x")))
    assert (missed.verdict, missed.silenced_by) == ("missed", [])


def test_what_would_not_have_been_delivered_without_our_silence_is_not() -> None:
    facts = replace(FACTS, times=replace(LIVED, notified=None), expects_notice=False, undelivered=True)
    alert = judge_alert(replace(facts, stop=Stopped("silenced", "by ann")))
    assert (alert.verdict, alert.stopped_at, alert.reason) == ("undelivered", "silenced", "by ann")


def test_whoever_was_told_in_spite_of_our_silence_is_said() -> None:
    alert = judge_alert(replace(FACTS, expects_notice=False, told="a receiver was notified"))
    assert (alert.verdict, alert.flags, alert.reason) == ("detected", ["paged"], "a receiver was notified")
