"""Why an alert does not come, rung by rung: each fault is made in a real Prometheus or Alertmanager, then explained."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from monitoring_world import K, World, eventually

from alerts import life as lives
from alerts.delivery import decide_delivery, gather_delivery
from alerts.stopped import Stopped
from alerts.whynot import decide, gather

pytestmark = pytest.mark.lab

DENIED = 'denied_total{rule="denied"}'
RULES = [
    {"alert": "NoSeries", "expr": "sum(increase(denid_total[5m])) > 10"},
    {"alert": "NoMatch", "expr": 'sum(increase(denied_total{rule="denid"}[5m])) > 10'},
    {"alert": "TooHigh", "expr": "sum(increase(denied_total[5m])) > 1000"},
    {"alert": "Newborn", "expr": "sum(increase(newborn_total[5m])) > 10"},
    {"alert": "Twins", "expr": '{__name__=~"up|quiet_total"} > -1'},
    {"alert": "Patient", "expr": "sum(increase(denied_total[5m])) > 10", "for": "1h"},
    {"alert": "Brief", "expr": "sum(increase(denied_total[1m])) > 10", "for": "3m"},
    {"alert": "Fires", "expr": "sum(increase(denied_total[5m])) > 10", "labels": {"severity": "warning"}},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("ladder"), ladder=RULES)
    yield made
    made.close()


@pytest.fixture(scope="module")
def attacked(world: World) -> tuple[float, float]:
    """An attack that every rule but the last misses: the times of its start and of the deadline."""
    began = world.prometheus.now()
    world.values["newborn_total"] = 12.0
    for _ in range(4):
        world.values[DENIED] += 10
        time.sleep(0.25)

    def pending_is_over() -> bool:
        found = lives.read(world.prometheus, "Brief", {}, since=began, until=time.time(), interval_ms=250)
        return found.pending_until is not None and found.pending_until < time.time() - 1

    eventually(pending_is_over)
    return began, world.prometheus.now()


def why(world: World, attacked: tuple[float, float], name: str, **labels: str) -> Stopped:
    since, until = attacked
    life = lives.read(world.prometheus, name, labels, since=since, until=until, interval_ms=250)
    assert life.firing_at is None
    return decide(gather(world.prometheus, name, labels, life, since=since, until=until, k=K))


@pytest.mark.parametrize(
    ("name", "at", "reason"),
    [
        ("Fire", "rule-not-loaded", "nearest that is loaded is Fires"),
        ("Twins", "rule-error", "labelset"),
        ("NoSeries", "no-series", "nearest metric that exists is denied_total"),
        ("NoMatch", "no-match", "did you mean denied?"),
        ("Newborn", "birth", "at 12"),
        ("TooHigh", "below-threshold", "never > 1000"),
        ("Patient", "pending", "`for` asks for 1h"),
        ("Brief", "condition-too-short", "`for` asks for 3m"),
    ],
)
def test_why_an_alert_did_not_fire(
    world: World, attacked: tuple[float, float], name: str, at: str, reason: str
) -> None:
    stopped = why(world, attacked, name)
    assert (stopped.at, reason in stopped.reason) == (at, True), stopped.reason


def test_an_alert_with_other_labels_than_expected(world: World, attacked: tuple[float, float]) -> None:
    assert why(world, attacked, "Fires", severity="critical").at == "rule-not-loaded"
    assert why(world, attacked, "Fires", node="x").at == "no-match"


ROUTED = """
route: {receiver: a, group_wait: 0s, routes: [%s]}
receivers: [{name: a, webhook_configs: [{url: "%s"}]}, {name: n}]
"""
GOOD = "http://receiver.lab/webhook/a"


def undelivered(world: World, config: str, receiver: str | None = "a") -> Stopped:
    """What stops `Fires`, which fires again and again, under an Alertmanager configuration."""
    before, told = world.alertmanager.deliveries(), world.receiver.notifications()
    marker = f"marker-{time.monotonic_ns()}"
    world.route(config.replace("{name: n}", "{name: n}, {name: " + marker + "}"))
    eventually(lambda: marker in world.alertmanager.status().config)
    world.values[DENIED] += 40

    def stopped() -> Stopped | None:
        if not any(one.name == "Fires" for one in world.alertmanager.alerts()):
            world.values[DENIED] += 20
            return None
        facts = gather_delivery(
            world.prometheus,
            world.alertmanager,
            "Fires",
            {"severity": "warning"},
            at=time.time(),
            receiver=receiver,
            before=before,
            earlier=told,
        )
        found = decide_delivery(facts)
        return None if found.at in ("unknown", "deduplicated", "not-at-alertmanager") else found

    return eventually(stopped)


@pytest.mark.parametrize(
    ("config", "receiver", "at"),
    [
        (ROUTED % ("{receiver: n, matchers: [alertname=Fires]}", GOOD), "a", "wrong-receiver"),
        (ROUTED % ("{receiver: n, matchers: [alertname=Fires]}", GOOD), None, "wrong-receiver"),
        (ROUTED % ("", GOOD + "?status=500"), "a", "receiver-failed"),
        (
            ROUTED % ("{receiver: a, matchers: [alertname=Fires], mute_time_intervals: [always]}", GOOD)
            + "time_intervals: [{name: always, time_intervals: [{years: ['2000:2100']}]}]\n",
            "a",
            "time-muted",
        ),
        (
            ROUTED % ("", GOOD)
            + "inhibit_rules: [{source_matchers: [alertname=Patient2], target_matchers: [alertname=Fires]}]\n",
            "a",
            "inhibited",
        ),
    ],
    ids=["other receiver", "null route", "receiver answers 500", "muted time", "inhibited"],
)
def test_why_a_firing_alert_was_not_delivered(
    world: World, attacked: tuple[float, float], config: str, receiver: str | None, at: str
) -> None:
    if at == "inhibited":
        amtool(world, "alert", "add", "alertname=Patient2")
    assert undelivered(world, config, receiver).at == at


def test_a_silence_is_named_with_its_comment(world: World, attacked: tuple[float, float]) -> None:
    amtool(world, "silence", "add", "alertname=Fires", "--duration=1m", "--author=ann", "--comment=by me")
    stopped = undelivered(world, ROUTED % ("", GOOD))
    assert stopped.at == "silenced"
    assert 'by ann: "by me"' in stopped.reason


def amtool(world: World, *arguments: str) -> None:
    command = ["amtool", f"--alertmanager.url={world.settings.alertmanager.url}", *arguments]
    subprocess.run(command, check=True, capture_output=True)
