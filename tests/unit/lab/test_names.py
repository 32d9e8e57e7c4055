"""What the lab's names mean."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.lab import plan
from drills.lab.names import Endpoint, OutsideNames, ServiceName, resolve

SERVICES = {
    ("backend", "http-api"): ServiceName(cluster_ip="10.96.0.20"),
    ("database", "database"): ServiceName(endpoints=(Endpoint("10.244.2.11", "database-0"),)),
    ("database", "empty"): ServiceName(),
    ("backend", "partner"): ServiceName(external_name="partner.example.com"),
    ("backend", "loop"): ServiceName(external_name="loop.backend.svc.cluster.local"),
}


class Cluster:
    def has_namespace(self, namespace: str) -> bool:
        return namespace in {"backend", "database", "io"}

    def service(self, namespace: str, name: str) -> ServiceName | None:
        return SERVICES.get((namespace, name))


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("http-api.backend.svc.cluster.local", ["10.96.0.20"]),
        ("HTTP-API.Backend.SVC.cluster.local.", ["10.96.0.20"]),
        ("database.database.svc.cluster.local", ["10.244.2.11"]),
        ("database-0.database.database.svc.cluster.local", ["10.244.2.11"]),
        ("10-244-2-11.database.database.svc.cluster.local", ["10.244.2.11"]),
        ("10-244-1-5.backend.pod.cluster.local", ["10.244.1.5"]),
        ("backend.svc.cluster.local", []),
        ("_http._tcp.http-api.backend.svc.cluster.local", []),
    ],
)
def test_cluster_names(name: str, addresses: list[str]) -> None:
    answer = resolve(name, Cluster(), OutsideNames())
    assert (answer.status, list(answer.addresses)) == ("ok", addresses)


@pytest.mark.parametrize(
    "name",
    [
        "nothing.backend.svc.cluster.local",
        "http-api.nowhere.svc.cluster.local",
        "empty.database.svc.cluster.local",  # headless, nothing behind it
        "other.database.database.svc.cluster.local",
        "some.http-api.backend.svc.cluster.local",
        "nowhere.svc.cluster.local",
        "com.cluster.local",
        "http-api.backend",  # left over from the search list: never the outside world
        "http-api.bakend",
        "http-api",
        "malicious-site.invalid",
        "host.local",
        "api.io",  # a namespace of that name is nearer than the domain
        "bad..com",
        "",
    ],
)
def test_names_that_do_not_exist(name: str) -> None:
    assert resolve(name, Cluster(), OutsideNames()).status == "nxdomain"


def test_external_name_leads_outside() -> None:
    outside = OutsideNames()
    answer = resolve("partner.backend.svc.cluster.local", Cluster(), outside)
    assert answer.aliases == ("partner.example.com",)
    assert answer.addresses == (outside.address_of("partner.example.com"),)


def test_a_loop_of_names_ends() -> None:
    assert resolve("loop.backend.svc.cluster.local", Cluster(), OutsideNames()).status == "servfail"


@given(st.lists(st.from_regex(r"[a-z]{1,6}\.(com|org|de)", fullmatch=True), unique=True, max_size=60))
def test_outside_names_have_distinct_addresses_that_stay(names: list[str]) -> None:
    outside = OutsideNames()
    addresses = [outside.address_of(name) for name in names]
    assert len(set(addresses)) == len(names)
    assert addresses == [outside.address_of(name) for name in names]
    assert all(address and IPv4Address(address) in plan.OUTSIDE for address in addresses)
    assert [outside.name_of(address) for address in addresses if address] == names


def test_a_full_table_says_so_and_keeps_what_it_has() -> None:
    outside = OutsideNames(IPv4Network("198.18.0.0/29"), limit=6)
    names = [f"n{index}.com" for index in range(6)]
    assert len({outside.address_of(name) for name in names}) == 6
    assert resolve("one-more.com", Cluster(), outside).status == "servfail"
    assert resolve("n3.com", Cluster(), outside).status == "ok"
