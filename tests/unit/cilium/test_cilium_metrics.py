"""Cilium's metrics: the facts that drills and rules rely on."""

from __future__ import annotations

from drills.cilium.metrics import (
    DROP_COUNT,
    HUBBLE_POLICY_VERDICTS,
    METRICS,
    POLICY_CHANGE,
    POLICY_L7,
    Birth,
    DropReason,
)


def test_application_counters_are_there_from_the_start() -> None:
    born = list(POLICY_L7.at_start())
    assert len(born) == 8
    assert {"rule": "denied", "proxy_type": "envoy"} in born


def test_drop_counters_and_hubbles_are_born_by_the_first_event() -> None:
    late = [each for each in METRICS.values() if each.exporter == "hubble" and each.kind == "counter"]
    assert all(each.birth is Birth.FIRST_EVENT and list(each.at_start()) == [] for each in [DROP_COUNT, *late])


def test_policy_changes_are_counted_from_zero() -> None:
    assert {"source": "k8s", "operation": "update", "outcome": "fail"} in list(POLICY_CHANGE.at_start())


def test_a_metric_without_labels_has_one_series() -> None:
    assert list(METRICS["cilium_policy_max_revision"].at_start()) == [{}]


def test_drop_reasons() -> None:
    assert [(each.value, each.name, each.text) for each in (DropReason.POLICY_DENIED, DropReason.POLICY_DENY)] == [
        (133, "POLICY_DENIED", "Policy denied"),
        (181, "POLICY_DENY", "Policy denied by denylist"),
    ]
    assert DropReason.UNENCRYPTED_TRAFFIC.text == "Traffic is unencrypted"
    assert all(each.text for each in DropReason)


def test_directions_differ_in_case() -> None:
    assert "INGRESS" in DROP_COUNT.labels["direction"]
    assert HUBBLE_POLICY_VERDICTS.labels["direction"] == ("ingress", "egress")


def test_names_are_keys() -> None:
    assert all(name == each.name for name, each in METRICS.items())
    assert all(name.endswith("_total") == (each.kind == "counter") for name, each in METRICS.items())
