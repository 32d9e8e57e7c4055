"""Which drills may not run side by side, and until when the later one waits."""

from __future__ import annotations

import pytest
from drill_texts import drill

from drills.engine.conflicts import Until, between
from drills.engine.effects import Footprint, footprint

RULES = {
    "HttpDenied": ['sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m])) > 10'],
    "DnsDenied": ['sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="fqdn"}[5m])) > 10'],
    "Drops": ['sum(increase(cilium_drop_count_total{reason=~"Policy denied.*"}[5m])) > 10'],
    "Flood": ['sum(rate(cilium_policy_l7_total{rule="received",proxy_type="envoy"}[2m])) > 100'],
    "Path": ['max(cilium_node_health_connectivity_status{type="endpoint",status="unreachable"}) > 0'],
    "Missing": ['absent(cilium_policy_l7_total{rule="denied",proxy_type="envoy"})'],
}
API, DB, PLAIN = "http-api.backend", "database.database", "backend.backend"
Short = tuple[str, str, tuple[str, ...], tuple[str, ...]]


def of(name: str, given: Short) -> Footprint:
    kind, host, alerts, quiet = given
    return footprint(drill(name, kind, host, alerts, quiet), RULES)


def http(*alerts: str, host: str = API, quiet: tuple[str, ...] = ()) -> Short:
    return "http", host, alerts, quiet


def dns(*alerts: str, quiet: tuple[str, ...] = ()) -> Short:
    return "dns", "malicious-site.com", alerts, quiet


def tcp(*alerts: str, host: str = DB) -> Short:
    return "tcp", host, alerts, ()


FAULT: Short = ("wireguard", "k8s-w1", ("Path",), ())
LOAD: Short = ("flood", API, ("Flood",), ())


@pytest.mark.parametrize(
    ("first", "second", "until", "reason"),
    [
        # nothing in common
        (http("HttpDenied"), dns("DnsDenied"), None, ""),
        (http("HttpDenied"), tcp("Drops"), None, ""),
        (dns("DnsDenied"), tcp("Drops"), None, ""),
        (http("HttpDenied", quiet=("Missing",)), dns("DnsDenied", quiet=("Missing",)), None, ""),
        (dns(), http(quiet=("Missing",)), None, ""),
        # a target, a counter
        (http(), http(), Until.ATTACK, "both go to http-api.backend"),
        (tcp(), tcp(), Until.ATTACK, "both go to database.database"),
        (tcp(), tcp(host=PLAIN), Until.ATTACK, "proven by cilium_drop_count_total"),
        (http(), http(host=PLAIN), Until.ATTACK, "proven by cilium_policy_l7_total"),
        # an alert: until the first one's has gone, because the second would move it
        (http("HttpDenied"), http(), Until.END, "second can move cilium_policy_l7_total"),
        (http("HttpDenied"), http("HttpDenied", host=PLAIN), Until.END, "both expect the alert HttpDenied"),
        (http(), http("HttpDenied"), Until.ATTACK, "first can move cilium_policy_l7_total"),
        (http(quiet=("DnsDenied",)), dns(), Until.END, "which DnsDenied of first reads"),
        (http(quiet=("DnsDenied",)), dns("DnsDenied"), Until.END, "which is to stay quiet in first"),
        (dns("DnsDenied"), http(quiet=("DnsDenied",)), Until.END, "which is to stay quiet in second"),
        (http("Unknown"), tcp("Unknown"), Until.END, "both expect the alert Unknown"),
        # load
        (LOAD, http(), Until.END, "which Flood of first reads"),
        (http("HttpDenied"), LOAD, Until.END, "second can move cilium_policy_l7_total"),
        (LOAD, tcp("Drops"), None, ""),
        # a fault runs alone while it lasts; its own control may be denied
        (FAULT, http("HttpDenied"), Until.ATTACK, "first cuts k8s-w1 off"),
        (http("HttpDenied"), FAULT, Until.ATTACK, "second cuts k8s-w1 off"),
        (tcp("Drops"), FAULT, Until.END, "second can move cilium_drop_count_total"),
        (http(quiet=("Path",)), FAULT, Until.END, "which is to stay quiet in first"),
        (FAULT, FAULT, Until.END, "both are faults"),
        (http("HttpDenied"), ("restart", "k8s-w1", (), ()), Until.END, "second can move cilium_policy_l7_total"),
        # what nobody knows
        (("http", API, ("Known",), ()), dns(), Until.END, "second can move app_errors_total"),
    ],
)
def test_conflicts(first: Short, second: Short, until: Until | None, reason: str) -> None:
    more = RULES | {"Known": ["app_errors_total > 1"]}
    one = footprint(drill("first", *first), more)
    other = footprint(drill("second", *second), more)

    found = between(one, other)

    assert (None if found is None else found.until) == until
    assert found is None or any(reason in each for each in found.reasons), found.reasons


@pytest.mark.parametrize("one", [http("HttpDenied"), http(), dns("DnsDenied"), tcp("Drops"), LOAD, FAULT])
@pytest.mark.parametrize("other", [http("HttpDenied"), dns(), tcp("Drops"), LOAD, FAULT])
def test_whether_two_are_in_conflict_does_not_depend_on_which_is_first(one: Short, other: Short) -> None:
    a, b = of("a", one), of("b", other)
    assert (between(a, b) is None) is (between(b, a) is None)
