"""What is counted, when a series is born, and what is written back to the API."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import dns.message
import dns.rrset
import pytest
from agent_world import CLUSTER, FRONTEND, IDENTITIES, TCP_80, compiled, pod, policy

from drills.cilium.decide import Policies
from drills.cilium.peers import FqdnPeer
from drills.lab.agent import status
from drills.lab.agent.book import Book, services_of
from drills.lab.agent.cluster import Identities, labels_of_pod, workload_of
from drills.lab.agent.compile import PolicyNumbers
from drills.lab.agent.exporter import Agent
from drills.lab.agent.flows import Dns, Flow
from drills.lab.agent.lookups import GRACE_SECONDS, Lookups, answers, elements
from drills.lab.agent.nflog import Packet
from drills.lab.agent.observer import Observer
from drills.lab.agent.status import Realised

CLIENT, API = pod("client").address, pod("api").address


def series(page: str) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def l7(agent: Agent, rule: str, proxy: str = "envoy") -> float:
    return series(agent.cilium_page())[f'cilium_policy_l7_total{{rule="{rule}",proxy_type="{proxy}"}}']


def observer(*policies: dict[str, Any]) -> Observer:
    found = Observer("k8s-w1", PolicyNumbers())
    found.learn(CLUSTER, Policies.build(policies))
    return found


def entry(**changes: Any) -> dict[str, Any]:
    line = {
        "dir": "ingress", "at": "1800000000.000000", "ms": 3, "from": f"{CLIENT}:40000", "to": f"{API}:80",
        "method": "GET", "authority": "api", "path": "/x", "protocol": "HTTP/1.1", "code": 200,
        "details": "via_upstream", "route": "policy", "agent": None, "id": None,
    }  # fmt: skip
    return line | changes


def test_what_is_there_before_anything_happens() -> None:
    found = series(Agent().cilium_page())
    assert sum(name.startswith("cilium_policy_l7_total") for name in found) == 8
    assert not any(name.startswith(("cilium_drop", "cilium_forward")) for name in found)
    assert series(Agent().hubble_page()) == {}
    assert found["process_start_time_seconds"] > 0


def test_a_drop_series_is_born_with_the_first_drop() -> None:
    agent = Agent()
    agent.packets({"drop_ingress_133": (0, 0), "drop_egress_181": (0, 0)})
    assert "cilium_drop" not in agent.cilium_page()
    agent.packets({"drop_ingress_133": (3, 180), "drop_egress_181": (0, 0)})
    found = series(agent.cilium_page())
    assert found['cilium_drop_count_total{reason="Policy denied",direction="INGRESS"}'] == 3
    assert found['cilium_drop_bytes_total{reason="Policy denied",direction="INGRESS"}'] == 180


def test_the_page_is_in_prometheus_format() -> None:
    agent = Agent(started=12.5)
    agent.packets({"forward_ingress": (1, 2)})
    lines = agent.cilium_page().splitlines()
    assert lines[:2] == ["# TYPE process_start_time_seconds gauge", "process_start_time_seconds 12.5"]
    assert "# TYPE cilium_forward_count_total counter" in lines
    assert 'cilium_forward_count_total{direction="INGRESS"} 1' in lines
    assert len([line for line in lines if line.startswith("# TYPE cilium_policy_l7_total")]) == 1


@pytest.mark.parametrize(
    ("changes", "received", "forwarded", "denied", "flows"),
    [
        ({}, 2, 2, 0, 2),
        ({"code": 403, "details": "rbac_access_denied_matched_policy[none]"}, 2, 1, 1, 2),
        ({"code": 403}, 2, 2, 0, 2),  # the application's own
        ({"code": 503, "details": "upstream_reset_before_response_started{connection_timeout}"}, 2, 2, 0, 2),
        ({"code": 0, "details": "downstream_remote_disconnect"}, 1, 1, 0, 1),
        ({"code": 307, "details": "path_normalization_failed", "route": None}, 0, 0, 0, 0),
        ({"code": 400, "details": "http1.codec_error", "route": None, "method": None}, 0, 0, 0, 0),
    ],
)
def test_requests(changes: dict[str, Any], received: int, forwarded: int, denied: int, flows: int) -> None:
    found = observer()
    found.request(entry(**changes))
    assert (l7(found.agent, "received"), l7(found.agent, "forwarded"), l7(found.agent, "denied")) == (
        received, forwarded, denied,
    )  # fmt: skip
    assert len(found.ring) == flows


def test_a_denied_request_in_hubbles_metrics() -> None:
    found = observer()
    found.request(entry(code=403, details="rbac_access_denied_matched_policy[none]"))
    counted = series(found.agent.hubble_page())
    assert counted['hubble_drop_total{reason="DROP_REASON_UNKNOWN",protocol="HTTP"}'] == 1
    assert counted['hubble_policy_verdicts_total{direction="ingress",match="l7/http",action="dropped"}'] == 1
    http = 'hubble_http_requests_total{method="GET",protocol="HTTP/1.1",status="403",reporter="server"}'
    assert counted[http] == 1


def packet(prefix: str) -> Packet:
    return Packet(5.0, prefix, CLIENT, API, "TCP", 40_000, 80, ("SYN",))


def test_a_dropped_packet_is_a_verdict_and_a_drop() -> None:
    found = observer(policy(ingress=[{}]), policy(name="q", egress=[{}]))
    found.packets([packet("ingress 133"), packet("foreign")], lost=False)
    events = [event for _, event in found.ring.from_place(0)]
    assert [event.kind for event in events if isinstance(event, Flow)] == ["policy-verdict", "drop"]
    verdict = events[0]
    assert isinstance(verdict, Flow)
    assert verdict.by == ()  # as Cilium: what no rule allows is nobody's denial
    counted = series(found.agent.hubble_page())
    assert counted['hubble_drop_total{reason="POLICY_DENIED",protocol="TCP"}'] == 1
    assert counted['hubble_policy_verdicts_total{direction="ingress",match="none",action="dropped"}'] == 1


def test_lost_reports_are_counted() -> None:
    found = observer()
    found.packets([], lost=True)
    assert series(found.agent.hubble_page())['hubble_lost_events_total{source="perf_event_ring_buffer"}'] == 1
    assert "lost_events" in found.ring.to_json(0, found.ring.from_place(0)[0][1])


def test_lookups() -> None:
    found = observer()
    server = IPv4Address("10.244.2.10")
    found.lookup(1.0, "UDP", (CLIENT, 4000), (server, 53), Dns("evil.org.", ("A",)), denied=True)
    found.lookup(2.0, "UDP", (CLIENT, 4000), (server, 53), Dns("good.org.", ("A",)), denied=False)
    found.answer(3.0, "UDP", (CLIENT, 4000), (server, 53), Dns("good.org.", ("A",), 0, ("1.2.3.4",), 60), 0.1)
    assert [l7(found.agent, rule, "fqdn") for rule in ("received", "forwarded", "denied")] == [3, 2, 1]
    counted = series(found.agent.hubble_page())
    assert counted['hubble_dns_queries_total{rcode="Policy denied",qtypes="A",ips_returned="0"}'] == 1
    assert counted['hubble_dns_responses_total{rcode="No Error",qtypes="A",ips_returned="1"}'] == 1


def test_a_restarted_agent_counts_from_zero() -> None:
    found = observer()
    found.request(entry())
    before = found.agent.started
    found.restart()
    assert l7(found.agent, "received") == 0
    assert len(found.ring) == 0
    assert found.agent.started > before


# Policies and endpoints


def stored(written: dict[str, Any], generation: int = 1) -> dict[str, Any]:
    return {**written, "metadata": {**written["metadata"], "generation": generation}}


def test_the_revision_rises_with_every_change() -> None:
    book = Book()
    one, bad = stored(policy(ingress=[{}])), stored(policy(name="bad", ingress=[]))
    assert [(change.operation, change.outcome) for change in book.update([one], {})] == [("update", "success")]
    assert book.update([one], {}) == []
    assert [(change.operation, change.outcome) for change in book.update([one, bad], {})] == [("update", "fail")]
    assert len(book.policies.rules) == 1
    book.update([stored(policy(ingress=[{}]), generation=2), bad], {})
    assert [change.operation for change in book.update([], {})] == ["delete", "delete"]
    assert book.revision == 6


def imported(**spec: Any) -> Any:
    book = Book()
    book.update([stored(policy(**spec))], {})
    (found,) = book.imports.values()
    return found


def test_a_valid_policy_is_enforced_where_it_is_realised() -> None:
    found = imported(ingress=[{}])
    nodes = {"k8s-w1": Realised(2), "k8s-w2": Realised(1)}
    written = status.policy_status({}, found, nodes, "now")
    assert written["conditions"] == [
        {"type": "Valid", "status": "True", "lastTransitionTime": "now", "message": "Policy validation succeeded"}
    ]
    assert written["nodes"] == {
        "k8s-w1": {"ok": True, "enforcing": True, "localPolicyRevision": 2, "lastUpdated": "now"}
    }
    again = status.policy_status(written, found, {"k8s-w1": Realised(3), "k8s-w2": Realised(3)}, "later")
    assert again["conditions"] == written["conditions"], "nothing changed, so neither does the time"
    assert again["nodes"]["k8s-w1"] == written["nodes"]["k8s-w1"]
    assert again["nodes"]["k8s-w2"]["lastUpdated"] == "later"


def test_what_a_node_could_not_do_is_said() -> None:
    written = status.policy_status({}, imported(ingress=[{}]), {"k8s-w1": Realised(1, "no Envoy")}, "now")
    assert written["nodes"]["k8s-w1"] == {"ok": False, "enforcing": False, "error": "no Envoy", "lastUpdated": "now"}


def test_a_refused_policy_says_why() -> None:
    written = status.policy_status({}, imported(ingress=[]), {"k8s-w1": Realised(9)}, "now")
    assert written["conditions"][0]["status"] == "False"
    assert written["nodes"]["k8s-w1"]["enforcing"] is False


def test_an_endpoint_of_the_api() -> None:
    found = compiled(policy(ingress=[{"fromEndpoints": [FRONTEND], "toPorts": [TCP_80]}]))
    written = status.endpoint(pod("api"), {"metadata": {"labels": {"app": "api"}}}, found.policies["uid-api"], 7)
    assert written["metadata"]["labels"] == {"app": "api"}
    assert written["status"]["policy"] == {
        "ingress": {"enforcing": True, "state": "enforcing"},
        "egress": {"enforcing": False, "state": "disabled"},
        "revision": 7,
    }
    assert written["status"]["named-ports"] == [{"name": "web", "port": 8080, "protocol": "TCP"}]
    assert written["status"]["identity"]["id"] == pod("api").identity.number


def test_identities_are_stable_and_never_reserved() -> None:
    one, other = Identities(), Identities()
    labels = [{"k8s:app": str(number)} for number in range(50)]
    numbers = [one.of(each).number for each in labels]
    assert len(set(numbers)) == 50
    assert min(numbers) >= 256
    assert [one.of(each).number for each in labels] == numbers
    assert [other.of(each).number for each in labels] == numbers, "in every lab the same"
    assert len(IDENTITIES.known()) == 4


def test_a_pods_labels_include_its_service_account() -> None:
    obj = {"metadata": {"namespace": "frontend", "labels": {"app": "x"}}, "spec": {"serviceAccountName": "robot"}}
    assert labels_of_pod(obj, {})["k8s:io.cilium.k8s.policy.serviceaccount"] == "robot"


@pytest.mark.parametrize(
    ("owner", "found"),
    [
        ({"kind": "ReplicaSet", "name": "api-5f4", "controller": True}, ("Deployment", "api")),
        ({"kind": "ReplicaSet", "name": "other", "controller": True}, ("ReplicaSet", "other")),
        ({"kind": "ConfigMap", "name": "run"}, None),
    ],
)
def test_workloads(owner: dict[str, Any], found: tuple[str, str] | None) -> None:
    obj = {"metadata": {"labels": {"pod-template-hash": "5f4"}, "ownerReferences": [owner]}}
    assert workload_of(obj) == found


def test_services_without_selectors_have_outside_addresses() -> None:
    names = {"name": "ext", "namespace": "backend"}
    endpoints = [{"metadata": names, "subsets": [{"addresses": [{"ip": "198.18.0.5"}]}]}]
    found = services_of([{"metadata": names, "spec": {}}], endpoints)
    assert found["backend", "ext"].addresses == {IPv4Address("198.18.0.5")}
    selected = services_of([{"metadata": names, "spec": {"selector": {"app": "x"}}}], endpoints)
    assert (selected["backend", "ext"].selector, selected["backend", "ext"].addresses) == ({"app": "x"}, frozenset())


# Names


def test_an_address_lives_as_long_as_its_answer_and_the_grace() -> None:
    lookups = Lookups()
    address = IPv4Address("198.18.0.9")
    lookups.learn("Good.example.com", {address: 30}, now=100.0)
    peer = FqdnPeer(pattern="*.example.com")
    assert lookups.addresses(peer, 100.0) == {address: 30 + GRACE_SECONDS}
    assert list(lookups.names(address, 100.0)) == ["good.example.com."]
    lookups.learn("good.example.com.", {address: 10}, now=101.0)
    assert lookups.addresses(peer, 101.0) == {address: 29 + GRACE_SECONDS}, "a shorter life does not cut a longer one"
    assert lookups.addresses(FqdnPeer(name="other.example.com"), 101.0) == {}
    lookups.forget(now=100.0 + 31 + GRACE_SECONDS)
    assert lookups.addresses(peer, 100.0) == {}


def test_aliases_are_followed_with_the_smallest_ttl() -> None:
    message = dns.message.make_response(dns.message.make_query("a.org", "A"))
    message.answer = [
        dns.rrset.from_text("a.org.", 20, "IN", "CNAME", "b.org."),
        dns.rrset.from_text("b.org.", 300, "IN", "A", "1.2.3.4", "1.2.3.5"),
    ]
    assert answers(message) == {IPv4Address("1.2.3.4"): 20, IPv4Address("1.2.3.5"): 20}
    assert elements([(IPv4Address("1.2.3.4"), 20.4)]) == "1.2.3.4 timeout 20s"
