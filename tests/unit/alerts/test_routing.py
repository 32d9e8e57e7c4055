"""Which routes of an Alertmanager configuration an alert takes, and what mutes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alerts.routing import routes_of

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC).timestamp()  # a Sunday

CONFIG = """
route:
  receiver: default
  group_by: [alertname]
  group_wait: 10s
  routes:
  - {receiver: null-route, matchers: [alertname="Noise"]}
  - {receiver: page, match: {severity: critical}, continue: true, group_interval: 1m}
  - receiver: security
    matchers: ['team=~"sec.*"', severity!=info]
    routes:
    - {receiver: night, matchers: [severity="warning"], mute_time_intervals: [weekend]}
receivers:
- name: default
  email_configs: [{to: a@example.org}]
- name: null-route
- {name: page, pagerduty_configs: [{routing_key: x}], webhook_configs: [{url: "http://x"}]}
- {name: security, webhook_configs: [{url: "http://x"}]}
- {name: night, webhook_configs: [{url: "http://x"}]}
time_intervals:
- {name: weekend, time_intervals: [{weekdays: ["saturday", "sunday"]}]}
"""


def taken(config: str = CONFIG, at: float = NOW, **labels: str) -> list[str]:
    return [route.receiver for route in routes_of(config, labels, at)]


def test_descends_to_the_deepest_route_and_stops_there() -> None:
    assert taken(alertname="X") == ["default"]
    assert taken(team="sec", severity="info") == ["default"]
    assert taken(team="sec", severity="page") == ["security"]
    assert taken(team="security", severity="warning") == ["night"]


def test_continue_goes_on() -> None:
    assert taken(team="sec", severity="critical") == ["page", "security"]


def test_times_are_inherited() -> None:
    page, security = routes_of(CONFIG, {"team": "sec", "severity": "critical"}, NOW)
    assert (page.group_wait_ms, page.group_interval_ms, page.repeat_interval_ms) == (10_000, 60_000, 14_400_000)
    assert (security.group_interval_ms, security.group_by) == (300_000, ("alertname",))


def test_integrations_are_named() -> None:
    assert routes_of(CONFIG, {"alertname": "Noise"}, NOW)[0].integrations == ()
    assert routes_of(CONFIG, {"severity": "critical"}, NOW)[0].integrations == ("pagerduty", "webhook")


def test_muted_on_a_weekend_only() -> None:
    labels = {"team": "sec", "severity": "warning"}
    assert routes_of(CONFIG, labels, NOW)[0].muted_by == ("weekend",)
    assert routes_of(CONFIG, labels, NOW + 86_400)[0].muted_by == ()


@pytest.mark.parametrize(
    ("interval", "muted"),
    [
        ("{times: [{start_time: '14:00', end_time: '15:00'}]}", True),
        ("{times: [{start_time: '14:31', end_time: '15:00'}]}", False),
        ("{times: [{start_time: '15:00', end_time: '16:00'}], location: Europe/Berlin}", True),
        ("{weekdays: ['monday:friday']}", False),
        ("{weekdays: ['sunday:tuesday']}", True),
        ("{days_of_month: ['-9:-1']}", True),
        ("{days_of_month: ['1:21']}", False),
        ("{months: ['october:12'], years: ['2026:2027']}", True),
        ("{months: [january]}", False),
        ("{years: ['2025']}", False),
        ("{}", True),
    ],
)
def test_intervals(interval: str, muted: bool) -> None:
    config = f"""
route: {{receiver: r, routes: [{{receiver: r, mute_time_intervals: [t]}}]}}
receivers: [{{name: r}}]
mute_time_intervals: [{{name: t, time_intervals: [{interval}]}}]
"""
    assert bool(routes_of(config, {}, NOW)[0].muted_by) is muted


def test_outside_of_the_active_time() -> None:
    config = CONFIG.replace("mute_time_intervals: [weekend]", "active_time_intervals: [weekend]")
    labels = {"team": "sec", "severity": "warning"}
    assert routes_of(config, labels, NOW)[0].muted_by == ()
    assert routes_of(config, labels, NOW + 86_400)[0].muted_by == ("outside of weekend",)


@pytest.mark.parametrize("config", ["", "a: [", "route: 3"])
def test_no_configuration_no_routes(config: str) -> None:
    assert routes_of(config, {}, NOW) == ()
