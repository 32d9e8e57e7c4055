"""What a drill's attempts add to which series, and how Prometheus would scrape it."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.promql import selectors
from drills.check import reading
from drills.check.firing.series import Case, Clock, selected_series
from drills.check.firing.story import Story, stories, syns
from drills.check.predict.cluster import Cluster
from drills.check.world import Options
from drills.playbook import parse

ROOT = Path(__file__).parents[3]
CLOCK = Clock(scrape_ms=15_000, evaluation_ms=15_000, settled_ms=15_000, attack_ms=30_000, until_ms=120_000)


def told(inject: str, denied: str = "", *, control: str = 'http: {from: web, url: "http://api.shop/"}') -> list[Story]:
    """The stories of a drill of which nothing but the playbook is known."""
    playbook = parse(
        f"""\
apiVersion: drills/v1
kind: Playbook
metadata: {{name: p}}
spec:
  sources: {{web: {{namespace: shop, labels: {{app: web}}}}}}
  drills:
  - name: d
    inject: {{{inject}}}
    control: {{{control}}}
    expect: {{{denied}alerts: [{{name: A, within: 5m}}]}}
""",
        "p.yaml",
    )
    cluster = Cluster.of(reading.World())
    return stories(playbook.drills[0], playbook, cluster)


def values(story: Story, expression: str, *, phase: int = 0, spread: int = 1, late_ms: int = 0) -> dict[str, str]:
    """The series of the first node and of others that an expression reads, at the scrapes, short names."""
    found = selected_series(selectors(expression), Case(story, phase, spread, late_ms), CLOCK)
    shown = {}
    for name, text in found:
        node = name.partition('node="')[2].partition('"')[0]
        kept = " ".join(each for each in text.split() if not each.startswith("_x"))
        shown[f"{node} {name.partition('pod=')[2].partition(',')[2].rstrip('}')}"] = kept
    return shown


HTTP = 'http: {from: web, url: "http://api.shop/admin", rate: 2/s, duration: 1m, timeout: 2s}'
TCP = "tcp: {from: web, host: api.shop, port: 80, rate: 1/s, duration: 30s, timeout: 2s}"


def test_an_http_denial_is_one_denied_and_one_received() -> None:
    (story,) = told(HTTP, "denied: {status: 403}, ")
    denied = values(story, 'cilium_policy_l7_total{rule="denied",proxy_type="envoy"}')
    assert denied['node-1 proxy_type="envoy",rule="denied"'] == "0 0 0 31 61 91 120 120 120"
    assert denied['node-1 proxy_type="envoy",rule="received"'] == denied['node-1 proxy_type="envoy",rule="denied"']
    assert denied['node-1 proxy_type="fqdn",rule="denied"'] == "0 0 0 0 0 0 0 0 0"
    assert values(story, "cilium_drop_count_total") == {}


def test_denials_are_spread_over_the_targets_nodes_and_none_is_lost() -> None:
    (story,) = told(HTTP, "denied: {status: 403}, ")
    spread = values(story, 'cilium_policy_l7_total{rule="denied"}', spread=3)
    last = [int(text.split()[-1]) for name, text in spread.items() if name.endswith('proxy_type="envoy",rule="denied"')]
    assert last == [40, 40, 40]


def test_a_dropped_connection_counts_once_for_every_syn_and_is_born_by_the_first() -> None:
    ingress, egress = told(TCP, "denied: {connect: timeout}, ")
    drops = values(ingress, "cilium_drop_count_total")
    assert drops == {'node-1 direction="INGRESS",reason="Policy denied"': "_ _ _ 31 60 60 60 60 60"}
    assert list(values(egress, "cilium_drop_count_total")) == ['node-1 direction="EGRESS",reason="Policy denied"']


@pytest.mark.parametrize(("timeout", "packets"), [(0.9, 1), (1.5, 2), (2.0, 2), (3.2, 4), (5.5, 6)])
def test_syns_of_an_attempt(timeout: float, packets: int) -> None:
    assert len(syns(timeout)) == packets


def test_a_refused_lookup_counts_on_the_sources_node_alone() -> None:
    dns = "dns: {from: web, name: bad.example, rate: 2/s, duration: 1m}"
    (story,) = told(dns, "denied: {dns: refused}, ", control="dns: {from: web, name: good.example}")
    spread = values(story, 'cilium_policy_l7_total{rule="denied",proxy_type="fqdn"}', spread=2)
    assert spread['node-1 proxy_type="fqdn",rule="denied"'].split()[-1] == "120"
    assert spread['node-2 proxy_type="fqdn",rule="denied"'].split()[-1] == "0"


def test_a_flood_counts_requests_and_responses() -> None:
    (story,) = told('flood: {from: web, url: "http://api.shop/", users: 5, rate: 10/s, duration: 1m}')
    received = values(story, 'cilium_policy_l7_total{rule="received",proxy_type="envoy"}')
    assert received['node-1 proxy_type="envoy",rule="received"'].split()[-1] == str(2 * 600)


def test_a_broken_path_is_noticed_by_every_other_node_and_later_forgotten() -> None:
    (story,) = told("wireguard: {node: w1, fault: key-replaced, duration: 45s}", "path: closed, ")
    gauge = 'cilium_node_health_connectivity_status{type="endpoint",status="unreachable"}'
    at_once = values(story, gauge)
    late = values(story, gauge, late_ms=30_000)
    key = 'node-{} status="unreachable",type="endpoint"'
    assert at_once[key.format(1)] == at_once[key.format(2)] == "0 0 0 1 1 1 0 0 0"
    assert late[key.format(1)] == "0 0 0 0 0 1 1 1 0"
    assert at_once['node-1 status="unreachable",type="node"'] == "0 0 0 0 0 0 0 0 0"


def test_a_fault_that_leaves_the_path_open_has_no_story() -> None:
    assert told("wireguard: {node: w1, fault: key-removed, duration: 1m}", "path: open, ") == []


def test_a_scrape_after_the_evaluation_sees_more_and_what_is_there_at_the_start_is_there_at_zero() -> None:
    (story,) = told(HTTP, "denied: {status: 403}, ")
    found = dict(selected_series(selectors('cilium_policy_l7_total{rule="denied"}'), Case(story, 5_000, 1), CLOCK))
    (text,) = [each for name, each in found.items() if 'node="node-1"' in name and 'envoy",rule="denied"' in name]
    assert text.startswith("0 _x4 0 _x14 0 _x14 11 _x14 41")


def test_labels_of_the_scrape_are_as_the_rule_wants_them() -> None:
    (story,) = told(HTTP, "denied: {status: 403}, ")
    rule = 'cilium_policy_l7_total{rule="denied",job="cilium",cluster=~"prod|stage"}'
    names = [name for name, _ in selected_series(selectors(rule), Case(story, 0, 1), CLOCK)]
    assert all('job="cilium"' in name and 'cluster="prod"' in name for name in names)


def test_policies_tell_who_denies() -> None:
    world = reading.read([ROOT / "playbooks"], Options())
    cluster = Cluster.of(world)
    named = {
        drill.name: [(each.name, each.nodes) for each in stories(drill, loaded.playbook, cluster)]
        for loaded in world.playbooks
        for drill in loaded.playbook.drills
    }
    assert named["admin-path"] == [("403", 2)]
    assert named["default-deny"] == named["database-from-frontend"] == [("silence", 1)]
    assert named["refused-name"] == [("dns-refused", 1)]
    assert named["flood"] == [("flood", 2)]
