"""The policies of tests/unit/cilium/wrong.yaml: each mistake is found, with what it really does."""

from __future__ import annotations

import pytest
from policy_world import check, documents

from drills.check.finding import Level
from drills.cilium.sanitize import EMPTY

WRONG, CORRECTED = "cilium/wrong.yaml", "cilium/corrected.yaml"
STORED = "kubectl apply refuses the whole policy (strict decoding error)."
NOTHING = "Nothing of it is in force; traffic stays as it was."

# name -> (rule, line of the value or key, what the effect says)
EXPECTED: dict[str, list[tuple[str, str, str]]] = {
    "backend-policy": [
        ("no-namespace", "metadata:", "in `default`: pods app=backend of that namespace"),
        ("no-namespace", "metadata:", "so are its peers (app=frontend and app=database)"),
        ("egress-without-dns", "egress:", "cannot look up a name"),
    ],
    "advanced-l3l4-policy": [
        ("cidr-for-pods", "10.0.0.0/8", "ingress from pods, nodes and the host is not"),
        ("unknown-field", "fromServices", "allows pods tier=backend of namespace backend no ingress; the"),
        ("entity-all", "[cluster, host]", "everything in the cluster, every pod of every namespace on every port"),
        ("fqdn-without-dns-rule", "api.external-service.com", "matches no address: egress to it is dropped"),
        ("fqdn-without-dns-rule", "*.safe-domain.com", "matches no address: egress to it is dropped"),
        ("ports-without-peer", 'port: "3000"', "to every host, the world included on port 3000-3010/TCP"),
    ],
    "api-security-policy": [
        ("l7-deny", "action: deny", "GET /api/v1/admin/.* is ALLOWED from pods app=web-frontend of namespace frontend"),
        ("header-regex", "Bearer .*", "POST /api/v1/users passes only with the header Authorization being `Bearer .*`"),
    ],
    "grpc-service-policy": [
        ("unknown-field", "grpc:", "the API still refuses it (422: spec.ingress[0].toPorts[0].rules"),
        ("unknown-field", "grpc:", NOTHING),
    ],
    "kafka-security-policy": [
        ("removed-l7", "kafka:", "the API still refuses it (422"),
        ("removed-l7", "kafka:", NOTHING),
    ],
    "default-deny-all": [
        ("ingress-empty-list", "ingress: []", "ingress of all pods of namespace frontend stays as open as it was"),
        ("egress-empty-list", "egress: []", "egress of all pods of namespace frontend stays as open as it was"),
    ],
    "frontend-to-backend": [
        ("unknown-field", "namespaceSelector", "ingress from pods app=frontend of namespace backend on port 8080/TCP"),
        ("unknown-field", "namespaceSelector", "all other ingress of theirs is denied"),
    ],
    "backend-to-database": [
        ("unknown-field", "namespaceSelector", "ingress from pods app=backend of namespace database on port 5432/TCP"),
    ],
    "allow-dns": [
        ("unknown-field", "namespaceSelector", "egress to pods k8s-app=kube-dns of namespace frontend on port 53/UDP"),
        ("peer-in-own-namespace", "k8s-app: kube-dns", "those of kube-system are not allowed"),
    ],
    "http-l7-policy": [
        ("l7-deny", "action: deny", "any method on /admin/.* is ALLOWED from pods app=frontend of namespace frontend"),
    ],
    "external-api-policy": [
        ("unknown-field", "toFQDNs", "egress to every host, the world included on port 443/TCP"),
        ("egress-without-dns", "egress:", "cannot look up a name"),
    ],
    "observe-only-policy": [
        ("unknown-field", "policyEnforcement", "fully in force for pods app=production-app of namespace production"),
        ("unknown-field", "policyEnforcement", "ingress is denied by default"),
    ],
    "api-rate-limiting": [("header-regex", "X-RateLimit-Key: .*", "every real request gets 403")],
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_every_mistake_is_found_with_what_it_does(name: str) -> None:
    text = documents(WRONG)[name]
    found = check(text)
    lines = text.splitlines()
    for rule, line, effect in EXPECTED[name]:
        fitting = [each for each in found if each.rule == f"cilium/{rule}" and line in lines[each.place.line - 1]]
        assert any(effect in each.effect for each in fitting), (rule, [each.effect for each in fitting])
    assert {each.rule for each in found} == {f"cilium/{rule}" for rule, _, _ in EXPECTED[name]}


def test_every_wrong_manifest_is_in_the_table() -> None:
    assert set(EXPECTED) == set(documents(WRONG))


@pytest.mark.parametrize("namespace", ["backend", "database"])
@pytest.mark.parametrize("name", ["default-deny-all", "allow-dns"])
def test_the_same_mistake_in_other_namespaces(name: str, namespace: str) -> None:
    found = check(documents(WRONG)[name].replace("namespace: frontend", f"namespace: {namespace}"))
    assert {each.rule for each in found} == {f"cilium/{rule}" for rule, _, _ in EXPECTED[name]}
    assert all(f"namespace {namespace}" in each.effect for each in found)


@pytest.mark.parametrize("name", sorted(set(EXPECTED) - {"backend-policy"}))
def test_what_strict_validation_refuses_is_an_error(name: str) -> None:
    assert any(each.level is Level.ERROR for each in check(documents(WRONG)[name]))


@pytest.mark.parametrize(
    "name", ["http-l7-policy", "frontend-to-backend", "observe-only-policy", "external-api-policy"]
)
def test_both_ways_of_storing_are_told_apart(name: str) -> None:
    assert any(each.effect.startswith(STORED) and "stores it without the field: " in each.effect
               for each in check(documents(WRONG)[name]))  # fmt: skip


def test_empty_lists_are_not_named_twice() -> None:
    found = check(documents(WRONG)["default-deny-all"])
    assert not any(EMPTY in each.message for each in found)


@pytest.mark.parametrize("name", documents(CORRECTED))
def test_the_corrected_policies_have_no_error_and_no_warning(name: str) -> None:
    assert [each for each in check(documents(CORRECTED)[name]) if each.level is not Level.NOTE] == []


def test_all_of_them_together_say_the_same() -> None:
    """Policies of one namespace add up: that must not hide a mistake."""
    together = {each.rule for each in check("\n---\n".join(documents(WRONG).values()))}
    assert together == {f"cilium/{rule}" for found in EXPECTED.values() for rule, _, _ in found}
