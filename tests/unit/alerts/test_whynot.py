"""Where an alert stopped: one fact after the other decides, the first rung of the ladder wins."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from alerts.alertmanager import Deliveries, ManagedAlert
from alerts.delivery import (
    DeliveryFacts,
    Tries,
    decide_active,
    decide_delivery,
    decide_silenced,
    tries_since,
    unsure_of_tries,
)
from alerts.inputs import culprit, nearest, no_match
from alerts.life import Life
from alerts.prometheus import LoadedRecord, LoadedRule, Series
from alerts.promql import comparisons, selectors
from alerts.receiver import Notification, NotifiedAlert
from alerts.routing import Route
from alerts.silences import Silence
from alerts.whynot import Birth, Facts, Peak, as_written, concerning, decide

RULE = LoadedRule(
    name="Denied",
    query="sum(increase(x[5m])) > 10",
    for_ms=60_000,
    keep_firing_ms=0,
    labels={"severity": "warning"},
    annotations={},
    state="inactive",
    health="ok",
    last_error="",
    last_evaluation=1.0,
    evaluation_seconds=0.001,
    alerts=(),
    group="g",
    file="f",
    interval_ms=15_000,
)
FACTS = Facts("Denied", {"severity": "warning"}, (RULE,), ("Denied", "Other"), Life(), until=1000.0)


def stopped(**change: Any) -> tuple[str, str]:
    found = decide(dataclasses.replace(FACTS, **change))
    return found.at, found.reason


def peak(value: float | None, operator: str = ">", **by_series: float) -> Peak:
    return Peak("sum(increase(x[5m]))", operator, 10, value, by_series)


def test_rule_not_loaded_names_the_nearest() -> None:
    at, reason = stopped(rules=(), names=("Denied2", "Zzz"))
    assert at == "rule-not-loaded"
    assert "nearest that is loaded is Denied2" in reason


def test_rule_loaded_with_another_label() -> None:
    at, reason = stopped(labels={"severity": "critical"})
    assert at == "rule-not-loaded"
    assert "{severity=warning}, not {severity=critical}" in reason


def test_a_templated_label_may_be_anything() -> None:
    rule = dataclasses.replace(RULE, labels={"severity": "{{ $labels.x }}"})
    assert stopped(rules=(rule,))[0] == "unknown"


def test_rule_error_carries_prometheus_own_words() -> None:
    rule = dataclasses.replace(RULE, health="err", last_error="many-to-many matching")
    assert stopped(rules=(rule,)) == ("rule-error", "evaluating Denied fails: many-to-many matching")


def test_an_error_in_a_recording_rule_names_it() -> None:
    record = LoadedRecord("a:b", "x", (), "err", "many-to-many matching", "g", 15_000)
    assert stopped(behind=(record,)) == (
        "rule-error",
        "evaluating the recording rule a:b, which Denied reads, fails: many-to-many matching",
    )


def test_still_pending() -> None:
    at, reason = stopped(life=Life(active_at=970, pending_until=990))
    assert at == "pending"
    assert "held for 20s, `for` asks for 1m" in reason


def test_the_condition_ended_too_soon_in_playbook_time() -> None:
    at, reason = stopped(life=Life(active_at=800, pending_until=802), k=15)
    assert at == "condition-too-short"
    assert "held for 30s and ended, `for` asks for 15m" in reason


def test_below_threshold_shows_every_series() -> None:
    at, reason = stopped(peaks=(peak(8, a=8, b=7.5),))
    assert at == "below-threshold"
    assert "highest value" in reason
    assert "was 8, never > 10" in reason
    assert "a: 8, b: 7.5" in reason
    assert "lowest" in stopped(peaks=(peak(20, "<"),))[1]


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("sum(increase(x[5m])) > 10", "sum(increase(x[5m]))"),
        ("10 < sum(rate(x[5m]))", "sum(rate(x[5m]))"),
        (None, "sum(increase(x[20s]))"),
        ("sum(increase(x[5m])) > 10 and up == 1", "sum(increase(x[20s]))"),  # another rule's: two comparisons
        ("sum(increase(x[5m]", "sum(increase(x[20s]))"),
    ],
)
def test_a_reader_sees_what_the_author_wrote(written: str | None, text: str) -> None:
    scaled = dataclasses.replace(peak(8), text="sum(increase(x[20s]))")
    (shown,) = as_written([scaled], written)
    assert (shown.text, shown.value, shown.threshold) == (text, 8, 10)


def test_the_text_of_a_long_expression_stands_on_one_line() -> None:
    labels = ", ".join(f'label{number}="a value that is rather long"' for number in range(5))
    ((text, _, _),) = comparisons(f"sum by (direction) (increase(x{{{labels}}}[5m])) > 10")
    assert "\n" not in text


def test_birth_only_if_it_makes_the_difference() -> None:
    assert stopped(peaks=(peak(None),), births=(Birth("x", 2, 12),))[0] == "birth"
    assert stopped(peaks=(peak(3),), births=(Birth("x", 1, 5),))[0] == "below-threshold"
    assert stopped(peaks=(peak(None),))[0] == "below-threshold"


def test_other_labels_than_expected() -> None:
    at, reason = stopped(seen_as=({"severity": "warning", "node": "b"},), labels={"node": "a"})
    assert at == "no-match"
    assert "node=b" in reason


@pytest.mark.parametrize(
    ("expression", "there", "blamed"),
    [
        ("a > 1", "", "a"),
        ("a > 1", "a", None),
        ("a and b", "a", "b"),
        ("a or b", "b", None),
        ("a or b", "", "a"),
        ("a unless b", "a", None),
        ("a unless b", "b", "a"),
        ("absent(a)", "", None),
        ("sum(increase(a[5m])) / sum(b) > 1", "a", "b"),
        ("max_over_time((a > 1)[5m:])", "", "a"),
        ("vector(1)", "", None),
        ("(a offset 5m) + 1", "", "a"),
    ],
)
def test_the_selector_that_keeps_an_expression_empty(expression: str, there: str, blamed: str | None) -> None:
    found = culprit(expression, lambda selector: selector.metric in there.split())
    assert (found.metric if found else None) == blamed


def test_the_matcher_that_lets_nothing_pass() -> None:
    (selector,) = selectors('x{rule="denid",proxy="envoy"}')
    series = [{"rule": "denied", "proxy": "fqdn"}, {"rule": "received", "proxy": "envoy"}]
    text = no_match(selector, series)
    assert 'none with rule="denid"; rule is one of: denied, received (did you mean denied?)' in text
    (missing,) = selectors('x{nope="1"}')
    assert "none has a label nope" in no_match(missing, series)
    (both,) = selectors('x{rule="denied",proxy="envoy"}')
    assert "none with all of x{" in no_match(both, series)


def test_nearest() -> None:
    names = ["cilium_policy_l7_total", "cilium_policy", "up"]
    assert nearest("cilium_policy_l7_denied_total", names) == "cilium_policy_l7_total"
    assert nearest("zzz", names) is None


MANAGED = ManagedAlert(
    labels={"alertname": "Denied", "severity": "warning"},
    annotations={},
    fingerprint="f0",
    starts_at=1.0,
    ends_at=2.0,
    updated_at=1.0,
    state="active",
    silenced_by=(),
    inhibited_by=(),
    muted_by=(),
    receivers=("security",),
)
ROUTE = Route("security", (), 30_000, 300_000, 14_400_000, (), ("webhook",))
DELIVERY = DeliveryFacts("Denied", {}, ("http://am",), MANAGED, receiver="security", routes=(ROUTE,))


def undelivered(**change: Any) -> tuple[str, str]:
    found = decide_delivery(dataclasses.replace(DELIVERY, **change))
    return found.at, found.reason


def managed(**change: Any) -> ManagedAlert:
    return dataclasses.replace(MANAGED, **change)


def test_never_at_alertmanager() -> None:
    assert undelivered(managed=None)[0] == "not-at-alertmanager"
    assert "knows no Alertmanager" in undelivered(managed=None, alertmanagers=())[1]


def test_silenced_names_who_and_why() -> None:
    silence = Silence("s1", "active", (), 0, 1, "ann", "maintenance")
    at, reason = undelivered(managed=managed(state="suppressed", silenced_by=("s1",)), silences=(silence,))
    assert (at, reason) == ("silenced", 'silenced by s1 by ann: "maintenance"')


def test_inhibited_names_by_which_alert() -> None:
    other = managed(labels={"alertname": "Flood"}, fingerprint="f1")
    at, reason = undelivered(managed=managed(state="suppressed", inhibited_by=("f1",)), others={"f1": other})
    assert at == "inhibited"
    assert "Flood" in reason


def test_muted_by_time_although_it_shows_active() -> None:
    route = dataclasses.replace(ROUTE, muted_by=("weekend",))
    assert undelivered(routes=(route,)) == ("time-muted", "its route is muted by time now: weekend")
    assert undelivered(routes=(route, ROUTE))[0] != "time-muted"


def test_wrong_receiver_and_one_that_sends_to_nothing() -> None:
    assert undelivered(receiver="page") == ("wrong-receiver", "it was routed to security, not to page")
    silent = dataclasses.replace(ROUTE, integrations=())
    assert "sends to nothing" in undelivered(receiver=None, routes=(silent,))[1]


def test_a_failing_receiver_shows_only_in_requests() -> None:
    before, after = Deliveries("webhook", 1, 0, 1, 0), Deliveries("webhook", 1, 0, 4, 3)
    assert tries_since((before,), (after,)) == Tries(3, 3)
    assert tries_since((after,), (Deliveries("webhook", 0, 0, 1, 1),)) == Tries(1, 1)  # it was restarted
    assert tries_since((), (after,)) == Tries(counted=False)  # they may be from long before
    assert tries_since((before,), (after, Deliveries("slack", 0, 9, 9, 9)), {"webhook"}) == Tries(3, 3)
    assert undelivered(tries=Tries(3, 3))[0] == "receiver-failed"
    assert undelivered(tries=Tries(3, 3), working=frozenset({"other"}))[0] == "receiver-failed"
    assert undelivered(tries=Tries(4, 3), working=frozenset({"security"}))[0] == "unknown"  # others' failures


def active(**change: Any) -> tuple[str | None, str | None]:
    facts = dataclasses.replace(DELIVERY, **{"receiver": None, **change})
    found = decide_active(facts)
    return None if found is None else found.at, unsure_of_tries(facts)


@pytest.mark.parametrize(
    ("change", "at"),
    [
        ({}, None),
        ({"tries": Tries(2, 0)}, None),
        ({"tries": Tries()}, "unknown"),  # it was over before group_wait or group_interval were
        ({"tries": Tries(counted=False)}, None),
        ({"tries": Tries(2, 2)}, "receiver-failed"),
        ({"routes": (dataclasses.replace(ROUTE, muted_by=("weekend",)),)}, "time-muted"),
        ({"routes": (dataclasses.replace(ROUTE, integrations=()),)}, "wrong-receiver"),
        ({"receiver": "page"}, "wrong-receiver"),
    ],
)
def test_active_at_alertmanager_may_reach_nobody_all_the_same(change: dict[str, Any], at: str | None) -> None:
    assert active(**change) == (at, None)


def test_tries_of_which_some_failed_say_nothing_of_this_alert() -> None:
    at, unsure = active(tries=Tries(3, 1))
    assert at is None
    assert unsure is not None
    assert unsure.startswith("1 of 3 tries to notify failed since the attack began")


def test_deduplicated_while_the_receiver_believes_that_it_fires() -> None:
    def told(status: Any) -> Notification:
        return Notification(1.0, "security", (NotifiedAlert(MANAGED.labels, status),))

    assert undelivered(earlier=(told("firing"),))[0] == "deduplicated"
    at, reason = undelivered(earlier=(told("firing"), told("resolved")))
    assert at == "unknown"
    assert "group_wait is 30 s and group_interval 300 s" in reason


def test_series_of_another_alert_do_not_count() -> None:
    ingress, egress, either = (Series(labels, ()) for labels in ({"direction": "IN"}, {"direction": "OUT"}, {"a": "b"}))
    labels = {"direction": "IN", "severity": "warning"}
    assert concerning([ingress, egress, either], labels) == [ingress, either]
    assert concerning([ingress, egress], {}) == [ingress, egress]


def by(*ids: str, **change: Any) -> ManagedAlert:
    return managed(state="suppressed", silenced_by=ids, **change)


def silenced(*sightings: tuple[float, ManagedAlert], **change: Any) -> str | None:
    found = dataclasses.replace(DELIVERY, managed=sightings[-1][1], **change)
    stop = decide_silenced(found, frozenset({"ours", "ours-too"}), sightings)
    return None if stop is None else stop.at


@pytest.mark.parametrize(
    ("alert", "at"),
    [
        (by("ours"), None),
        (by("ours", "ours-too"), None),
        (by("ours", "anns"), "silenced"),
        (by("anns"), "silenced"),
        (by("ours", inhibited_by=("f1",)), "inhibited"),
        (by("ours", muted_by=("weekend",)), "time-muted"),
        (by("ours", receivers=("elsewhere",)), "wrong-receiver"),
    ],
)
def test_only_our_own_silence_counts_as_delivered(alert: ManagedAlert, at: str | None) -> None:
    route = dataclasses.replace(ROUTE, muted_by=alert.muted_by)
    assert silenced((1.0, alert), (31.0, alert), routes=(route,)) == at


def test_a_silenced_alert_on_a_route_that_tells_nobody() -> None:
    for change, at in (({"muted_by": ("weekend",)}, "time-muted"), ({"integrations": ()}, "wrong-receiver")):
        route = dataclasses.replace(ROUTE, **change)
        assert silenced((1.0, by("ours")), (40.0, by("ours")), routes=(route,)) == at


def test_what_a_silenced_alert_met_counts_once_group_wait_is_over() -> None:
    assert silenced((1.0, by("ours")), (30.9, by("ours"))) == "unknown"  # gone before anybody would have been told
    inhibited = by("ours", inhibited_by=("f1",))
    assert silenced((1.0, by("ours")), (31.0, inhibited)) == "inhibited"
    assert silenced((1.0, inhibited), (31.0, inhibited), (40.0, by("ours"))) is None
