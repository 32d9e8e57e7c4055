"""What Cilium refuses of policies that the schema accepts."""

from __future__ import annotations

from typing import Any

import pytest
from cilium_world import ccnp, cnp

from drills.cilium import policy
from drills.cilium.policy import parse
from drills.cilium.sanitize import EMPTY, VALID, import_errors, sanitize, validity

HTTP = {"http": [{"path": "/"}]}
DNS = {"dns": [{"matchPattern": "*"}]}
TO_ALL = {"toEntities": ["all"]}


def element(direction: str, **found: Any) -> dict[str, Any]:
    return cnp({"endpointSelector": {}, direction: [found]})


def port_rule(direction: str, port: dict[str, Any], rules: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    rule = {"ports": [port], **more} | ({"rules": rules} if rules else {})
    return element(direction, toPorts=[rule])


def selector(**found: Any) -> dict[str, Any]:
    return cnp({"endpointSelector": found, "ingress": [{}]})


TCP80 = {"port": "80", "protocol": "TCP"}
DNS53 = {"port": "53", "protocol": "ANY"}


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (cnp({"endpointSelector": {}, "ingress": [{}]}), None),
        (cnp({"endpointSelector": {}, "ingress": []}), EMPTY),
        (cnp({"endpointSelector": {}, "ingressDeny": [], "egress": []}), EMPTY),
        (ccnp({"nodeSelector": {}, "ingress": [{}]}), None),
        (
            element("ingress", fromEndpoints=[{}], fromCIDR=["10.0.0.0/8"]),
            "combining FromEndpoints and FromCIDR is not supported yet",
        ),
        (
            element("ingress", fromEndpoints=[{}], fromEntities=["world"]),
            "combining FromEndpoints and FromEntities is not supported yet",
        ),
        (
            element("egress", toFQDNs=[{"matchName": "a.com"}], toEntities=["world"]),
            "combining ToEntities and ToFQDNs is not supported yet",
        ),
        (element("egress", toFQDNs=[{"matchName": "a.com"}], toEntities=[]), None),
        (
            element("ingress", toPorts=[{"ports": [TCP80]}], icmps=[{"fields": [{"type": 8}]}]),
            "the ICMPs block may only be present without ToPorts. Define a separate rule to use ToPorts",
        ),
        (element("ingress", icmps=[{"fields": [{"type": "EchoRequest"}]}]), None),
        (
            element("ingress", icmps=[{"fields": [{"type": "PacketTooBig"}]}]),
            "ICMP type PacketTooBig not found in IPv4",
        ),
        (port_rule("ingress", TCP80, HTTP), None),
        (port_rule("ingress", {"port": "80"}, HTTP), "L7 rules can only apply to TCP (not ANY) except for DNS rules"),
        (
            port_rule("egress", {"port": "80", "protocol": "UDP"}, HTTP),
            "L7 rules can only apply to TCP (not UDP) except for DNS rules",
        ),
        (port_rule("ingress", {"port": "80"}, {"http": []}), None),
        (port_rule("egress", DNS53, DNS), None),
        (port_rule("ingress", DNS53, DNS), "L7 protocol DNS is not supported on ingress yet"),
        (
            port_rule("egress", {"port": "53", "endPort": 54}, DNS),
            "DNS rules do not support port ranges",
        ),
        (
            element("egress", toPorts=[{"rules": DNS}]),
            "port 53 must be specified for DNS rules",
        ),
        (
            port_rule("ingress", {"port": "0", "protocol": "TCP"}, HTTP),
            "L7 rules can not be used when a port is 0",
        ),
        (port_rule("ingress", {"port": "0"}), None),
        (port_rule("ingress", {"protocol": "TCP"}), "port must be specified"),
        (port_rule("ingress", {"port": "http", "protocol": "TCP"}, HTTP), None),
        (
            port_rule("egress", {"port": "6581-6586"}),
            'unable to parse port: strconv.ParseUint: parsing "6581-6586": invalid syntax',
        ),
        (
            port_rule("ingress", {"port": "70000"}),
            'unable to parse port: strconv.ParseUint: parsing "70000": value out of range',
        ),
        (
            port_rule("ingress", TCP80, {"http": [{"path": "/(?!admin)"}]}),
            "error parsing regexp: invalid or unsupported Perl syntax: `(?!`",
        ),
        (
            port_rule("ingress", TCP80, {"http": [{"method": "*"}]}),
            "error parsing regexp: ",
        ),
        (
            port_rule("ingress", TCP80, HTTP, serverNames=["a.com"]),
            "ServerNames are not allowed with L7 rules without TLS termination",
        ),
        (
            ccnp({"nodeSelector": {}, "ingress": [{"toPorts": [{"ports": [TCP80], "rules": HTTP}]}]}),
            "L7 policy is not supported on host ingress yet",
        ),
        (
            element("ingress", fromCIDRSet=[{"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}]),
            "allow CIDR prefix 10.0.0.0/8 does not contain exclude CIDR prefix 192.168.0.0/16",
        ),
        (element("ingress", fromCIDRSet=[{"cidr": "10.0.0.0/8", "except": ["10.96.0.0/12"]}]), None),
        (element("ingress", fromCIDRSet=[{"cidrGroupRef": "office"}]), None),
        (
            element("ingress", fromEndpoints=[{}], authentication={"mode": "required"}),
            "mutual auth feature is disabled but an ingress auth rule is defined in policy",
        ),
        (
            element("ingress", fromNodes=[{}]),
            'FromNodes/ToNodes rules can only be applied when the "enable-node-selector-labels" flag is set',
        ),
        (selector(matchLabels={"k8s:app": "x", "any:tier": "y", "reserved:host": ""}), None),
        (
            selector(matchLabels={"a:b:c": "x"}),
            'invalid label selector: matchLabels: Invalid value: "a:b:c": a valid label key only support '
            "':' character as a source separator with non empty value",
        ),
        (
            selector(matchExpressions=[{"key": "app", "operator": "In"}]),
            "invalid label selector: matchExpressions[0].values: Required value: "
            "must be specified when `operator` is 'In' or 'NotIn'",
        ),
        (
            selector(matchExpressions=[{"key": "app", "operator": "Exists", "values": ["x"]}]),
            "invalid label selector: matchExpressions[0].values: Forbidden: "
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (element("ingressDeny", fromEntities=["world"], toPorts=[{"ports": [TCP80]}]), None),
    ],
)
def test_what_cilium_refuses(obj: dict[str, Any], message: str | None) -> None:
    assert policy.schema_errors(obj["kind"], obj) == [], "the schema lets it in"
    found = sanitize(parse(obj))
    assert found[:1] == [] if message is None else found[0].startswith(message)


def test_each_bad_rule_has_its_message() -> None:
    bad: dict[str, Any] = {"endpointSelector": {}, "ingress": []}
    worse = {"endpointSelector": {}, "ingress": [{"fromEndpoints": [{}], "fromCIDR": ["10.0.0.0/8"]}]}
    obj = {"kind": "CiliumNetworkPolicy", "metadata": {"name": "x"}, "spec": bad, "specs": [worse]}
    assert validity(parse(obj)).message == f"{EMPTY}\ncombining FromEndpoints and FromCIDR is not supported yet"


def test_the_agent_refuses_more_than_the_operator_says() -> None:
    nodes = parse(cnp({"nodeSelector": {}, "ingress": [{}]}))
    nothing = parse({"kind": "CiliumNetworkPolicy", "metadata": {"name": "x"}})
    assert [validity(each).message for each in (nodes, nothing)] == [VALID, VALID]
    assert import_errors(nodes) == ["Invalid CiliumNetworkPolicy spec: rule cannot have NodeSelector"]
    assert import_errors(nothing) == ["Invalid CiliumNetworkPolicy spec(s): empty policy"]
