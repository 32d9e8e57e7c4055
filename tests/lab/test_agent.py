"""The agents in namespaces of their own (see agent_inside.py): what passes, what is denied, and what is counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from drills.cilium.flow import EventType, parse

pytestmark = pytest.mark.lab

Facts = dict[str, Any]
INSIDE = Path(__file__).with_name("agent_inside.py")
L7 = 'cilium_policy_l7_total{{rule="{}",proxy_type="{}"}}'
DROPS = 'cilium_drop_count_total{{reason="{}",direction="{}"}}'


@pytest.fixture(scope="module")
def facts() -> Facts:
    flags = ["-nmp"] if os.geteuid() == 0 else ["-Urnmp"]
    command = ["unshare", *flags, "--fork", "--mount-proc", "--kill-child=KILL", sys.executable, str(INSIDE)]
    environment = {**os.environ, "PYTHONPATH": str(INSIDE.parents[2])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found: Facts = json.loads(done.stdout)
    return found


def delta(pair: list[dict[str, float]], name: str) -> float:
    before, after = pair
    return after.get(name, 0) - before.get(name, 0)


@pytest.mark.parametrize("target", ["near", "far"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/public/x", 200),
        ("/public/x?q=1", 200),  # the query string is part of the path that is matched
        ("/", 403),  # the header is missing
        ("/admin", 403),
        ("/public/../admin", 403),
        ("//admin", 403),
        ("/public/%2e%2e/admin", 403),
        ("/public/..%2fadmin", 307),  # an escaped slash is answered by a redirect to what it stands for
        ("/public/%2E%2E%2Fadmin", 307),
        ("/PUBLIC/x", 403),
        ("/publicx", 403),
    ],
)
def test_http_rules_match_the_whole_normalised_path(facts: Facts, target: str, path: str, code: int) -> None:
    assert facts["paths"][target][path] == code


def test_headers_and_methods_are_exact(facts: Facts) -> None:
    assert (facts["header"], facts["wrong header"], facts["post"]) == (200, 403, 403)


def test_a_denial_is_recognised_by_its_maker(facts: Facts) -> None:
    assert facts["denied"]["body"] == "Access denied\r\n"
    assert "x-envoy-upstream-service-time" not in facts["denied"]["head"]
    assert "x-envoy-upstream-service-time" in facts["allowed"]["head"]
    assert facts["upgrade"]["code"] == 403, "Envoy refuses this by itself"
    assert facts["upgrade"]["body"] == ""


def test_the_application_sees_the_client(facts: Facts) -> None:
    assert facts["allowed"]["body"] == "10.244.1.10 GET /public/y"


@pytest.mark.parametrize(("node", "denied", "passed"), [("k8s-w1", 7, 2), ("k8s-w2", 10, 5)])
def test_requests_are_counted_exactly(facts: Facts, node: str, denied: int, passed: int) -> None:
    pair = [facts["before"][node], facts["after"][node]]
    assert delta(pair, L7.format("denied", "envoy")) == denied
    assert delta(pair, L7.format("forwarded", "envoy")) == denied + 2 * passed, "responses count too"
    assert delta(pair, L7.format("received", "envoy")) == 2 * (denied + passed)
    assert facts["before"][node][L7.format("parse_errors", "fqdn")] == 0, "all eight series are there from the start"


def test_a_denied_request_is_a_dropped_flow_with_its_source_port(facts: Facts) -> None:
    flows = [parse(json.dumps(line)).flow for line in facts["l7 flows"]]
    port = facts["denied"]["port"]
    request, answer = [f for f in flows if f and f.l4 and port in (f.l4.source_port, f.l4.destination_port)]
    assert (request.verdict, request.denied, request.l7 and request.l7.type) == ("DROPPED", True, "REQUEST")
    assert request.source
    assert request.destination
    assert request.l7
    assert request.l7.http
    assert (request.source.pod, request.destination.pod) == ("frontend/client", "backend/far")
    assert request.l7.http.url.endswith("/admin/config")
    assert (answer.verdict, answer.is_reply, answer.l7 and answer.l7.http and answer.l7.http.code) == (
        "FORWARDED", True, 403,
    )  # fmt: skip


def test_drops_are_silent_and_counted_per_packet(facts: Facts) -> None:
    assert [facts[name]["exit"] for name in ("stranger", "cut", "deny")] == [28, 28, 28]
    drops = {node: [parse(json.dumps(line)).flow for line in facts[f"drops {node}"]] for node in ("k8s-w1", "k8s-w2")}

    def packets(node: str, reason: str) -> int:
        found = [f for f in drops[node] if f is not None and f.event is EventType.DROP]
        return sum(f.drop_reason_desc == reason for f in found)

    counts = facts["drop counts"]
    assert DROPS.format("Policy denied", "INGRESS") not in counts["ingress"][0], "born with the first drop"
    assert delta(counts["ingress"], DROPS.format("Policy denied", "INGRESS")) == packets("k8s-w2", "POLICY_DENIED") > 0
    assert delta(counts["ingress"], DROPS.format("Policy denied by denylist", "INGRESS")) == packets(
        "k8s-w2", "POLICY_DENY"
    )
    assert delta(counts["egress"], DROPS.format("Policy denied", "EGRESS")) == packets("k8s-w1", "POLICY_DENIED") > 0


def test_flows_name_the_policy_behind_a_drop(facts: Facts) -> None:
    flows = [parse(json.dumps(line)).flow for line in facts["drops k8s-w2"]]
    denied = [f for f in flows if f is not None and f.event_type and f.event_type.type == 5]
    by_rule = next(f for f in denied if f.drop_reason_desc == "POLICY_DENY")
    assert [policy.name for policy in by_rule.ingress_denied_by] == ["deny"]
    assert (by_rule.policy_log, by_rule.policy_match_type) == (("drill-7",), 2)
    default = next(f for f in denied if f.drop_reason_desc == "POLICY_DENIED")
    assert default.default_denied
    assert not by_rule.default_denied
    assert default.ingress_denied_by == ()  # as Cilium, which cannot say whose default deny it was
    assert default.summary == "TCP Flags: SYN"


def test_the_node_itself_always_gets_in_and_other_nodes_do_not(facts: Facts) -> None:
    assert facts["from node"] == [200, 0]


def test_hubble_counts_a_denial_once(facts: Facts) -> None:
    verdicts = 'hubble_policy_verdicts_total{direction="ingress",match="l7/http",action="dropped"}'
    assert facts["hubble"][verdicts] == 10
    assert facts["hubble"]['hubble_drop_total{reason="DROP_REASON_UNKNOWN",protocol="HTTP"}'] == 10


@pytest.mark.parametrize("target", ["near", "far"])
def test_egress_and_ingress_rules_are_both_asked(facts: Facts, target: str) -> None:
    found = facts["egress"][target]
    assert [found[path]["code"] for path in ("/public/x", "/admin", "/other")] == [200, 403, 403]
    assert found["/public/x"]["body"].startswith("10.244.1.10 "), "the pod's identity survives both proxies"
    for path in ("/admin", "/other"):
        assert found[path]["body"] == "Access denied\r\n"
        assert "x-envoy-upstream-service-time" not in found[path]["head"]


def test_the_targets_policy_stands_behind_an_egress_proxy(facts: Facts) -> None:
    assert [found["code"] in (0, 503) for found in facts["egress closed"]] == [True, True]


def test_lookups_are_refused_by_name(facts: Facts) -> None:
    for how in ("udp", "tcp"):
        assert facts["lookups"][f"good.example.com {how}"] == ["NOERROR"]
        assert facts["lookups"][f"bad.example.com {how}"] == ["NOERROR"]
        assert facts["lookups"][f"evil.org {how}"] == ["REFUSED"]
        assert facts["lookups"][f"a.b.example.com {how}"] == ["REFUSED"], "a star is one level"
    assert facts["lookup from outside"] == facts["stranger lookup"] == ["Timeout"]
    assert facts["connect"] == {"good": 200, "bad": 0}


def test_lookups_are_counted_exactly(facts: Facts) -> None:
    counts = facts["dns counts"]
    assert delta(counts, L7.format("denied", "fqdn")) == 4
    assert delta(counts, L7.format("forwarded", "fqdn")) == 8
    denied = sum(value for name, value in facts["dns hubble"].items() if 'rcode="Policy denied"' in name)
    assert denied == 4
    flows = [parse(json.dumps(line)).flow for line in facts["dns flows"]]
    assert sum(f is not None and f.denied for f in flows) == 4


def test_a_new_label_is_a_new_identity_at_once(facts: Facts) -> None:
    assert (facts["before label"], facts["after label"]) == (0, 200)
    assert facts["same identity"] == 1


def test_endpoints_tell_their_identity_and_revision(facts: Facts) -> None:
    status = facts["endpoint"]["status"]
    assert status["state"] == "ready"
    assert "k8s:app=api" in status["identity"]["labels"]
    assert status["policy"]["ingress"]["enforcing"]
    assert not status["policy"]["egress"]["enforcing"]
    assert facts["endpoint"]["metadata"]["ownerReferences"][0]["kind"] == "Pod"
    (found,) = facts["dbg"]
    policy = found["status"]["policy"]
    assert policy["realized"]["policy-enabled"] == "ingress"
    assert policy["realized"]["policy-revision"] == policy["spec"]["policy-revision"]


def test_policies_tell_what_became_of_them(facts: Facts) -> None:
    (condition,) = facts["policy"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Valid", "True")
    assert {how["localPolicyRevision"] for how in facts["policy"]["nodes"].values()} == {2}
    assert all(how["ok"] for how in facts["policy"]["nodes"].values())
    bad = facts["bad"]
    assert bad["conditions"][0]["status"] == "False"
    assert "at least one of" in bad["conditions"][0]["message"]
    assert not any(how["enforcing"] for how in bad["nodes"].values())


def test_what_the_lab_cannot_enforce_is_said(facts: Facts) -> None:
    conditions = {each["type"]: each for each in facts["unenforced"]["conditions"]}
    assert conditions["LabEnforced"]["status"] == "False"
    assert "toPorts.serverNames" in conditions["LabEnforced"]["message"]


def test_gauges_follow_the_policies(facts: Facts) -> None:
    gauges = facts["gauges"]
    assert gauges["cilium_policy"] == 1
    assert gauges['cilium_policy_endpoint_enforcement_status{enforcement="ingress"}'] == 1
    assert gauges['cilium_policy_change_total{source="k8s",operation="update",outcome="fail"}'] >= 1
    assert gauges['cilium_node_health_connectivity_status{type="endpoint",status="reachable"}'] == 1


def test_a_pod_that_left_is_forgotten(facts: Facts) -> None:
    assert facts["gone"]
    assert not facts["ruleset has stranger"]


def test_many_denials_are_counted_exactly(facts: Facts) -> None:
    assert delta(facts["flood"], L7.format("denied", "envoy")) == 2000


def test_a_restarted_agent_counts_from_zero_and_enforces_on(facts: Facts) -> None:
    assert facts["without agent"] == [503, 403]
    before, after = facts["restart"]
    assert before[L7.format("denied", "envoy")] >= 2000
    assert after[L7.format("denied", "envoy")] == 0
    assert after["process_start_time_seconds"] > before["process_start_time_seconds"]
    kernel = DROPS.format("Policy denied", "INGRESS")
    assert after[kernel] == before[kernel] > 0, "the kernel's counters live on"
    assert after["cilium_policy"] == before["cilium_policy"] == 1
    assert after["cilium_policy_max_revision"] == before["cilium_policy_max_revision"]


def test_without_envoy_http_is_closed_until_it_is_back(facts: Facts) -> None:
    assert facts["envoy"] == [0, 403]
