"""Can a selector find anything: metrics, labels and values against the catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
from alerts_world import judged, said
from check_world import found, names

from drills.check.finding import Finding

ERROR, WARNING, NOTE = "error", "warning", "note"

WRONG: dict[str, dict[str, str]] = {
    # metrics that never were, or are no more
    "sum(increase(cilium_policy_verdict_total[5m])) > 10": {"cilium/unknown-metric": ERROR},
    "sum(rate(cilium_drops_total[5m])) > 1": {"cilium/unknown-metric": ERROR},
    "sum(increase(cilium_policy_l7_denied_total[5m])) > 5": {"cilium/removed-metric": ERROR},
    "sum(increase(cilium_policy_import_errors_total[5m])) > 0": {"cilium/removed-metric": ERROR},
    "cilium_agent_bootstrap_seconds > 60": {"cilium/removed-metric": ERROR},
    "absent(cilium_policy_l7_denied_total)": {"cilium/removed-metric": ERROR},
    "sum(hubble_drops_total) > 3": {"cilium/unknown-metric": ERROR},
    '{__name__="cilium_polcy"} > 3': {"cilium/unknown-metric": ERROR},
    '{__name__=~"cilium_wireguard_.+"} > 0': {"cilium/unknown-metric": ERROR},
    "cilium_operator_something_else > 0": {"cilium/unknown-metric": WARNING},  # there the catalogue is not whole
    "cilium_policy_implementation_delay > 3": {"cilium/unknown-metric": WARNING},  # a histogram
    # another version may be meant
    "sum(increase(cilium_policy_l7_denied_total[5m])) > 5 or "
    'sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 5': {"cilium/removed-metric": WARNING},
    'sum(increase(cilium_policy_change_total{outcome="failure"}[5m]) or '
    'increase(cilium_policy_change_total{outcome="fail"}[5m])) > 0': {"cilium/label-value": WARNING},
    # labels
    'sum(increase(cilium_policy_l7_total{verdict="DENIED"}[5m])) > 10': {"cilium/unknown-label": ERROR},
    'sum(increase(cilium_policy_l7_total{rules="denied"}[5m])) > 10': {"cilium/unknown-label": ERROR},
    'cilium_unreachable_nodes{status="unreachable"} > 0': {"cilium/unknown-label": ERROR},
    'cilium_endpoint_state{state="not-ready"} > 0': {"cilium/unknown-label": ERROR},
    'cilium_unreachable_nodes{shift="night"} > 0': {"cilium/unknown-label": WARNING},  # relabelling may add it
    'cilium_unreachable_nodes{status!="reachable"} > 0': {"cilium/unknown-label": WARNING},  # does nothing
    'cilium_node_health_connectivity_status{source_node_name="a",status="unreachable"} > 0': {
        "cilium/unknown-label": WARNING  # the upgrade notes of 1.19 say to add it by relabelling
    },
    'sum(increase(cilium_policy_l7_total{rule="denied",namespace="backend"}[5m])) > 10': {
        "cilium/unknown-label": WARNING
    },
    # values
    'sum(increase(cilium_policy_l7_total{rule="DENIED"}[5m])) > 10': {"cilium/label-value": ERROR},
    'sum(increase(cilium_policy_l7_total{proxy_type=~"http.*"}[5m])) > 10': {"cilium/label-value": ERROR},
    'sum(rate(cilium_forward_count_total{direction="ingress"}[5m])) > 10': {"cilium/label-value": ERROR},
    'cilium_policy_endpoint_enforcement_status{enforcement="audit"} > 0': {"cilium/label-value": ERROR},
    'sum(increase(cilium_policy_change_total{outcome="failure"}[5m])) > 0': {"cilium/label-value": ERROR},
    'sum(increase(cilium_policy_change_total{outcome!="failed"}[5m])) > 0': {"cilium/label-value": WARNING},
    'sum(increase(hubble_policy_verdicts_total{action="DENIED"}[5m])) > 0': {
        "cilium/label-value": ERROR,
        "cilium/metric-off": NOTE,
        "cilium/birth-trap": WARNING,
    },
    'sum(increase(hubble_policy_verdicts_total{direction="INGRESS"}[5m])) > 0': {
        "cilium/label-value": ERROR,
        "cilium/birth-trap": WARNING,
    },
    'sum(increase(hubble_flows_processed_total{verdict="DENIED"}[5m])) > 0': {
        "cilium/label-value": ERROR,
        "cilium/metric-off": NOTE,
        "cilium/birth-trap": WARNING,
    },
    'sum(increase(cilium_drop_count_total{reason="Policy Denied"}[5m])) > 0': {
        "cilium/label-value": ERROR,
        "cilium/birth-trap": WARNING,
    },
    'sum(increase(cilium_drop_count_total{reason=~"POLICY_DENIED|POLICY_DENY"}[5m])) > 0': {
        "cilium/label-value": ERROR,
        "cilium/birth-trap": WARNING,
    },
    # off by default
    'sum(cilium_fqdn_active_names{endpoint="7"}) > 1000': {"cilium/metric-off": NOTE},
}

FINE = (
    'cilium_unreachable_nodes{job="cilium-agent",node=~"k8s-.*",k8s_app="cilium",label_team="net"} > 0',
    'sum by (node) (cilium_node_health_connectivity_status{type="endpoint",status="unreachable"}) > 0',
    'sum by (le) (rate(cilium_policy_implementation_delay_bucket{le="1",source="k8s"}[5m])) > 1',
    'sum(increase(cilium_policy_change_total{outcome!="success"}[10m])) > 0',
    'sum(increase(cilium_policy_l7_total{rule=~"(?i)DENIED|parse_errors"}[5m])) > 10',
    'sum(increase(cilium_policy_l7_total{rule=~"(d+)+enied"}[5m])) > 10',  # a pattern that is not tried here
    'sum(increase(cilium_policy_l7_total{rule=~"[[:lower:]]+"}[5m])) > 10',
    'sum(increase(cilium_policy_l7_total{rule="denied",verdict=""}[5m])) > 10',
    'cilium_policy_endpoint_enforcement_status{enforcement=~"audit-.*"} > 0',
    "cilium_policy_l7_created > 0",
    'sum(increase(cilium_policy_l7_total{rule="denied",namespace=~"kube-.*"}[5m])) > 10',
    '{__name__=~"cilium_unreachable_.*"} > 0',
    "up == 0",
    "scrape_samples_scraped == 0",
    'ALERTS{alertstate="firing"} == 1',
)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return dict(zip(WRONG, judged(tmp_path_factory.mktemp("wrong"), list(WRONG)), strict=True))


@pytest.mark.parametrize("expr", WRONG)
def test_what_is_wrong_with_a_selector(wrong: dict[str, list[Finding]], expr: str) -> None:
    assert said(wrong[expr]) == WRONG[expr]


def test_nothing_is_wrong_with_these(tmp_path: Path) -> None:
    for expr, findings in zip(FINE, judged(tmp_path, FINE), strict=True):
        assert findings == [], expr


@pytest.mark.parametrize(
    ("expr", "effect"),
    [
        ("sum(rate(cilium_drops_total[5m])) > 1", "The expression is always empty"),
        ("absent(cilium_policy_l7_denied_total)", "fires for ever"),
        (
            'sum(increase(cilium_policy_change_total{outcome!="failed"}[5m])) > 0',
            "counts what it was meant to leave out",
        ),
        ('cilium_unreachable_nodes{status!="reachable"} > 0', "the matcher does nothing"),
        ('cilium_unreachable_nodes{shift="night"} > 0', "Unless relabelling adds shift"),
    ],
)
def test_the_effect_is_that_of_this_place(wrong: dict[str, list[Finding]], expr: str, effect: str) -> None:
    assert effect in wrong[expr][0].effect


@pytest.mark.parametrize(
    ("expr", "fix"),
    [
        ("sum(increase(cilium_policy_verdict_total[5m])) > 10", 'hubble_policy_verdicts_total{action="dropped"}'),
        ("sum(rate(cilium_drops_total[5m])) > 1", "Use cilium_drop_count_total."),
        ("sum(increase(cilium_policy_l7_denied_total[5m])) > 5", 'Use cilium_policy_l7_total{rule="denied"}.'),
        ('sum(rate(cilium_forward_count_total{direction="ingress"}[5m])) > 10', 'Write "INGRESS".'),
        ('cilium_endpoint_state{state="not-ready"} > 0', "Use endpoint_state."),
        ('sum(cilium_fqdn_active_names{endpoint="7"}) > 1000', "--metrics=+cilium_fqdn_active_names"),
    ],
)
def test_the_fix_names_what_is_meant(wrong: dict[str, list[Finding]], expr: str, fix: str) -> None:
    assert fix in wrong[expr][0].fix


@pytest.mark.parametrize(
    ("version", "expr", "expected"),
    [
        ("1.18", "cilium_agent_bootstrap_seconds > 60", {}),
        ("1.18", 'cilium_node_health_connectivity_status{source_node_name="a",status="unreachable"} > 0', {}),
        ("1.19", 'sum(increase(cilium_policy_change_total{outcome="failure"}[5m])) > 0', {}),
        ("1.19", 'sum(increase(cilium_policy_change_total{outcome="fail"}[5m])) > 0', {"cilium/label-value": ERROR}),
        ("1.14", "sum(increase(cilium_policy_l7_denied_total[5m])) > 5", {}),
        ("1.16", "sum(increase(cilium_policy_l7_denied_total[5m])) > 5", {"cilium/removed-metric": ERROR}),
        ("1.16", "sum(cilium_something) > 5", {"cilium/unknown-metric": WARNING}),  # 1.16 is not whole
    ],
)
def test_versions_differ(tmp_path: Path, version: str, expr: str, expected: dict[str, str]) -> None:
    assert said(judged(tmp_path, [expr], cilium=version)[0]) == expected


def test_another_prefix_is_noted_once(tmp_path: Path) -> None:
    noted = judged(tmp_path, ["shop_orders > 1", "shop_orders > 2", 'rate(shop_errors_total{a="b"}[5m]) > 3'])
    assert [said(each) for each in noted] == [
        {"prometheus/unknown-series": NOTE},
        {},
        {"prometheus/unknown-series": NOTE},
    ]


def test_a_catalogue_of_ones_own_is_known_and_held_to(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text("metrics:\n  shop_orders: {type: gauge, labels: {state: [paid, open]}}\n")
    held = judged(tmp_path, ['shop_orders{state="paid"} > 1', 'shop_orders{state="PAID"} > 1'], catalog=own)
    assert [said(each) for each in held] == [{}, {"cilium/label-value": ERROR}]


def test_what_a_given_recording_rule_makes_is_known(tmp_path: Path) -> None:
    text = """\
groups:
- name: g
  rules:
  - record: cilium_denied_rate5m
    expr: sum(rate(cilium_policy_l7_total{rule="denied"}[5m]))
  - alert: A
    expr: cilium_denied_rate5m{whatever="x"} > 1
"""
    assert names(found(tmp_path, text)) == []
