"""What a flow meets: default deny, deny rules, ports, peers, application rules, and how policies add up."""

from __future__ import annotations

from typing import Any

import pytest
from cilium_world import NODE, ccnp, cnp, dns, few, http, outside, pod, tcp
from hypothesis import given
from hypothesis import strategies as st

from drills.cilium.decide import Decision, EndpointSelectorPeer, Flow, Policies, Remote, Verdict
from drills.cilium.labels import HEALTH, INIT, KUBE_APISERVER, REMOTE_NODE
from drills.cilium.peers import ServiceTarget, address
from drills.cilium.ports import named_ports

ALLOWED, DEFAULT, RULE = Verdict.ALLOWED, Verdict.DENIED_DEFAULT, Verdict.DENIED_RULE
API = pod("backend", "api")
NEAR = pod("backend", "near")
FRONTEND = pod("frontend", "web")
WORLD = outside("198.18.0.1")


def build(*specs: dict[str, Any], **more: Any) -> Policies:
    """Policies in namespace backend, each for every pod of it."""
    objects = [cnp({"endpointSelector": {}, **spec}, name=f"p{index}") for index, spec in enumerate(specs)]
    return Policies.build(objects, **more)


def ports(*found: str, **more: Any) -> list[dict[str, Any]]:
    """``toPorts`` from texts like ``80``, ``80/TCP`` and ``3000-3010``."""
    listed = []
    for text in found:
        number, _, protocol = text.partition("/")
        first, dash, last = number.partition("-") if number[0].isdigit() else (number, "", "")
        listed.append(
            {"port": first} | ({"endPort": int(last)} if dash else {}) | ({"protocol": protocol} if protocol else {})
        )
    return [{"ports": listed, **more}]


OF_FRONTEND = [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "frontend"}}]


@pytest.mark.parametrize(
    ("element", "source", "port", "verdict"),
    [
        ({}, NEAR, 80, DEFAULT),
        ({}, NODE, 80, ALLOWED),
        ({"fromEndpoints": [{}]}, NEAR, 80, ALLOWED),
        ({"fromEndpoints": [{}]}, FRONTEND, 80, DEFAULT),
        ({"fromEndpoints": []}, NEAR, 80, DEFAULT),
        ({"fromEndpoints": [], "toPorts": ports("80")}, NEAR, 80, DEFAULT),
        ({"fromEndpoints": [{}], "toPorts": []}, NEAR, 80, ALLOWED),
        ({"fromEndpoints": [{}], "toPorts": [{}]}, NEAR, 80, DEFAULT),
        ({"fromEndpoints": OF_FRONTEND}, FRONTEND, 80, ALLOWED),
        ({"toPorts": ports("80")}, WORLD, 80, ALLOWED),
        ({"toPorts": ports("80")}, WORLD, 81, DEFAULT),
        ({"toPorts": ports("80/UDP")}, WORLD, 80, DEFAULT),
        ({"toPorts": ports("80/ANY")}, WORLD, 80, ALLOWED),
        ({"toPorts": ports("0/TCP")}, WORLD, 65535, ALLOWED),
        ({"toPorts": ports("0/UDP")}, WORLD, 80, DEFAULT),
        ({"toPorts": ports("3000-3010")}, WORLD, 3000, ALLOWED),
        ({"toPorts": ports("3000-3010")}, WORLD, 3010, ALLOWED),
        ({"toPorts": ports("3000-3010")}, WORLD, 3011, DEFAULT),
        ({"toPorts": ports("80", "8080")}, WORLD, 8080, ALLOWED),
        ({"fromCIDR": ["10.0.0.0/8"]}, NEAR, 80, DEFAULT),
        ({"fromCIDR": ["198.18.0.0/15"]}, WORLD, 80, ALLOWED),
        ({"fromCIDR": ["198.18.0.0/15"]}, outside("198.20.0.1"), 80, DEFAULT),
        ({"fromCIDR": ["0.0.0.0/0"]}, FRONTEND, 80, DEFAULT),
        ({"fromCIDRSet": [{"cidr": "198.18.0.0/15", "except": ["198.18.0.0/24"]}]}, WORLD, 80, DEFAULT),
        ({"fromCIDRSet": [{"cidr": "198.18.0.0/15", "except": ["198.18.0.0/24"]}]}, outside("198.18.1.1"), 80, ALLOWED),
        ({"fromCIDRSet": [{"cidrGroupRef": "office"}]}, WORLD, 80, DEFAULT),
        ({"fromEntities": ["world"]}, WORLD, 80, ALLOWED),
        ({"fromEntities": ["world"]}, FRONTEND, 80, DEFAULT),
        ({"fromEntities": ["cluster"]}, FRONTEND, 80, ALLOWED),
        ({"fromEntities": ["cluster"]}, WORLD, 80, DEFAULT),
        ({"fromEntities": ["cluster"]}, Remote(HEALTH), 80, ALLOWED),
        ({"fromEntities": ["all"]}, WORLD, 80, ALLOWED),
        ({"fromEntities": ["none"]}, WORLD, 80, DEFAULT),
        ({"fromEntities": ["remote-node"]}, Remote(REMOTE_NODE), 80, ALLOWED),
        ({"fromEntities": ["kube-apiserver"]}, Remote(KUBE_APISERVER), 80, ALLOWED),
        ({"fromEntities": ["kube-apiserver"]}, Remote(REMOTE_NODE), 80, DEFAULT),
        ({"toPorts": ports("http")}, WORLD, 8080, ALLOWED),
        ({"toPorts": ports("HTTP")}, WORLD, 8080, ALLOWED),
        ({"toPorts": ports("grpc")}, WORLD, 8080, DEFAULT),
        ({"toPorts": ports("http/UDP")}, WORLD, 8080, DEFAULT),
        ({"toPorts": ports("010")}, WORLD, 8, ALLOWED),
    ],
)
def test_ingress(element: dict[str, Any], source: Remote, port: int, verdict: Verdict) -> None:
    spec = {"containers": [{"ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}]}
    target = Remote(API.identity, API.address, named_ports=named_ports({"spec": spec}))
    decision = tcp(build({"ingress": [element]}), source, target, port)
    assert decision.verdict is verdict
    assert decision.direction == (None if verdict is ALLOWED else "INGRESS")


@pytest.mark.parametrize(
    ("element", "destination", "verdict"),
    [
        ({}, NEAR, DEFAULT),
        ({}, NODE, DEFAULT),
        ({"toEndpoints": [{}]}, NEAR, ALLOWED),
        ({"toFQDNs": [{"matchName": "api.github.com"}]}, outside("198.18.0.2", "api.github.com"), ALLOWED),
        ({"toFQDNs": [{"matchName": "api.github.com"}]}, outside("198.18.0.2"), DEFAULT),
        ({"toFQDNs": [{"matchPattern": "*.github.com"}]}, outside("198.18.0.2", "API.github.com."), ALLOWED),
        ({"toFQDNs": [{"matchPattern": "*.github.com"}]}, outside("198.18.0.2", "evil.com"), DEFAULT),
        ({"toFQDNs": [{"matchPattern": "*"}]}, Remote(FRONTEND.identity, names=frozenset({"web.frontend"})), DEFAULT),
        ({"toServices": [{"k8sService": {"serviceName": "web", "namespace": "frontend"}}]}, FRONTEND, ALLOWED),
        ({"toServices": [{"k8sService": {"serviceName": "web", "namespace": "frontend"}}]}, NEAR, DEFAULT),
        ({"toServices": [{"k8sService": {"serviceName": "far", "namespace": "frontend"}}]}, WORLD, ALLOWED),
        ({"toServices": [{"k8sService": {"serviceName": "none", "namespace": "frontend"}}]}, FRONTEND, DEFAULT),
        ({"toServices": [{"k8sServiceSelector": {"selector": {"matchLabels": {"kind": "x"}}}}]}, FRONTEND, ALLOWED),
        ({"toServices": [{"k8sServiceSelector": {"selector": {"matchLabels": {"kind": "y"}}}}]}, FRONTEND, DEFAULT),
    ],
)
def test_egress(element: dict[str, Any], destination: Remote, verdict: Verdict) -> None:
    services = {
        ("frontend", "web"): ServiceTarget({"app": "web"}, {"kind": "x"}),
        ("frontend", "far"): ServiceTarget(addresses=frozenset({address("198.18.0.1")})),
    }
    decision = tcp(build({"egress": [element]}, services=services), API, destination, 443)
    assert decision.verdict is verdict
    assert decision.direction == (None if verdict is ALLOWED else "EGRESS")


@pytest.mark.parametrize(
    ("specs", "ingress", "enforcement"),
    [
        ([], ALLOWED, "none"),
        ([{"egress": [{}]}], ALLOWED, "egress"),
        ([{"ingress": [{}]}], DEFAULT, "ingress"),
        ([{"ingress": [{}], "egress": [{}]}], DEFAULT, "both"),
        ([{"ingress": [{}], "enableDefaultDeny": {"ingress": False}}], ALLOWED, "ingress"),
        ([{"ingress": [{}], "enableDefaultDeny": {"egress": False}}], DEFAULT, "ingress"),
        ([{"ingress": [{}], "enableDefaultDeny": {"ingress": False}}, {"ingress": [{}]}], DEFAULT, "ingress"),
        ([{"ingressDeny": [{"fromEntities": ["world"]}]}], DEFAULT, "ingress"),
        (
            [{"ingressDeny": [{"fromEntities": ["world"]}], "enableDefaultDeny": {"ingress": False}}],
            ALLOWED,
            "ingress",
        ),
        ([{"ingress": [{"fromEntities": ["all"]}]}, {"ingressDeny": [{"fromEndpoints": [{}]}]}], RULE, "ingress"),
        ([{"ingress": [{"fromEntities": ["all"]}]}, {"ingressDeny": [{"toPorts": ports("80")}]}], RULE, "ingress"),
        ([{"ingress": [{"fromEntities": ["all"]}]}, {"ingressDeny": [{"toPorts": ports("81")}]}], ALLOWED, "ingress"),
        ([{"ingress": [{"fromEntities": ["all"]}]}, {"ingressDeny": [{}]}], ALLOWED, "ingress"),
    ],
)
def test_default_deny_and_deny_rules(specs: list[dict[str, Any]], ingress: Verdict, enforcement: str) -> None:
    policies = build(*specs)
    assert policies.for_endpoint(API.identity.labels).enforcement == enforcement
    assert tcp(policies, FRONTEND if "egress" in repr(specs[:1]) else NEAR, API, 80).verdict is ingress


def test_both_ends_are_asked_the_source_first() -> None:
    deny_out = cnp({"endpointSelector": {}, "egress": [{}]}, "frontend", "out")
    deny_in = cnp({"endpointSelector": {}, "ingress": [{}]}, "backend", "in")
    assert _by(tcp(Policies.build([deny_out, deny_in]), FRONTEND, API, 80)) == ("EGRESS", ["frontend/out"])
    assert _by(tcp(Policies.build([deny_in]), FRONTEND, API, 80)) == ("INGRESS", ["backend/in"])


def _by(decision: Decision) -> tuple[str | None, list[str]]:
    return decision.direction, [str(ref) for ref in decision.by]


GET_ROOT = {"http": [{"method": "GET", "path": "/"}]}
GET_API = {"http": [{"method": "GET", "path": "/api"}]}


def test_application_rules_add_up() -> None:
    near: dict[str, Any] = {"fromEndpoints": [{}]}
    policies = build(
        {"ingress": [{**near, "toPorts": ports("80/TCP", rules=GET_ROOT)}]},
        {"ingress": [{**near, "toPorts": ports("80/TCP", rules=GET_API)}]},
    )
    assert [http(policies, NEAR, API, 80, f"GET {path}").status for path in ("/", "/api", "/admin")] == [
        None,
        None,
        403,
    ]
    connection = tcp(policies, NEAR, API, 80)
    assert (connection.verdict, connection.proxied) == (ALLOWED, True), "the proxy accepts every connection"
    assert [str(ref) for ref in connection.by] == ["backend/p0", "backend/p1"]
    assert http(policies, FRONTEND, API, 80, "GET /").verdict is DEFAULT


@pytest.mark.parametrize(
    "other",
    [
        {"fromEndpoints": [{}], "toPorts": ports("80")},
        {"fromEndpoints": [{}]},
        {"toPorts": ports("80")},
        {"fromEntities": ["cluster"]},
        {"fromEndpoints": [{}], "toPorts": ports("80/TCP", rules={"http": []})},
        {"fromEndpoints": [{}], "toPorts": ports("80/TCP", rules={"http": [{}]})},
    ],
)
def test_one_entry_without_application_rules_voids_the_others(other: dict[str, Any]) -> None:
    limited = {"ingress": [{"fromEndpoints": [{}], "toPorts": ports("80/TCP", rules=GET_ROOT)}]}
    decision = http(build(limited, {"ingress": [other]}), NEAR, API, 80, "DELETE /admin")
    assert (decision.allowed, decision.proxied) == (True, True)


def test_rules_without_default_deny_only_watch() -> None:
    watched = {"ingress": [{"toPorts": ports("80/TCP", rules=GET_ROOT)}], "enableDefaultDeny": {"ingress": False}}
    decision = http(build(watched), NEAR, API, 80, "DELETE /admin")
    assert (decision.allowed, decision.proxied) == (True, True)
    assert http(build(watched, {"ingress": [{}]}), NEAR, API, 80, "DELETE /admin").status == 403


def test_deny_wins_over_application_rules() -> None:
    policies = build(
        {"ingress": [{"toPorts": ports("80/TCP", rules=GET_ROOT)}]}, {"ingressDeny": [{"fromEndpoints": [{}]}]}
    )
    assert http(policies, NEAR, API, 80, "GET /").verdict is RULE
    assert http(policies, FRONTEND, API, 80, "GET /").allowed


def test_lookups() -> None:
    resolver = pod("kube-system", "coredns", labels={"k8s-app": "kube-dns"})
    peers = [{"matchLabels": {"k8s-app": "kube-dns", "io.kubernetes.pod.namespace": "kube-system"}}]
    rules = {"dns": [{"matchName": "api.github.com"}, {"matchPattern": "*.svc.cluster.local"}]}
    policies = build({"egress": [{"toEndpoints": peers, "toPorts": ports("53/ANY", rules=rules)}]})
    found = [dns(policies, API, resolver, name).verdict for name in ("API.github.com.", "evil.com")]
    assert found == [ALLOWED, Verdict.DENIED_DNS]
    assert policies.decide(Flow(API, resolver, "TCP", 53)).proxied
    assert policies.decide(Flow(API, resolver, "UDP", 54, dns="api.github.com")).verdict is DEFAULT


def test_icmp() -> None:
    ping = build({"ingress": [{"fromEndpoints": [{}], "icmps": [{"fields": [{"type": "EchoRequest"}]}]}]})
    assert ping.decide(Flow(NEAR, API, "ICMP", 8)).allowed
    assert not ping.decide(Flow(NEAR, API, "ICMP", 13)).allowed
    assert not ping.decide(Flow(NEAR, API, "ICMPV6", 8)).allowed
    assert not tcp(ping, NEAR, API, 8).allowed
    every_port = build({"ingress": [{"fromEndpoints": [{}], "toPorts": ports("0/ANY")}]})
    assert not every_port.decide(Flow(NEAR, API, "ICMP", 8)).allowed, "ports are no ICMP"
    every_protocol = build({"ingress": [{"fromEndpoints": [{}]}]})
    assert every_protocol.decide(Flow(NEAR, API, "ICMP", 8)).allowed


def test_named_ports_on_egress_are_the_destinations() -> None:
    target = Remote(FRONTEND.identity, named_ports={("http", "TCP"): 8080})
    policies = build({"egress": [{"toEndpoints": OF_FRONTEND, "toPorts": ports("http/TCP")}]})
    assert tcp(policies, API, target, 8080).allowed
    assert not tcp(policies, API, target, 80).allowed
    assert not tcp(policies, API, FRONTEND, 8080).allowed


def test_clusterwide_policies() -> None:
    policies = Policies.build(
        [ccnp({"endpointSelector": {"matchLabels": {"app": "api"}}, "ingress": [{"fromEndpoints": [{}]}]})]
    )
    assert tcp(policies, FRONTEND, API, 80).allowed
    assert not tcp(policies, WORLD, API, 80).allowed
    assert not tcp(policies, Remote(HEALTH), API, 80).allowed
    assert tcp(policies, WORLD, pod("frontend", "api"), 80).verdict is DEFAULT
    assert tcp(policies, WORLD, NEAR, 80).allowed


def test_enforcement_modes_and_special_subjects() -> None:
    deny: dict[str, Any] = {"ingress": [{}], "egress": [{}]}
    assert tcp(build(deny, mode="never"), NEAR, API, 80).allowed
    assert tcp(build(mode="always"), NEAR, API, 80).verdict is DEFAULT
    assert tcp(build(mode="always"), NODE, API, 80).allowed
    assert build().for_endpoint(INIT.labels).enforcement == "both"
    everybody = ccnp({"endpointSelector": {}, "ingress": [{}]})
    assert Policies.build([everybody]).for_endpoint(NODE.identity.labels).enforcement == "none"
    assert Policies.build([ccnp({"nodeSelector": {}, "ingress": [{}]})]).rules == ()


def test_one_bad_rule_refuses_its_whole_policy() -> None:
    obj = cnp({"endpointSelector": {}, "ingress": [{}]}) | {"specs": [{"endpointSelector": {}, "ingress": []}]}
    policies = Policies.build([obj])
    assert (policies.rules, len(policies.refused)) == ((), 1)
    assert tcp(policies, NEAR, API, 80).allowed


def test_entries_say_whom_they_mean_and_who_says_so() -> None:
    policy = build({"ingress": [{"fromEndpoints": [{}], "toPorts": ports("80")}], "log": {"value": "drill"}})
    first, *_, last = policy.for_endpoint(API.identity.labels).ingress.allow
    assert isinstance(first.peer, EndpointSelectorPeer)
    assert str(first.peer) == "endpoints k8s:io.kubernetes.pod.namespace=backend"
    assert (str(first.port), str(first.origin), first.log, first.match_type) == ("80/TCP", "backend/p0", "drill", 2)
    assert (str(last.origin), last.match_type) == ("allow-localhost-ingress", 1)


elements = st.fixed_dictionaries(
    {},
    optional={
        "fromEndpoints": st.sampled_from([[], [{}], OF_FRONTEND, [{"matchLabels": {"app": "near"}}]]),
        "toPorts": st.sampled_from([ports("80"), ports("80/TCP", rules=GET_ROOT), ports("0/TCP"), ports("8080-8090")]),
    },
)
rules = st.fixed_dictionaries(
    {"ingress": st.lists(elements, min_size=1, max_size=2)},
    optional={"enableDefaultDeny": st.fixed_dictionaries({"ingress": st.booleans()})},
)
deny_elements = st.sampled_from([{"fromEndpoints": [{}]}, {"fromEntities": ["world"]}, {"toPorts": ports("80")}])
flows = st.tuples(
    st.sampled_from([NEAR, FRONTEND, WORLD, NODE]), st.sampled_from([80, 8080, 22]), st.sampled_from("/x")
)


def verdict(policies: Policies, flow: tuple[Remote, int, str]) -> Verdict:
    source, port, path = flow
    return http(policies, source, API, port, f"GET {'/' if path == '/' else '/x'}").verdict


@few
@given(st.lists(rules, max_size=3), flows)
def test_the_order_of_policies_does_not_matter(specs: list[dict[str, Any]], flow: tuple[Remote, int, str]) -> None:
    assert verdict(build(*specs), flow) is verdict(build(*reversed(specs)), flow)


@few
@given(st.lists(rules, min_size=1, max_size=2), elements, flows)
def test_one_more_allow_never_denies_more(
    specs: list[dict[str, Any]], more: dict[str, Any], flow: tuple[Remote, int, str]
) -> None:
    """Where default deny is on already."""
    before = [*specs, {"ingress": [{}]}]
    if verdict(build(*before), flow) is ALLOWED:
        assert verdict(build(*before, {"ingress": [more]}), flow) is ALLOWED


@few
@given(st.lists(rules, max_size=2), deny_elements, flows)
def test_a_deny_rule_denies_whatever_else_is_allowed(
    specs: list[dict[str, Any]], deny: dict[str, Any], flow: tuple[Remote, int, str]
) -> None:
    alone = build({"ingress": [{"fromEntities": ["all"]}], "ingressDeny": [deny]})
    if verdict(alone, flow) is RULE:
        assert verdict(build(*specs, {"ingressDeny": [deny]}), flow) is RULE


@few
@given(st.lists(rules, max_size=3), st.sampled_from([80, 8080, 22]))
def test_the_local_host_is_never_dropped(specs: list[dict[str, Any]], port: int) -> None:
    assert tcp(build(*specs), NODE, API, port).allowed


@few
@given(st.lists(rules.filter(lambda rule: "enableDefaultDeny" in rule), max_size=3), flows)
def test_without_default_deny_nothing_is_denied(specs: list[dict[str, Any]], flow: tuple[Remote, int, str]) -> None:
    off = [spec | {"enableDefaultDeny": {"ingress": False}} for spec in specs]
    assert verdict(build(*off), flow) is ALLOWED


def test_the_world_and_the_nodes_are_no_endpoints_whatever_a_policy_selects() -> None:
    everything = {"matchExpressions": [{"key": "io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["x"]}]}
    policies = Policies.build([ccnp({"endpointSelector": everything, "ingress": [{}]})])
    assert tcp(policies, API, outside(), 443).allowed
    assert tcp(policies, API, NODE, 6443).allowed
    assert not tcp(policies, NEAR, API, 80).allowed
