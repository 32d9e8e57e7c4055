"""Services: who stands behind them, and the rules that lead there."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.resources import ENDPOINTS, ENDPOINTSLICES, NAMESPACES, PODS, SERVICES
from drills.lab.api.store import Store
from drills.lab.api.types import Obj
from drills.lab.controllers import endpoints
from drills.lab.controllers.service_rules import Frontend, frontends, render
from drills.lab.controllers.services import Services, free_address


def pod(name: str, address: str, *, ready: bool = True, going: bool = False, port: int = 8080, **labels: str) -> Obj:
    meta: Obj = {"name": name, "namespace": "n", "uid": name, "labels": labels or {"app": "x"}}
    if going:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": meta,
        "spec": {"nodeName": "k8s-w1", "containers": [{"ports": [{"name": "http", "containerPort": port}]}]},
        "status": {"phase": "Running", "podIP": address, "conditions": [condition]},
    }


def service(**spec: Any) -> Obj:
    return {
        "metadata": {"name": "web", "namespace": "n", "uid": "s"},
        "spec": {"clusterIP": "10.96.0.20", "selector": {"app": "x"}, "ports": [{"name": "w", "port": 80}], **spec},
    }


def ready_addresses(web: Obj, *pods: Obj) -> list[str]:
    found = endpoints.endpoints(web, endpoints.backends(web, pods))
    return [entry["ip"] for subset in found["subsets"] for entry in subset.get("addresses", [])]


def rules(web: Obj, *pods: Obj) -> list[Frontend]:
    return frontends([web], endpoints.slices(web, endpoints.backends(web, pods)))


def test_only_ready_pods_that_match_get_traffic() -> None:
    pods = (
        pod("a", "10.244.2.10"),
        pod("b", "10.244.1.9"),
        pod("c", "10.244.1.11", ready=False),
        pod("d", "10.244.1.12", going=True),
        pod("e", "10.244.1.13", app="y"),
    )
    assert ready_addresses(service(), *pods) == ["10.244.1.9", "10.244.2.10"]
    (rule,) = rules(service(), *pods)
    assert rule.backends == (("10.244.1.9", 80), ("10.244.2.10", 80))
    (subset,) = endpoints.endpoints(service(), endpoints.backends(service(), pods))["subsets"]
    assert [entry["ip"] for entry in subset["notReadyAddresses"]] == ["10.244.1.11"]


def test_not_ready_addresses_can_be_published() -> None:
    waiting = pod("c", "10.244.1.11", ready=False)
    assert ready_addresses(service(publishNotReadyAddresses=True), waiting) == ["10.244.1.11"]


def test_named_target_ports_are_each_pods_own() -> None:
    web = service(ports=[{"name": "w", "port": 80, "targetPort": "http"}])
    (rule,) = rules(web, pod("a", "10.244.1.10", port=8080), pod("b", "10.244.1.11", port=9090))
    assert rule.backends == (("10.244.1.10", 8080), ("10.244.1.11", 9090))


def test_unknown_port_name_leads_nowhere() -> None:
    (rule,) = rules(service(ports=[{"port": 80, "targetPort": "metrics"}]), pod("a", "10.244.1.10"))
    assert rule.backends == ()


def test_endpoints_written_by_hand() -> None:
    web = service(selector=None, ports=[{"port": 443}])
    manual = {"subsets": [{"addresses": [{"ip": "172.18.0.1"}], "ports": [{"port": 6443, "protocol": "TCP"}]}]}
    (rule,) = frontends([web], endpoints.mirrored(web, manual))
    assert rule == Frontend("10.96.0.20", 443, "tcp", (("172.18.0.1", 6443),))


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"type": "ExternalName", "clusterIP": None}])
def test_services_without_an_address_have_no_rules(spec: Obj) -> None:
    assert rules(service(**spec), pod("a", "10.244.1.10")) == []


def test_rules() -> None:
    text = render(
        [
            Frontend("10.96.0.20", 80, "tcp", (("10.244.1.10", 8080), ("10.244.2.10", 8080))),
            Frontend("10.96.0.21", 80, "tcp", ()),
            Frontend("10.96.0.10", 53, "udp", ()),
        ]
    )
    assert (
        "add rule ip services translate ip daddr 10.96.0.20 tcp dport 80 dnat ip to numgen random mod 2 map "
        "{ 0 : 10.244.1.10 . 8080, 1 : 10.244.2.10 . 8080 }\n" in text
    )
    assert "refuse ip daddr 10.96.0.21 tcp dport 80 reject with tcp reset\n" in text
    assert "refuse ip daddr 10.96.0.10 udp dport 53 reject with icmp port-unreachable\n" in text
    assert text.index("flush chain") < text.index("add rule")


def test_free_address_is_free() -> None:
    assert free_address([]) == "10.96.0.16"
    assert free_address([{"spec": {"clusterIP": "10.96.0.16"}}, {"spec": {"clusterIP": "None"}}]) == "10.96.0.17"


def test_controller_settles_and_sweeps() -> None:
    store = Store()
    store.create(NAMESPACES, {"metadata": {"name": "n"}})
    spec = {"selector": {"app": "x"}, "ports": [{"port": 80}]}
    store.create(SERVICES, {"metadata": {"name": "web", "namespace": "n"}, "spec": spec})
    made = pod("a", "10.244.1.10")
    store.create(PODS, made)
    store.set_status(PODS, "n", "a", made["status"])
    controller = Services(store)
    controller.reconcile(("n", "web"))
    assert store.get(SERVICES, "n", "web")["spec"]["clusterIP"].startswith("10.96.")
    assert store.get(ENDPOINTS, "n", "web")["subsets"][0]["addresses"][0]["ip"] == "10.244.1.10"
    assert len(store.list(ENDPOINTSLICES)) == 1
    revision = store.revision
    controller.reconcile(("n", "web"))
    assert store.revision == revision
    store.delete(SERVICES, "n", "web")
    controller.reconcile(("n", "web"))
    assert store.list(ENDPOINTSLICES) == store.list(ENDPOINTS) == []
