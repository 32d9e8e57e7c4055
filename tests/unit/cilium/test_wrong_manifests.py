"""Policies that look right and are not: what a strict API says, what a lenient one stores, and what that does."""

from __future__ import annotations

import pytest
from cilium_world import CNP, NODE, cnp, dns, http, manifests, outside, pod, tcp

from drills.cilium import policy
from drills.cilium.decide import Policies, Verdict
from drills.cilium.policy import parse
from drills.cilium.sanitize import EMPTY, VALID, validity

UNKNOWN = {
    "backend-policy": [],
    "advanced-l3l4-policy": ["spec.ingress[1].fromServices"],
    "api-security-policy": ["spec.ingress[0].toPorts[0].rules.http[2].action"],
    "grpc-service-policy": ["spec.ingress[0].toPorts[0].rules.grpc"],
    "kafka-security-policy": ["spec.egress[0].toPorts[0].rules.kafka"],
    "default-deny-all": [],
    "frontend-to-backend": ["spec.ingress[0].fromEndpoints[0].namespaceSelector"],
    "backend-to-database": ["spec.ingress[0].fromEndpoints[0].namespaceSelector"],
    "allow-dns": ["spec.egress[0].toEndpoints[0].namespaceSelector"],
    "http-l7-policy": ["spec.ingress[0].toPorts[0].rules.http[2].action"],
    "external-api-policy": ["spec.egress[0].toPorts[0].toFQDNs"],
    "observe-only-policy": ["spec.policyEnforcement"],
    "api-rate-limiting": [],
}
REFUSED_ANYWAY = {
    "grpc-service-policy": "spec.ingress[0].toPorts[0].rules",
    "kafka-security-policy": "spec.egress[0].toPorts[0].rules",
}
INVALID = {"default-deny-all": EMPTY}

FRONTEND = pod("frontend", "frontend")
BACKEND = pod("backend", "backend")


def stored(*names: str) -> Policies:
    """The policies as a lenient API stores them."""
    return Policies.build(policy.prune(CNP, manifests("wrong.yaml")[name]) for name in names)


@pytest.mark.parametrize("name", UNKNOWN)
def test_strict_validation_names_the_unknown_fields(name: str) -> None:
    assert policy.unknown_fields(CNP, manifests("wrong.yaml")[name]) == UNKNOWN[name]


def test_every_wrong_manifest_is_in_the_table() -> None:
    assert set(manifests("wrong.yaml")) == set(UNKNOWN)


@pytest.mark.parametrize("name", UNKNOWN)
def test_the_schema_refuses_only_unknown_protocols_after_pruning(name: str) -> None:
    errors = policy.schema_errors(CNP, manifests("wrong.yaml")[name])
    if name not in REFUSED_ANYWAY:
        assert errors == []
        return
    path = REFUSED_ANYWAY[name]
    assert str(errors[0]) == (
        f'{path}: Invalid value: "": "{path}" must validate one and only one schema (oneOf). Found none valid'
    )


@pytest.mark.parametrize("name", sorted(set(UNKNOWN) - set(REFUSED_ANYWAY)))
def test_cilium_says_whether_it_is_valid(name: str) -> None:
    found = validity(parse(policy.prune(CNP, manifests("wrong.yaml")[name])))
    assert (found.valid, found.message) == (name not in INVALID, INVALID.get(name, VALID))


def test_empty_lists_are_no_default_deny() -> None:
    policies = stored("default-deny-all")
    assert policies.rules == ()
    assert [(str(ref), reason) for ref, reason in policies.refused] == [("frontend/default-deny-all", EMPTY)]
    assert tcp(policies, outside(), FRONTEND, 80).allowed


def test_peers_stay_in_the_policys_own_namespace() -> None:
    """Without a namespace the policy is in ``default``, and so are its peers."""
    policies = stored("backend-policy")
    assert tcp(policies, FRONTEND, BACKEND, 8080).allowed, "it does not select namespace backend"
    here = pod("default", "backend")
    assert tcp(policies, FRONTEND, here, 8080).verdict is Verdict.DENIED_DEFAULT
    assert tcp(policies, pod("default", "frontend"), here, 8080).allowed


@pytest.mark.parametrize(
    ("name", "source", "destination", "port"),
    [
        ("frontend-to-backend", FRONTEND, BACKEND, 8080),
        ("backend-to-database", BACKEND, pod("database", "database"), 5432),
        ("allow-dns", FRONTEND, pod("kube-system", "coredns", labels={"k8s-app": "kube-dns"}), 53),
    ],
)
def test_without_namespace_selector_nobody_is_meant(name: str, source: object, destination: object, port: int) -> None:
    decision = tcp(stored(name), source, destination, port)  # type: ignore[arg-type]
    assert decision.verdict is Verdict.DENIED_DEFAULT
    assert [str(ref) for ref in decision.by] == [f"{manifests('wrong.yaml')[name]['metadata']['namespace']}/{name}"]


def test_a_pruned_deny_is_an_allow() -> None:
    policies = stored("http-l7-policy", "api-security-policy")
    target = pod("backend", "http-api")
    assert http(policies, FRONTEND, target, 80, "DELETE /admin/config").allowed
    assert http(policies, FRONTEND, target, 80, "GET /admin").status == 403
    caller, api = pod("frontend", "web-frontend"), pod("backend", "api-server")
    assert http(policies, caller, api, 8080, "GET /api/v1/admin/users").allowed


def test_header_values_are_literal() -> None:
    policies = stored("api-security-policy", "api-rate-limiting")
    api = pod("backend", "api-server")
    caller = pod("frontend", "web-frontend")
    json, token = {"Content_Type": "application/json"}, {"Authorization": "Bearer abc"}
    assert http(policies, caller, api, 8080, "POST /api/v1/users", **json, **token).status == 403
    assert http(policies, caller, api, 8080, "POST /api/v1/users", **json, Authorization="Bearer .*").allowed
    assert http(policies, FRONTEND, api, 8080, "GET /api/v1/users", X_RateLimit_Key="me").status == 403


def test_ports_without_names_are_open_to_every_host() -> None:
    decision = tcp(stored("external-api-policy"), BACKEND, outside("198.18.0.9", "malicious-site.com"), 443)
    assert decision.allowed


def test_observe_only_enforces() -> None:
    policies = stored("observe-only-policy")
    assert tcp(policies, FRONTEND, pod("production", "production-app"), 80).verdict is Verdict.DENIED_DEFAULT


def test_the_mixed_bag() -> None:
    """A block never means pods, ``cluster`` means every pod, ports alone mean the world, names need lookups."""
    policies = stored("advanced-l3l4-policy")
    target = pod("backend", "any", labels={"tier": "backend"})
    assert tcp(policies, FRONTEND, target, 22).allowed
    assert tcp(policies, outside("10.1.2.3"), target, 8080).allowed
    assert not tcp(policies, outside("11.1.2.3"), target, 8080).allowed
    assert tcp(policies, target, outside("198.18.0.9"), 3005).allowed
    assert tcp(policies, target, outside("198.18.0.9"), 443).verdict is Verdict.DENIED_DEFAULT
    assert tcp(policies, NODE, target, 22).allowed


@pytest.mark.parametrize("name", manifests("corrected.yaml"))
def test_corrected_policies_are_accepted_by_all(name: str) -> None:
    obj = manifests("corrected.yaml")[name]
    assert policy.unknown_fields(CNP, obj) == []
    assert policy.schema_errors(CNP, obj) == []
    assert policy.prune(CNP, obj) == obj
    assert validity(parse(obj)).message == VALID


def test_corrected_policies_do_what_they_say() -> None:
    policies = Policies.build(manifests("corrected.yaml").values())
    target = pod("backend", "http-api")
    caller = pod("frontend", "web-frontend")
    assert policies.for_endpoint(caller.identity.labels).enforcement == "both"
    assert tcp(policies, caller, target, 80).verdict is Verdict.DENIED_DEFAULT
    assert tcp(policies, BACKEND, outside("198.18.0.9", "api.github.com"), 443).allowed
    assert not tcp(policies, BACKEND, outside("198.18.0.9", "malicious-site.com"), 443).allowed
    resolver = pod("kube-system", "coredns", labels={"k8s-app": "kube-dns"})
    assert dns(policies, BACKEND, resolver, "malicious-site.com").proxied
    assert tcp(policies, BACKEND, pod("database", "database"), 5432).allowed
    assert not tcp(policies, BACKEND, pod("database", "database"), 22).allowed


@pytest.mark.parametrize(
    ("request_", "headers", "status"),
    [
        ("GET /", {}, None),
        ("POST /", {}, 403),
        ("GET /api/users", {"X_API_Version": "v1"}, None),
        ("GET /api/users", {"x_api_version": "v1"}, None),
        ("GET /api/users", {}, 403),
        ("GET /admin/config", {}, 403),
        ("GET /?debug=1", {}, 403),
    ],
)
def test_the_corrected_http_policy(request_: str, headers: dict[str, str], status: int | None) -> None:
    policies = Policies.build([manifests("corrected.yaml")["http-l7-policy"]])
    decision = http(policies, FRONTEND, pod("backend", "http-api"), 80, request_, **headers)
    assert (decision.status, decision.allowed, decision.proxied) == (status, status is None, True)


def test_observing_lets_everything_pass() -> None:
    policies = Policies.build([manifests("corrected.yaml")["observe-only-policy"]])
    target = pod("production", "production-app")
    assert tcp(policies, FRONTEND, target, 80).allowed
    assert policies.for_endpoint(target.identity.labels).enforcement == "ingress"


def test_audit_is_no_field() -> None:
    assert policy.unknown_fields(CNP, cnp({"endpointSelector": {}, "ingress": [{}], "policyAuditMode": True})) == [
        "spec.policyAuditMode"
    ]
