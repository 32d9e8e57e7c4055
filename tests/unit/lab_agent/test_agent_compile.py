from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from agent_world import CLUSTER, FRONTEND, TCP_80, WHO, compiled, policy
from hypothesis import given, settings
from hypothesis import strategies as st

from drills.cilium.decide import Policies, Verdict
from drills.cilium.l7 import HttpRule
from drills.cilium.peers import Remote
from drills.lab.agent.cluster import identity_of
from drills.lab.agent.compile import fqdn_set_name
from drills.lab.agent.program import EVERYBODY, Direction, Endpoint, Match, NodeProgram, Peers, Ports

API = IPv4Address("10.244.1.12")
MANAGED = 12  # 4 pods, and of each node its address, its router and its health endpoint; the API server


def ingress_of(*policies: dict[str, Any]) -> Direction:
    return next(e for e in compiled(*policies).program.endpoints if e.address == API).ingress


def egress_of(*policies: dict[str, Any]) -> Direction:
    return next(e for e in compiled(*policies).program.endpoints if e.address == API).egress


def addresses(match: Match) -> list[str]:
    return [str(network.network_address) for network in match.peers.networks or ()]


def test_without_policies_nothing_is_enforced() -> None:
    program = compiled().program
    assert [(e.ingress, e.egress) for e in program.endpoints] == [(Direction(), Direction())] * 3
    assert [e.interface for e in program.endpoints] == ["lxc1-10", "lxc1-11", "lxc1-12"]


def test_a_selector_becomes_the_addresses_of_its_pods() -> None:
    found = ingress_of(policy(ingress=[{"fromEndpoints": [FRONTEND], "toPorts": [TCP_80]}]))
    assert found.enforced
    assert Match(Peers((IPv4Network("10.244.1.10/32"),)), Ports("tcp", 80, 80), 0) in found.allow


def test_the_node_itself_is_always_allowed_in() -> None:
    (host,) = ingress_of(policy(ingress=[{}])).allow
    assert addresses(host) == ["10.244.1.1", "172.18.0.11"]


def test_ports_without_a_peer_mean_everybody() -> None:
    found = ingress_of(policy(ingress=[{"toPorts": [TCP_80]}]))
    assert found.allow[0].peers == EVERYBODY


def test_an_entity_of_the_outside_leaves_the_cluster_out() -> None:
    found = egress_of(policy(egress=[{"toEntities": ["world"]}]))
    assert found.allow[0].peers == Peers(outside=True)
    assert found.allow[0].peers.matches(IPv4Address("198.18.0.1"), frozenset({API}), frozenset())
    assert not found.allow[0].peers.matches(API, frozenset({API}), frozenset())


def test_all_entities_are_everybody() -> None:
    assert egress_of(policy(egress=[{"toEntities": ["all"]}])).allow[0].peers == EVERYBODY


def test_the_cluster_entity_lists_pods_and_nodes() -> None:
    found = egress_of(policy(egress=[{"toEntities": ["cluster"]}])).allow[0].peers
    assert found.networks is not None
    assert not found.outside
    assert len(found.networks) == len(CLUSTER.identities("k8s-w1"))


def test_a_block_of_addresses_loses_its_exceptions_and_the_cluster() -> None:
    cidrs = [{"cidr": "10.0.0.0/8", "except": ["10.128.0.0/9"]}]
    found = egress_of(policy(egress=[{"toCIDRSet": cidrs}])).allow[0].peers
    assert found == Peers((IPv4Network("10.0.0.0/9"),), outside=True)


def test_an_exception_that_covers_the_block_leaves_nobody() -> None:
    found = egress_of(policy(egress=[{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]}])).allow[0]
    assert found.peers.nobody


@pytest.mark.parametrize(
    ("written", "ports"),
    [
        ({"port": "80", "protocol": "TCP"}, [Ports("tcp", 80, 80)]),
        ({"port": "3000", "endPort": 3010, "protocol": "UDP"}, [Ports("udp", 3000, 3010)]),
        ({"port": "53", "protocol": "ANY"}, [Ports(name, 53, 53) for name in ("tcp", "udp", "sctp")]),
        ({"port": "0", "protocol": "TCP"}, [Ports("tcp")]),
        ({"port": "web", "protocol": "TCP"}, [Ports("tcp", 8080, 8080)]),
        ({"port": "other", "protocol": "TCP"}, []),
    ],
)
def test_ports(written: dict[str, Any], ports: list[Ports]) -> None:
    found = ingress_of(policy(ingress=[{"fromEndpoints": [FRONTEND], "toPorts": [{"ports": [written]}]}]))
    assert [match.ports for match in found.allow if addresses(match) == ["10.244.1.10"]] == ports


def test_a_named_port_of_a_destination_is_its_own() -> None:
    element = {"toEntities": ["cluster"], "toPorts": [{"ports": [{"port": "web", "protocol": "TCP"}]}]}
    (match,) = egress_of(policy(egress=[element])).allow
    assert (addresses(match), match.ports) == (["10.244.1.12"], Ports("tcp", 8080, 8080))


def test_icmp_has_a_type_and_none_of_ipv6() -> None:
    fields = [{"type": 8, "family": "IPv4"}, {"type": 128, "family": "IPv6"}]
    found = egress_of(policy(egress=[{"icmps": [{"fields": fields}]}]))
    assert [match.ports for match in found.allow] == [Ports("icmp", icmp_type=8)]


def test_application_rules_stay_apart_from_plain_ones() -> None:
    http = {**TCP_80, "rules": {"http": [{"path": "/x"}]}}
    found = ingress_of(policy(ingress=[{"fromEndpoints": [FRONTEND], "toPorts": [http]}]))
    assert [rule.path for match in found.http for rule in match.rules] == ["/x"]
    assert all(match.ports != Ports("tcp", 80, 80) for match in found.allow)


def test_a_name_gets_a_set_that_both_spellings_share() -> None:
    names = compiled(policy(egress=[{"toFQDNs": [{"matchName": "Example.com"}]}])).fqdns
    assert list(names) == [fqdn_set_name(next(iter(names.values())))]
    assert names.keys() == compiled(policy(egress=[{"toFQDNs": [{"matchName": "example.com"}]}])).fqdns.keys()


def test_deny_rules_are_numbered_by_policy() -> None:
    one = policy(name="one", ingressDeny=[{"fromEntities": ["world"]}])
    two = policy(name="two", ingressDeny=[{"fromEndpoints": [{}]}])
    assert len({match.by for match in ingress_of(one, two).deny}) == 2


# The compiled program and the model decide alike, whatever the policies: one is what the kernel gets.

SELECTORS = st.sampled_from([{}, FRONTEND, {"matchLabels": {"app": "api"}}, {"matchLabels": {"app": "nobody"}}])
PORTS = st.sampled_from(
    [TCP_80, {"ports": [{"port": "80", "protocol": "ANY"}]}, {"ports": [{"port": "70", "endPort": 90}]}]
)
HTTP = st.sampled_from([None, {"http": [{"path": "/a.*"}]}, {"http": [{"method": "GET"}]}])
PEERS = st.one_of(
    st.builds(lambda s: {"fromEndpoints": [s]}, SELECTORS),
    st.builds(lambda e: {"fromEntities": [e]}, st.sampled_from(["all", "world", "cluster", "host", "remote-node"])),
    st.builds(lambda c: {"fromCIDR": [c]}, st.sampled_from(["0.0.0.0/0", "198.18.0.0/15", "10.244.0.0/16"])),
    st.just({}),
)


@st.composite
def elements(draw: st.DrawFn, *, deny: bool) -> dict[str, Any]:
    ports: dict[str, Any] | None = draw(st.none() | PORTS)
    found: dict[str, Any] = dict(draw(PEERS))
    if ports is not None:
        rules = None if deny else draw(HTTP)
        found["toPorts"] = [{**ports, "rules": rules} if rules and ports is TCP_80 else ports]
    return found


@st.composite
def policies(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        policy(
            name=f"p{index}",
            ingress=draw(st.lists(elements(deny=False), min_size=1, max_size=2)),
            ingressDeny=draw(st.lists(elements(deny=True), max_size=1)) or None,
            enableDefaultDeny={"ingress": draw(st.booleans())},
        )
        for index in range(draw(st.integers(0, 2)))
    ]


REMOTES = [*(IPv4Address(who[3]) for who in WHO.values()), *map(IPv4Address, ("172.18.0.11", "172.18.0.12"))]
REMOTES += [IPv4Address("172.18.0.1"), IPv4Address("198.18.3.4"), IPv4Address("10.244.2.99"), IPv4Address("8.8.8.8")]


def verdict(program: NodeProgram, endpoint: Endpoint, remote: IPv4Address, port: int) -> tuple[str, int]:
    """What the packet filter does: the order of the rules in its chains."""
    managed = frozenset(program.managed)

    def hit(match: Match) -> bool:
        return match.ports.matches("tcp", port) and match.peers.matches(remote, managed, frozenset())

    side = endpoint.ingress
    plain = any(hit(match) for match in side.allow)
    rules = {rule for http in side.http if hit(http.match) for rule in http.rules}
    if any(hit(match) for match in side.deny):
        return "deny", 0
    if rules:
        return "http", len(rules | ({HttpRule()} if plain else set()))
    return ("default", 0) if side.enforced and not plain else ("allow", 0)


@settings(max_examples=40, deadline=None, database=None)
@given(policies())
def test_the_packet_filter_decides_as_the_model(written: list[dict[str, Any]]) -> None:
    model = Policies.build(written)
    program = compiled(*written).program
    endpoint = next(e for e in program.endpoints if e.address == API)
    me = CLUSTER.by_address[API]
    lookup = model.for_endpoint(me.identity.labels).ingress.lookup
    words = {Verdict.DENIED_RULE: "deny", Verdict.DENIED_DEFAULT: "default", Verdict.ALLOWED: "allow"}
    for remote in REMOTES:
        for port in (80, 81, 443):
            who = Remote(identity_of(CLUSTER, "k8s-w1", remote), remote)
            expected = lookup(who, "TCP", port, Remote(me.identity, API, named_ports=me.named_ports))
            rules = len(set(expected.http or ()))
            want = ("http", rules) if rules else (words[expected.verdict], 0)
            assert verdict(program, endpoint, remote, port) == want, (remote, port)
