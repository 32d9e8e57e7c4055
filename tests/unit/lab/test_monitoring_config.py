"""What the lab's Prometheus and Alertmanager are told, in the lab's time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from drills.errors import InputError
from drills.lab.monitoring import alertmanager, prometheus
from drills.lab.monitoring.settings import MonitoringSettings, of_lab


def settings(k: int = 15) -> MonitoringSettings:
    return of_lab(k, Path("/x"))


def test_prometheus_runs_k_times_faster() -> None:
    data = yaml.safe_load(prometheus.config(settings()))
    assert data["global"] == {"scrape_interval": "1000ms", "scrape_timeout": "1000ms", "evaluation_interval": "1000ms"}
    command = " ".join(prometheus.command(settings()))
    for flag in ("lookback-delta=20000ms", "resend-delay=4000ms", "for-grace-period=40000ms"):
        assert flag in command


def test_targets_carry_their_node() -> None:
    jobs = yaml.safe_load(prometheus.config(settings()))["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["cilium-agent", "hubble"]
    assert jobs[0]["static_configs"][0] == {"targets": ["172.18.0.11:9962"], "labels": {"node": "k8s-w1"}}


def test_real_time_is_prometheus_as_everybody_has_it() -> None:
    data = yaml.safe_load(prometheus.config(settings(1)))
    assert data["global"]["scrape_interval"] == "15000ms"
    assert "--query.lookback-delta=300000ms" in prometheus.command(settings(1))


@pytest.mark.parametrize("k", [0, 7, 11])
def test_a_time_lapse_that_leaves_fractions_is_refused(k: int) -> None:
    with pytest.raises(InputError, match="does not divide"):
        settings(k)


def loaded(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(alertmanager.config(settings(), alertmanager.parse_config(text)))
    return found


def test_the_labs_own_alertmanager_configuration() -> None:
    data = yaml.safe_load(alertmanager.config(settings()))
    assert data["receivers"][0]["webhook_configs"] == [
        {"url": "http://172.18.0.1:9094/webhook/security", "send_resolved": True}
    ]
    assert (data["route"]["group_wait"], data["route"]["group_interval"]) == ("0s", "4s")


def test_a_users_times_are_scaled_and_absent_ones_are_alertmanagers() -> None:
    route = loaded("route: {receiver: a, routes: [{receiver: a, repeat_interval: 1h}]}\nreceivers: [{name: a}]")[
        "route"
    ]
    assert (route["group_wait"], route["group_interval"], route["repeat_interval"]) == ("2s", "20s", "16m")
    assert route["routes"][0]["repeat_interval"] == "4m"


def test_every_integration_becomes_the_labs_webhook_and_a_silent_receiver_stays_silent() -> None:
    receivers = loaded("""
route: {receiver: a}
receivers:
- {name: a, slack_configs: [{channel: x}], email_configs: [{to: y}]}
- {name: silent}
- {name: broken, webhook_configs: [{url: "http://receiver.lab/webhook/broken?status=500"}]}
""")["receivers"]
    urls = [[hook["url"] for hook in one.get("webhook_configs", [])] for one in receivers]
    base = "http://172.18.0.1:9094/webhook"
    assert urls == [[f"{base}/a", f"{base}/a"], [], [f"{base}/broken?status=500"]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not YAML"),
        ("[]", "no route"),
        ("route: {receiver: a, group_wait: soon}\nreceivers: [{name: a}]", "soon"),
        ("route: {receiver: a}\nreceivers: [3]", "without a name"),
    ],
)
def test_what_cannot_be_understood(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        loaded(text)
