"""Which rule of which binding allows what, as Kubernetes' RBAC authorizer decides."""

from __future__ import annotations

from typing import Any

import pytest

from drills.lab.api.authorization import Attributes, Authorizer, User
from drills.lab.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, ROLEBINDINGS, ROLES, by_kind
from drills.lab.api.store import Store

ROBOT = User("system:serviceaccount:drills:robot", ("system:serviceaccounts", "system:serviceaccounts:drills"))
GROUP = "rbac.authorization.k8s.io"


def rule(resources: str, verbs: str, group: str = "", names: tuple[str, ...] = ()) -> dict[str, Any]:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split(), **named}


def made(store: Store, kind: str, name: str, namespace: str | None = None, **rest: Any) -> None:
    resource = by_kind(f"{GROUP}/v1", kind)
    assert resource is not None
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    store.create(resource, {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, **rest})


def binding(role: str, called: str, **subject: str) -> dict[str, Any]:
    named = {"kind": "ServiceAccount", "name": "robot", "namespace": "drills"} | subject
    return {"subjects": [named], "roleRef": {"apiGroup": GROUP, "kind": role, "name": called}}


@pytest.fixture
def store() -> Store:
    """A Role in frontend for pods and one Secret, a ClusterRole for policies."""
    store = Store()
    for name in ("frontend", "backend"):
        store.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    rules = [rule("pods", "get list"), rule("secrets", "get", names=("app",)), rule("pods/exec", "get create")]
    made(store, "Role", "robot", "frontend", rules=rules)
    made(store, "RoleBinding", "robot", "frontend", **binding("Role", "robot"))
    made(store, "ClusterRole", "robot", rules=[rule("ciliumnetworkpolicies", "list", "cilium.io")])
    made(store, "ClusterRoleBinding", "robot", **binding("ClusterRole", "robot"))
    return store


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        (Attributes("get", "", "pods", namespace="frontend", name="any"), True),
        (Attributes("list", "", "pods", namespace="frontend"), True),
        (Attributes("list", "", "pods", namespace="backend"), False),
        (Attributes("list", "", "pods"), False),
        (Attributes("delete", "", "pods", namespace="frontend", name="any"), False),
        (Attributes("get", "", "pods", "exec", "frontend", "any"), True),
        (Attributes("get", "", "pods", "log", "frontend", "any"), False),
        (Attributes("get", "", "secrets", namespace="frontend", name="app"), True),
        (Attributes("get", "", "secrets", namespace="frontend", name="other"), False),
        (Attributes("list", "", "secrets", namespace="frontend"), False),
        (Attributes("list", "cilium.io", "ciliumnetworkpolicies"), True),
        (Attributes("list", "cilium.io", "ciliumnetworkpolicies", namespace="backend"), True),
        (Attributes("list", "", "ciliumnetworkpolicies"), False),
    ],
)
def test_a_rule_allows_its_verbs_on_its_resources_in_its_namespace(
    store: Store, asked: Attributes, allowed: bool
) -> None:
    assert Authorizer(store).allows(ROBOT, asked) is allowed


def test_other_users_have_none_of_it(store: Store) -> None:
    asked = Attributes("list", "", "pods", namespace="frontend")
    assert not Authorizer(store).allows(User("system:serviceaccount:frontend:robot", ()), asked)
    assert Authorizer(store).allows(User("kubernetes-admin", ("system:masters",)), asked)


def test_a_group_and_a_clusterrole_bound_in_one_namespace(store: Store) -> None:
    subject = {"kind": "Group", "name": "system:serviceaccounts:drills"}
    made(store, "RoleBinding", "group", "backend", **binding("ClusterRole", "cluster-admin", **subject))
    assert Authorizer(store).allows(ROBOT, Attributes("delete", "", "secrets", namespace="backend", name="x"))
    assert not Authorizer(store).allows(ROBOT, Attributes("delete", "", "secrets", namespace="database", name="x"))


@pytest.mark.parametrize("resource", [ROLES, ROLEBINDINGS])
def test_what_is_taken_away_is_gone(store: Store, resource: Any) -> None:
    store.delete(resource, "frontend", "robot")
    assert not Authorizer(store).allows(ROBOT, Attributes("list", "", "pods", namespace="frontend"))


@pytest.mark.parametrize("resource", [CLUSTERROLES, CLUSTERROLEBINDINGS])
def test_what_is_taken_away_cluster_wide_is_gone(store: Store, resource: Any) -> None:
    store.delete(resource, None, "robot")
    assert not Authorizer(store).allows(ROBOT, Attributes("list", "cilium.io", "ciliumnetworkpolicies"))
