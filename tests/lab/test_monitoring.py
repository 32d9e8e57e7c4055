"""The lab's monitoring with a real Prometheus and a real Alertmanager, on loopback, without the rest of the lab."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from monitoring_world import World, eventually, free_address

from alerts.alertmanager import Alertmanager, AlertmanagerError
from alerts.prometheus import Prometheus, PrometheusError
from drills.lab.api.resources import CONFIGMAPS, PROMETHEUS_RULES

pytestmark = pytest.mark.lab

DENIED = {
    "alert": "Denied",
    "expr": 'sum(increase(denied_total{rule="denied"}[5m])) > 10',
    "for": "1m",
    "labels": {"severity": "warning"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("monitoring"), attack=[DENIED])
    yield made
    made.close()


def test_intervals_are_scaled_and_targets_carry_their_node(world: World) -> None:
    config = world.prometheus.config()
    assert (config.scrape_interval_ms, config.evaluation_interval_ms) == (250, 250)
    assert world.prometheus.flags()["query.lookback-delta"] == "5s"
    (target,) = world.prometheus.targets()
    assert (target.health, target.labels["node"], target.labels["job"]) == ("up", "n1", "app")
    assert world.prometheus.buildinfo().version.startswith("2.")
    assert abs(world.prometheus.now() - time.time()) < 5
    assert world.prometheus.runtimeinfo().start_time > time.time() - 600
    assert world.alertmanager.receivers() == ("security",)


def test_an_attack_goes_all_the_way_to_the_receiver_and_resolves(world: World) -> None:
    rule = eventually(lambda: world.prometheus.alerting_rules("Denied"))[0]
    assert (rule.for_ms, rule.interval_ms, rule.query) == (
        1000,
        250,
        'sum(increase(denied_total{rule="denied"}[5s])) > 10',
    )
    eventually(lambda: world.prometheus.alerting_rules("Denied")[0].health == "ok")
    assert world.status_of("attack")["rules"][0]["original"]["for"] == "1m"

    attack = time.time()
    for _ in range(4):
        world.values['denied_total{rule="denied"}'] += 10
        time.sleep(0.25)
    firing = eventually(lambda: [alert for alert in world.prometheus.alerts() if alert.state == "firing"])[0]
    assert firing.name == "Denied"
    assert attack <= firing.active_at <= attack + 3
    managed = eventually(lambda: [alert for alert in world.alertmanager.alerts() if alert.name == "Denied"])[0]
    assert (managed.state, managed.receivers) == ("active", ("security",))
    assert managed.starts_at == pytest.approx(firing.active_at + 1, abs=0.3)  # one evaluation at most
    notified = eventually(world.receiver.notifications)[0]
    assert notified.alerts[0].labels["alertname"] == "Denied"
    assert notified.received_at >= managed.starts_at
    (webhook,) = (one for one in world.alertmanager.deliveries() if one.integration == "webhook")
    assert (webhook.sent >= 1, webhook.requests_failed) == (True, 0)
    eventually(lambda: any(one.alerts[0].status == "resolved" for one in world.receiver.notifications()))
    points = world.prometheus.samples('ALERTS{alertname="Denied",alertstate="firing"}', time.time(), 60)[0].points
    assert points[0][0] == pytest.approx(managed.starts_at, abs=0.02)


def test_bad_rules_are_named_and_do_not_stop_the_others(world: World) -> None:
    world.create_rules(
        "mixed",
        {"alert": "Broken", "expr": "sum(quiet_total"},
        {"alert": "BadTemplate", "expr": "quiet_total > 1", "annotations": {"summary": "{{ nonsense }}"}},
        {"alert": "Calendar", "expr": "hour() > 3"},
        {"alert": "Fine", "expr": "quiet_total > 1e9", "for": "2m"},
    )
    eventually(lambda: world.prometheus.alerting_rules("Fine"))
    assert {refused["name"] for refused in world.status_of("mixed")["refused"]} == {"Broken", "BadTemplate", "Calendar"}
    by_time = {refused["name"] for refused in world.status_of("mixed")["refused"] if refused["byTimeLapse"]}
    assert by_time == {"Calendar"}  # Prometheus itself would refuse the others
    messages = world.events_about("mixed")
    assert any("Calendar" in text and "follows the calendar" in text for text in messages)
    assert any("BadTemplate" in text and "nonsense" in text for text in messages)
    assert not world.prometheus.alerting_rules("Calendar")


def test_rules_follow_their_objects(world: World) -> None:
    world.create_rules("changing", {"alert": "Changing", "expr": "quiet_total > 5"})
    eventually(lambda: world.prometheus.alerting_rules("Changing"))
    obj = dict(world.call(world.store.get, PROMETHEUS_RULES, "monitoring", "changing"))
    rules = [{"alert": "Changing", "expr": "quiet_total > 7", "for": "1m"}]
    world.call(
        world.store.update, PROMETHEUS_RULES, {**obj, "spec": {"groups": [{"name": "changing", "rules": rules}]}}
    )
    eventually(lambda: world.prometheus.alerting_rules("Changing")[0].for_ms == 1000)
    world.call(world.store.delete, PROMETHEUS_RULES, "monitoring", "changing")
    eventually(lambda: not world.prometheus.alerting_rules("Changing"))


def test_a_users_routes_are_scaled_and_end_at_the_labs_receiver(world: World) -> None:
    text = """
route: {receiver: quiet, group_interval: 5m, routes: [{receiver: pager, matchers: [severity="page"], group_wait: 1m}]}
receivers: [{name: quiet}, {name: pager, pagerduty_configs: [{routing_key: x}]}]
"""
    world.route(text)
    loaded = eventually(lambda: "name: pager" in (found := world.alertmanager.status().config) and found)
    assert "group_interval: 5s" in loaded
    assert "group_wait: 1s" in loaded
    assert "pagerduty_configs" not in loaded
    world.route("route: {receiver: gone}")
    assert any("gone" in text for text in eventually(lambda: world.events_about("alertmanager")))
    assert "name: pager" in world.alertmanager.status().config
    world.call(world.store.delete, CONFIGMAPS, "monitoring", "alertmanager")
    eventually(lambda: "name: security" in world.alertmanager.status().config)


def test_what_is_not_there_is_one_sentence() -> None:
    nowhere = free_address().url
    with pytest.raises(PrometheusError, match="cannot be reached"):
        Prometheus(nowhere).rules()
    with pytest.raises(PrometheusError, match="cannot be reached"):
        Prometheus(nowhere).query("up")
    with pytest.raises(AlertmanagerError, match="cannot be reached"):
        Alertmanager(nowhere).alerts()


def test_a_range_begins_and_ends_where_it_is_asked_to(world: World) -> None:
    start = int(world.prometheus.now()) - 2 + 0.4
    (found,) = world.prometheus.query_range("vector(1)", start, start + 1, 0.25)
    assert [round(moment - start, 3) for moment, _ in found.points] == [0, 0.25, 0.5, 0.75, 1]


def test_a_refused_query_says_why(world: World) -> None:
    with pytest.raises(PrometheusError, match="parse error"):
        world.prometheus.query("sum(")
    with pytest.raises(PrometheusError, match="parse error"):
        world.prometheus.query_range("sum(", 0, 10, 1)
    with pytest.raises(PrometheusError, match="404"):
        Prometheus(world.settings.receiver.url).rules()
    with pytest.raises(AlertmanagerError, match="404"):
        Alertmanager(world.settings.prometheus.url).alerts()
