"""Rules that lie: each line of the detection table that a wrong rule can show on a real lab, in one run.

`burst` is first, on series that do not exist yet; `lies` is the drill of the wrong rules; in `open` nothing is denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from command import Ended, Lab
from lies_support import LIES, alert_of, drill_of, lab_with, quiet_of, verdict

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("detection")
    with lab_with(folder, "lies-detection", LIES / "detection" / "rules.yaml") as found:
        yield found


@pytest.fixture(scope="module")
def ran(lab: Lab) -> tuple[Ended, dict[str, Any]]:
    out = lab.drills.folder / "out"
    ended = lab.drills("run", LIES / "detection" / "playbook.yaml", "--lab", "--out", out)
    return ended, lab.drills.result(out)


@pytest.fixture
def burst(ran: tuple[Ended, dict[str, Any]]) -> dict[str, Any]:
    return drill_of(ran[1], "burst")


@pytest.fixture
def lies(ran: tuple[Ended, dict[str, Any]]) -> dict[str, Any]:
    return drill_of(ran[1], "lies")


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_missed_alert_is_a_failure_and_the_policy_is_not_to_blame(ran: tuple[Ended, dict[str, Any]]) -> None:
    ended, result = ran
    assert (ended.status, result["verdict"]) == (1, "failed"), ended.err
    for name in ("burst", "lies"):
        assert drill_of(result, name)["enforcement"]["verdict"] == "held"
        assert drill_of(result, name)["control"]["verdict"] == "up"


@pytest.mark.parametrize(
    ("drill", "what"),
    [
        ("calendar", "the rule of Calendar cannot run in time-lapse 60"),
        ("by-calendar", "the recording rule denied:by_day, which ByCalendar reads, cannot run in time-lapse 60"),
    ],
)
def test_what_time_lapse_left_out_is_refused_before_the_start_and_never_missed(lab: Lab, drill: str, what: str) -> None:
    out = lab.drills.folder / drill
    ended = lab.drills("run", LIES / "detection" / "unscalable.yaml", "--lab", "--only", drill, "--out", out)
    assert ended.status == 2
    assert what in ended.err
    assert "follows the calendar" in ended.err
    assert "--real-time" in ended.err
    assert not (out / "result.json").exists()


def test_a_right_rule_among_the_wrong_ones_is_detected_and_resolves(lies: dict[str, Any]) -> None:
    right = alert_of(lies, "Right")
    assert (right["verdict"], right["flags"], right["resolution"]) == ("detected", [], "resolved")
    stages = [instant(right[stage]) for stage in ("pendingAt", "firingAt", "notifiedAt", "resolvedAt")]
    assert stages == sorted(stages)


def test_metric_misspelt_names_the_nearest_that_exists(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "MisspeltMetric")
    assert verdict(alert) == ("missed", "no-series")
    assert "cilium_policy_l7_denied_total has no series" in alert["reason"]
    assert "nearest metric that exists is cilium_policy_l7_total" in alert["reason"]


def test_metric_misspelt_in_a_recording_rule_is_found_behind_it(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "ByMisspeltRecord")
    assert verdict(alert) == ("missed", "no-series")
    assert "the recording rule misspelt:increase2m made nothing" in alert["reason"]
    assert "cilium_policy_l7_denied_total has no series" in alert["reason"]
    assert "nearest metric that exists is cilium_policy_l7_total" in alert["reason"]


def test_a_right_recording_rule_is_as_good_as_none(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "ByRecord")
    assert (alert["verdict"], alert["flags"]) == ("detected", [])  # the drill's share is told by what is behind it
    assert alert["boundSeconds"] == {"best": 0, "worst": 45}  # S + E + the recording rule's own evaluation


def test_label_value_wrong_names_the_values_that_exist(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "WrongValue")
    assert verdict(alert) == ("missed", "no-match")
    assert 'none with rule="denid"' in alert["reason"]
    assert "denied, forwarded, parse_errors, received (did you mean denied?)" in alert["reason"]


def test_threshold_raised_tells_how_far_it_got(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "TooHigh")
    assert verdict(alert) == ("missed", "below-threshold")
    assert "never > 1000" in alert["reason"]
    assert "the highest value of sum(increase(cilium_policy_l7_total{" in alert["reason"]
    assert "}[2m])) was " in alert["reason"]  # as its author wrote it; it ran as [2s]


def test_a_rate_below_its_threshold_is_told_in_the_playbooks_seconds(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "RateTooHigh")
    assert verdict(alert) == ("missed", "below-threshold")
    shown = re.search(r"the highest value of sum\(rate\(.*\[1m\]\)\) was ([\d.]+), never > 5$", alert["reason"])
    assert shown is not None, alert["reason"]
    assert 0.5 < float(shown[1]) < 1.5  # 1 denial a second of the playbook, 60 a second on the wall


def test_rule_absent_says_where_to_look(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "Absent")
    assert verdict(alert) == ("missed", "rule-not-loaded")
    assert "Prometheus has no alerting rule Absent" in alert["reason"]
    assert "ruleSelector" in alert["reason"]


def test_rule_whose_evaluation_fails_carries_prometheus_own_words(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "ManyToMany")
    assert verdict(alert) == ("missed", "rule-error")
    assert "many-to-many matching not allowed" in alert["reason"]


def test_for_too_long_tells_how_long_the_condition_held(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "TooPatient")
    assert verdict(alert) == ("missed", "condition-too-short")
    assert "and ended, `for` asks for 2m" in alert["reason"]
    assert (alert["pendingAt"] is not None, alert["firingAt"]) == (True, None)


def test_for_that_is_not_over_yet_is_still_pending(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "StillPending")
    assert verdict(alert) == ("missed", "pending")
    assert "StillPending is still pending: the condition has held for " in alert["reason"]
    assert alert["reason"].endswith(", `for` asks for 3m")
    assert (alert["pendingAt"] is not None, alert["firingAt"]) == (True, None)


def test_spread_over_nodes_without_a_sum_shows_every_series(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "WithoutSum")
    assert verdict(alert) == ("missed", "below-threshold")
    assert "by series, which no sum brings together" in alert["reason"]
    assert "node=k8s-w1" in alert["reason"]
    assert "node=k8s-w2" in alert["reason"]


def test_burst_on_a_newborn_series_is_not_seen_by_increase(burst: dict[str, Any]) -> None:
    alert = alert_of(burst, "Newborn")
    assert verdict(alert) == ("missed", "birth")
    assert "series of hubble_policy_verdicts_total began during the attack" in alert["reason"]
    assert "which increase() and rate() do not see" in alert["reason"]


def test_rule_that_always_fires_proves_nothing(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "Always")
    assert (alert["verdict"], alert["resolution"]) == ("premature", "not-judged")
    assert "already active when the attack began" in alert["reason"]


def test_later_than_the_playbook_allows_is_late(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "TooSlow")
    assert alert["verdict"] == "late"
    assert "later than the 60 s allowed" in alert["reason"]
    assert alert["notifiedAt"] is not None


def test_alert_left_over_from_an_earlier_drill_does_not_count(burst: dict[str, Any], lies: dict[str, Any]) -> None:
    before, after = alert_of(burst, "Lasting"), alert_of(lies, "Lasting")
    assert (before["verdict"], before["flags"]) == ("detected", [])
    assert before["resolvedAt"] is None  # it still fires when `lies` begins
    assert after["verdict"] == "detected"
    assert instant(lies["firstAttemptAt"]) <= instant(after["pendingAt"]) <= instant(after["firingAt"])
    assert instant(after["notifiedAt"]) >= instant(after["firingAt"])


def test_crossing_the_threshold_by_little_is_marginal(lies: dict[str, Any]) -> None:
    alert = alert_of(lies, "NearThing")
    assert (alert["verdict"], alert["flags"]) == ("detected", ["marginal"])


def test_quiet_alert_that_fires_without_the_attack_is_noisy(lies: dict[str, Any]) -> None:
    quiet = quiet_of(lies, "AlwaysNoisy")
    assert quiet["verdict"] == "noisy"
    assert "active before the attack" in quiet["reason"]


def test_quiet_alert_that_fires_with_the_attack_is_noisy(lies: dict[str, Any]) -> None:
    quiet = quiet_of(lies, "NoisyByAttack")
    assert quiet["verdict"] == "noisy"
    assert "after the first attempt" in quiet["reason"]


def test_quiet_is_said_only_of_a_rule_that_could_have_fired(lies: dict[str, Any]) -> None:
    assert quiet_of(lies, "Calm") == {"name": "Calm", "verdict": "quiet", "reason": ""}
    missing = quiet_of(lies, "NotLoaded")
    assert (missing["verdict"], missing["reason"]) == ("not-judged", "the rule NotLoaded is not loaded")


def test_alerts_that_the_playbook_does_not_name_are_collateral(lies: dict[str, Any]) -> None:
    found = {one["name"]: one for one in lies["collateral"]}
    assert found["Unlisted"]["state"] == "firing"
    assert found.keys().isdisjoint({"Always", "AlwaysNoisy", "NoisyByAttack"})
    others = [one["labels"] for one in lies["collateral"] if one["name"] == "Right"]
    assert others == [{"alertname": "Right", "severity": "info"}]  # the playbook names the one that is a warning


def test_alert_that_fires_although_nothing_was_denied_is_not_judged(ran: tuple[Ended, dict[str, Any]]) -> None:
    drill = drill_of(ran[1], "open")
    alert = alert_of(drill, "Forwarded")
    assert drill["enforcement"]["verdict"] == "breached"
    assert alert["firingAt"] is not None
    assert verdict(alert) == ("not-judged", None)
    assert "only 0 of 60 attempts were denied" in alert["reason"]
