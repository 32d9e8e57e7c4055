"""DNS messages as the cluster's DNS answers them."""

from __future__ import annotations

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from drills.lab.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from drills.lab.api.store import Store
from drills.lab.dns import Dns


def meta(name: str, namespace: str | None = None, **labels: str) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "labels": {key.replace("__", "/"): value for key, value in labels.items()}}
    return found | ({"namespace": namespace} if namespace else {})


@pytest.fixture
def server() -> Dns:
    store = Store()
    store.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta("backend")})
    for name, spec in {
        "http-api": {"clusterIP": "10.96.0.20"},
        "big": {"clusterIP": "None"},
        "early": {"clusterIP": "None", "publishNotReadyAddresses": True},
    }.items():
        store.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, "backend"), "spec": spec})
    for name in ("big", "early"):
        labels = {"kubernetes.io/service-name": name}
        endpoints = [{"addresses": [f"10.244.1.{n}"], "conditions": {"ready": n != 10}} for n in range(10, 110)]
        store.create(
            ENDPOINTSLICES,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "namespace": "backend", "labels": labels},
                "endpoints": endpoints if name == "big" else endpoints[:1],
            },
        )
    return Dns(store)


def ask(server: Dns, name: str, kind: str = "A", *, limit: int | None = None) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=False)
    wire = server.answer(query.to_wire(), limit=limit)
    assert wire is not None
    response = dns.message.from_wire(wire)
    assert query.is_response(response)
    return response


def addresses(response: dns.message.Message) -> list[str]:
    return [record.address for rrset in response.answer for record in rrset if rrset.rdtype == dns.rdatatype.A]


def test_a_service(server: Dns) -> None:
    response = ask(server, "http-api.backend.svc.cluster.local.")
    assert addresses(response) == ["10.96.0.20"]
    assert response.flags & dns.flags.RA


def test_ipv6_of_a_name_that_exists_is_no_error(server: Dns) -> None:
    response = ask(server, "http-api.backend.svc.cluster.local.", "AAAA")
    assert (response.rcode(), response.answer, len(response.authority)) == (dns.rcode.NOERROR, [], 1)


def test_a_name_that_does_not_exist(server: Dns) -> None:
    response = ask(server, "nothing.backend.svc.cluster.local.")
    assert (response.rcode(), len(response.authority)) == (dns.rcode.NXDOMAIN, 1)


def test_headless_services_name_their_ready_pods(server: Dns) -> None:
    found = addresses(ask(server, "big.backend.svc.cluster.local."))
    assert len(found) == 99
    assert "10.244.1.10" not in found
    assert addresses(ask(server, "early.backend.svc.cluster.local.")) == ["10.244.1.10"]


def test_an_answer_that_is_too_long_for_udp_is_marked(server: Dns) -> None:
    response = ask(server, "big.backend.svc.cluster.local.", limit=512)
    assert response.flags & dns.flags.TC
    assert not response.answer


@pytest.mark.parametrize("wire", [b"", b"\x00" * 12, b"rubbish", b"\xff" * 40])
def test_rubbish_gets_no_answer(server: Dns, wire: bytes) -> None:
    assert server.answer(wire) is None


def test_a_response_gets_no_answer(server: Dns) -> None:
    query = dns.message.make_query("a.com.", "A")
    query.flags |= dns.flags.QR
    assert server.answer(query.to_wire()) is None
