"""What a drill can move, and which selectors that meets."""

from __future__ import annotations

import pytest
from drill_texts import drill

from drills.cilium.metrics import METRICS
from drills.engine.effects import Footprint, footprint, reads_of

L7 = "cilium_policy_l7_total"
DROPS = "cilium_drop_count_total"
HEALTH = "cilium_node_health_connectivity_status"


def of(kind: str, host: str = "http-api.backend") -> Footprint:
    return footprint(drill("one", kind, host), {})


def moves(kind: str, expression: str, host: str = "http-api.backend") -> bool:
    return any(of(kind, host).moves(read) for read in reads_of("Alert", expression))


@pytest.mark.parametrize(
    ("kind", "expression", "moved"),
    [
        # whose denials: by the proxy's type, never by the metric's name alone
        ("http", f'sum(increase({L7}{{rule="denied",proxy_type="envoy"}}[5m])) > 10', True),
        ("http", f'{L7}{{rule="denied",proxy_type="fqdn"}}', False),
        ("http", f'{L7}{{rule="denied"}}', True),
        ("http", f'{L7}{{rule=~"denied|received",proxy_type!="fqdn"}}', True),
        ("http", f'{L7}{{rule="parse_errors"}}', False),
        ("http", f'{L7}{{proxy_type=~"fq.*",rule!~"received|forwarded"}}', False),
        ("http", f'{L7}{{proxy_type="fqdn"}}', True),  # the name is looked up
        ("dns", f'{L7}{{rule="denied",proxy_type="fqdn"}}', True),
        ("dns", f'{L7}{{rule="denied",proxy_type="envoy"}}', False),
        ("tcp", f'{L7}{{rule="denied"}}', False),
        # who drops packets
        ("tcp", f'{DROPS}{{reason=~"Policy denied.*"}}', True),
        ("tcp", f'{DROPS}{{reason=~"Policy denied.*",direction="EGRESS"}}', True),
        ("tcp", f'{DROPS}{{direction="SERVICE"}}', False),
        ("tcp", f'{DROPS}{{reason="Stale or unroutable IP"}}', False),
        ("http", DROPS, False),
        ("http-dropped", DROPS, True),
        ("http-any", DROPS, True),
        ("http-any", f'{L7}{{rule="denied",proxy_type="envoy"}}', True),
        ("dns", f'{DROPS}{{reason=~"Policy denied.*"}}', False),
        ("dns-dropped", f'{DROPS}{{reason=~"Policy denied.*"}}', True),
        # what passes
        ("http", f'sum(rate({L7}{{rule="received",proxy_type="envoy"}}[2m])) > 100', True),
        ("flood", f'sum(rate({L7}{{rule="received",proxy_type="envoy"}}[2m])) > 100', True),
        ("tcp", f'sum(rate({L7}{{rule="received",proxy_type="envoy"}}[2m])) > 100', False),
        ("tcp", "cilium_forward_count_total", True),
        # Hubble's view of the same
        ("http", 'hubble_policy_verdicts_total{match="l7/http",action="dropped"}', True),
        ("dns", 'hubble_policy_verdicts_total{match="l7/http",action="dropped"}', False),
        ("tcp", 'hubble_policy_verdicts_total{match="l7/http",action="dropped"}', False),
        ("tcp", 'hubble_policy_verdicts_total{match="none",action="dropped"}', True),
        ("tcp", 'hubble_drop_total{reason="POLICY_DENIED"}', True),
        ("http", 'hubble_drop_total{reason="DROP_REASON_UNKNOWN",protocol="HTTP"}', True),
        ("dns", 'hubble_dns_queries_total{rcode="Policy denied"}', True),
        # faults
        ("wireguard", f'{HEALTH}{{type="endpoint",status="unreachable"}}', True),
        ("wireguard", f'{DROPS}{{reason="Traffic is unencrypted"}}', True),
        ("wireguard", f'{L7}{{rule="denied",proxy_type="envoy"}}', False),
        ("restart", f'{L7}{{rule="denied",proxy_type="envoy"}}', True),  # its repair starts an agent anew
        ("restart", "up", True),
        ("http", HEALTH, False),
        # drill pods are endpoints
        ("tcp", "cilium_endpoint_state", True),
        ("tcp", "cilium_policy_max_revision", False),
        # whatever nobody knows, everybody may move
        ("tcp", "http_requests_total", True),
        ("tcp", 'ALERTS{alertstate="firing"}', True),
        ("tcp", "up == 0", False),
        ("tcp", '{job="agents"}', True),
        ("tcp", '{__name__=~"cilium_node_health.*"}', False),
        ("tcp", '{__name__=~"cilium_drop.*"}', True),
        ("tcp", 'cilium_drop_count_total{reason=~"(?s-i:Policy.*"}', True),  # a pattern that only Go may understand
        ("tcp", "sum(", True),
        # a rule that asks only whether series are there is not moved by their values
        ("http", f'absent({L7}{{rule="denied",proxy_type="envoy"}})', False),
        ("http", f'absent({L7}{{rule="denied"}}) or {L7}{{rule="denied"}} > 5', True),
        ("http", f'absent({L7}{{rule="denied"}} > 5)', True),
        ("wireguard", f'absent_over_time({HEALTH}{{type="endpoint"}}[5m])', False),
        ("tcp", f"absent({DROPS})", True),  # these series are born by the first drop
        ("tcp", "absent(http_requests_total)", True),
    ],
)
def test_moves(kind: str, expression: str, moved: bool) -> None:
    assert moves(kind, expression) is moved


@pytest.mark.parametrize("kind", ["http", "dns", "tcp", "flood", "wireguard", "http-any", "dns-dropped"])
def test_every_effect_is_on_a_metric_that_there_is(kind: str) -> None:
    for effect in of(kind).effects:
        metric = METRICS[effect.metric]
        for name, values in effect.labels:
            assert name in metric.labels
            assert values
            assert not metric.labels[name] or values <= set(metric.labels[name])


@pytest.mark.parametrize(
    ("kind", "host", "attacked", "used"),
    [
        ("http", "http-api.backend.svc.cluster.local", {"http-api.backend"}, {"http-api.backend"}),
        ("flood", "http-api.backend", {"http-api.backend"}, {"http-api.backend"}),
        ("dns", "Malicious-Site.com.", {"malicious-site.com"}, {"malicious-site.com", "api.github.com"}),
        ("wireguard", "k8s-w1", set(), {"database.database"}),
    ],
)
def test_targets(kind: str, host: str, attacked: set[str], used: set[str]) -> None:
    found = of(kind, host)
    assert (found.attacked, found.used) == (attacked, used)


def test_its_alerts_are_read_by_their_rules() -> None:
    one = drill("one", "http", "http-api.backend", ("A",), ("B", "C"))
    found = footprint(one, {"A": ["up", "x > 1"], "B": ["absent(y)"], "Other": ["z"]})
    assert [(read.alert, str(read.selector), read.existence) for read in found.reads] == [
        ("A", "up", False),
        ("A", "x", False),
        ("B", "y", True),
    ]
    assert (found.expects, found.quiet) == ({"A"}, {"B", "C"})
    assert found.rate == 6.0
