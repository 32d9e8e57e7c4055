"""Programs as nftables transactions and as Envoy's routes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from drills.cilium.l7 import DnsRule, HeaderRule, HttpRule
from drills.lab.agent import envoy_config, nftables
from drills.lab.agent.program import (
    EVERYBODY,
    Direction,
    DnsMatch,
    Endpoint,
    HttpMatch,
    Match,
    NodeProgram,
    Peers,
    Ports,
)
from drills.lab.agent.transition import bridging

HERE = IPv4Address("10.244.1.12")
CLIENT = Peers((IPv4Network("10.244.1.10/32"),))
WEB = Ports("tcp", 80, 80)


OPEN = Direction()


def program(ingress: Direction = OPEN, egress: Direction = OPEN) -> NodeProgram:
    return NodeProgram((Endpoint(HERE, "lxc1-12", ingress, egress),), (HERE,))


def chain(found: NodeProgram, name: str) -> list[str]:
    start = f"add rule ip cilium {name} "
    return [line.removeprefix(start) for line in nftables.script(found).splitlines() if line.startswith(start)]


@pytest.mark.parametrize(
    ("match", "condition"),
    [
        (Match(EVERYBODY), ""),
        (Match(CLIENT), "ip saddr { 10.244.1.10/32 }"),
        (Match(CLIENT, WEB), "ip saddr { 10.244.1.10/32 } tcp dport 80"),
        (Match(EVERYBODY, Ports("udp", 10, 20)), "udp dport 10-20"),
        (Match(EVERYBODY, Ports("any", 53, 53)), "meta l4proto { tcp, udp, sctp } th dport 53"),
        (Match(EVERYBODY, Ports("sctp")), "meta l4proto sctp"),
        (Match(EVERYBODY, Ports("igmp")), "meta l4proto 2"),
        (Match(EVERYBODY, Ports("icmp", icmp_type=8)), "icmp type 8"),
        (Match(Peers(outside=True)), "ip saddr != @managed"),
        (
            Match(Peers((IPv4Network("198.18.0.0/16"), IPv4Network("198.19.0.0/16")), outside=True)),
            "ip saddr != @managed ip saddr { 198.18.0.0/15 }",
        ),
        (Match(Peers(outside=True, fqdn="abc")), "ip saddr != @managed ip saddr @fqdn_abc"),
    ],
)
def test_conditions(match: Match, condition: str) -> None:
    assert chain(program(Direction(allow=(match,))), "in_10_244_1_12") == [f"{condition} return".strip()]


def test_nobody_gets_no_rule() -> None:
    assert chain(program(Direction(allow=(Match(Peers(())),))), "in_10_244_1_12") == []


def test_deny_comes_first_and_the_drop_last() -> None:
    direction = Direction(
        enforced=True,
        deny=(Match(CLIENT, WEB, 7),),
        allow=(Match(CLIENT),),
        http=(HttpMatch(Match(EVERYBODY, WEB)),),
    )
    assert chain(program(direction), "in_10_244_1_12") == [
        'ip saddr { 10.244.1.10/32 } tcp dport 80 counter name drop_ingress_181 log prefix "ingress 181 7 2" '
        "group 5 snaplen 96 drop",
        "tcp dport 80 meta mark set 0x200 return",
        "ip saddr { 10.244.1.10/32 } return",
        'counter name drop_ingress_133 log prefix "ingress 133" group 5 snaplen 96 drop',
    ]


def test_egress_goes_to_the_proxies_and_is_closed_without_them() -> None:
    direction = Direction(
        enforced=True,
        http=(HttpMatch(Match(CLIENT, WEB)),),
        dns=(DnsMatch(Match(EVERYBODY, Ports("udp", 53, 53)), (DnsRule(pattern="*"),)),),
    )
    assert chain(program(egress=direction), "eg_10_244_1_12") == [
        'ip saddr != 10.244.1.12 counter name drop_egress_132 log prefix "egress 132" group 5 snaplen 96 drop',
        "udp dport 53 meta mark set 0x200 tproxy to 127.0.0.1:15053 accept",
        "ip daddr { 10.244.1.10/32 } tcp dport 80 meta mark set 0x200 tproxy to 127.0.0.1:15002 accept",
        "meta mark and 0xf00 == 0x200 counter name drop_unproxied drop",
        'counter name drop_egress_133 log prefix "egress 133" group 5 snaplen 96 drop',
    ]


def test_only_the_original_direction_is_judged() -> None:
    rules = chain(program(), "prerouting")
    assert rules.index("ct direction reply accept") < rules.index('iifname vmap { "lxc1-12" : jump eg_10_244_1_12 }')


def test_the_node_itself_is_denied_by_deny_rules_alone() -> None:
    denying = program(ingress=Direction(enforced=True, deny=(Match(Peers((IPv4Network("172.18.0.11/32"),)), by=3),)))
    assert chain(denying, "from_host") == ["ip daddr vmap { 10.244.1.12 : goto hd_10_244_1_12 }"]
    (rule,) = chain(denying, "hd_10_244_1_12")
    assert rule.startswith("ip saddr { 172.18.0.11/32 } counter name drop_ingress_181 ")
    assert chain(program(ingress=Direction(enforced=True)), "from_host") == []


def test_a_pod_that_is_not_known_yet_is_closed() -> None:
    assert 'iifname "lxc*" iifname != { "lxc1-12" } drop' in chain(program(), "prerouting")
    assert 'iifname "lxc*" drop' in chain(NodeProgram(), "prerouting")


def test_what_an_earlier_program_left_is_taken_away() -> None:
    old = program(egress=Direction(allow=(Match(Peers(outside=True, fqdn="abc")),)))
    script = nftables.script(NodeProgram(), nftables.names_of(old))
    assert script.splitlines()[-4:] == [
        "delete chain ip cilium eg_10_244_1_12",
        "delete chain ip cilium hd_10_244_1_12",
        "delete chain ip cilium in_10_244_1_12",
        "delete set ip cilium fqdn_abc",
    ]


def test_counters_are_declared_and_never_flushed() -> None:
    script = nftables.script(program())
    assert "add counter ip cilium drop_ingress_133" in script
    assert "reset" not in script
    assert "delete table" not in script


def test_log_prefixes_are_read_back() -> None:
    assert nftables.parse_log_prefix("ingress 181 7 2") == nftables.Dropped("ingress", 181, 7, 2)
    assert nftables.parse_log_prefix("egress 133") == nftables.Dropped("egress", 133)


@pytest.mark.parametrize("foreign", ["", "ingress", "sideways 133", "ingress 133 4", "ingress x"])
def test_foreign_log_prefixes_are_refused(foreign: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        nftables.parse_log_prefix(foreign)


# Envoy


def request(rule: HttpRule) -> object:
    found = program(Direction(http=(HttpMatch(Match(EVERYBODY, WEB), (rule,)),)))
    (policy,) = envoy_config.policies(found, "ingress").values()
    return policy["permissions"][0]["and_rules"]["rules"][2:]


@pytest.mark.parametrize(
    ("rule", "conditions"),
    [
        (HttpRule(), []),
        (HttpRule(path="/a.*"), [{"name": ":path", "string_match": {"safe_regex": {"regex": "/a.*"}}}]),
        (HttpRule(method="GET"), [{"name": ":method", "string_match": {"safe_regex": {"regex": "GET"}}}]),
        (HttpRule(host="x"), [{"name": ":authority", "string_match": {"safe_regex": {"regex": "x"}}}]),
        (HttpRule(headers=(HeaderRule("X-Key"),)), [{"name": "X-Key", "present_match": True}]),
        (HttpRule(headers=(HeaderRule("X-Key", "1"),)), [{"name": "X-Key", "string_match": {"exact": "1"}}]),
        (HttpRule(headers=(HeaderRule("X-Key", "1", enforced=False),)), []),
    ],
)
def test_requests(rule: HttpRule, conditions: list[object]) -> None:
    assert request(rule) == [{"header": condition} for condition in conditions]


def test_all_conditions_of_a_request_must_hold() -> None:
    (found,) = request(HttpRule(method="GET", path="/"))  # type: ignore[misc]
    assert len(found["and_rules"]["rules"]) == 2


def test_a_policy_is_about_its_pod_its_port_and_its_peers() -> None:
    direction = Direction(http=(HttpMatch(Match(CLIENT, Ports("tcp", 80, 90)), (HttpRule(path="/a"), HttpRule())),))
    client = {"address_prefix": "10.244.1.10", "prefix_len": 32}
    here = {"address_prefix": "10.244.1.12", "prefix_len": 32}
    port = {"destination_port_range": {"start": 80, "end": 91}}
    assert envoy_config.policies(program(direction), "ingress") == {
        "10.244.1.12/0": {
            "principals": [{"and_ids": {"ids": [{"direct_remote_ip": client}]}}],
            "permissions": [{"and_rules": {"rules": [{"destination_ip": here}, port]}}],
        }
    }
    assert envoy_config.policies(program(egress=direction), "egress") == {
        "10.244.1.12/0": {
            "principals": [{"direct_remote_ip": here}],
            "permissions": [{"and_rules": {"rules": [{"destination_ip": client}, port]}}],
        }
    }


def test_what_is_allowed_without_rules_passes_envoy_too() -> None:
    direction = Direction(
        allow=(Match(CLIENT), Match(CLIENT, Ports("udp", 53, 53))), http=(HttpMatch(Match(EVERYBODY, WEB)),)
    )
    found = envoy_config.policies(program(direction), "ingress")
    assert list(found) == ["10.244.1.12/0", "10.244.1.12/1"]
    assert envoy_config.policies(program(Direction(allow=(Match(CLIENT),))), "ingress") == {}


def test_a_names_addresses_are_told_to_envoy() -> None:
    match = Match(Peers(outside=True, fqdn="abc"), WEB)
    found = program(egress=Direction(http=(HttpMatch(match),)))
    assert found.fqdn_sets_of_envoy == {"abc"}
    assert envoy_config.policies(found, "egress") == {}, "no address is known yet: nothing passes"
    known = replace(found, named={"abc": (IPv4Address("198.18.0.1"),)})
    (policy,) = envoy_config.policies(known, "egress").values()
    assert "198.18.0.1" in str(policy)


def test_without_rules_envoy_denies_everything() -> None:
    (config,) = envoy_config.routes(NodeProgram(), "ingress", 3)["resources"]
    (host,) = config["virtual_hosts"]
    rules = host["typed_per_filter_config"]["envoy.filters.http.rbac"]["rbac"]["rules"]
    assert rules == {"action": "ALLOW", "policies": {}}


def test_paths_are_normalised_before_they_are_matched() -> None:
    listener = envoy_config.bootstrap("n", "/a", "/d")["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["normalize_path"] is True
    assert manager["merge_slashes"] is True
    assert manager["path_with_escaped_slashes_action"] == "UNESCAPE_AND_REDIRECT"


# Transitions


def test_envoy_keeps_what_the_packet_filter_still_sends_it() -> None:
    old = HttpMatch(Match(CLIENT, WEB), (HttpRule(path="/old"),))
    new = HttpMatch(Match(CLIENT, WEB), (HttpRule(path="/new"),))
    other = HttpMatch(Match(CLIENT, Ports("tcp", 81, 81)), (HttpRule(path="/other"),))
    before = program(Direction(http=(old, other)))
    bridge = bridging(before, program(Direction(http=(new,))))
    assert bridge.endpoints[0].ingress.http == (new, other), "the same port follows the new rules at once"
    assert bridging(before, NodeProgram()).endpoints == ()
