"""What service accounts may do: Roles, ClusterRoles and their bindings, decided as Kubernetes' RBAC authorizer does.

The lab's own user (group system:masters) may do everything. So a run with a service account's token shows whether the
rights it was given are enough. Source: Kubernetes plugin/pkg/auth/authorizer/rbac and
pkg/apis/rbac/v1/evaluation_helpers.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from drills.lab.api.errors import ApiError
from drills.lab.api.paths import Target, flag
from drills.lab.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, NAMESPACES, ROLEBINDINGS, ROLES
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, namespace_of

MASTERS = "system:masters"
ALL: Obj = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_CLUSTER_ADMIN = "cluster-admin"  # every cluster has this ClusterRole


@dataclass(frozen=True, slots=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked: empty where a part does not apply. ``resource`` without its subresource."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def whole(self) -> str:
        """The resource as rules name it: ``pods/exec``."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def attributes_of(request: web.Request, target: Target) -> Attributes:
    """What a request asks for (k8s.io/apiserver/pkg/endpoints/request/requestinfo.go)."""
    r, name = target.resource, target.name or ""
    namespace = name if r is NAMESPACES else target.namespace or ""
    return Attributes(_verb(request, target), r.group, r.plural, target.subresource, namespace, name)


def attributes_asked(spec: Mapping[str, Any]) -> Attributes | None:
    """Those of an access review; None for one about a URL that is no resource."""
    asked = spec.get("resourceAttributes")
    if not isinstance(asked, dict):
        return None
    keys = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(**{key: str(asked.get(key) or "") for key in keys})


def forbidden(user: User, asked: Attributes) -> ApiError:
    """403 in the words of the real one (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go)."""
    what = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    named = f'{what} "{asked.name}"' if asked.name else what
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    text = (
        f'{named} is forbidden: User "{user.name}" cannot {asked.verb} resource "{asked.whole}" in API group '
        f'"{asked.group}" {where}'
    )
    return ApiError(403, "Forbidden", text, {"name": asked.name, "group": asked.group, "kind": asked.resource})


class Authorizer:
    """Decides by what the Store holds at the moment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def allows(self, user: User, asked: Attributes) -> bool:
        """Whether any rule that the user has lets it."""
        return any(_matches(rule, asked) for rule in self.rules(user, asked.namespace))

    def rules(self, user: User, namespace: str) -> Iterator[Obj]:
        """The rules that a user has in a namespace, or cluster-wide where it is empty."""
        if MASTERS in user.groups:
            yield ALL
            return
        for binding in self._store.list(CLUSTERROLEBINDINGS):
            yield from self._of(binding, user)
        for binding in self._store.list(ROLEBINDINGS, namespace) if namespace else ():
            yield from self._of(binding, user)

    def _of(self, binding: Obj, user: User) -> Sequence[Obj]:
        namespace = namespace_of(binding) or ""
        if not any(_is(subject, user, namespace) for subject in binding.get("subjects") or ()):
            return ()
        reference = binding["roleRef"]
        if reference["kind"] == "Role":
            role = self._store.find(ROLES, namespace, reference["name"])
        else:
            role = self._store.find(CLUSTERROLES, None, reference["name"])
            if role is None and reference["name"] == _CLUSTER_ADMIN:
                return (ALL,)
        return [] if role is None else role.get("rules") or []


def _verb(request: web.Request, target: Target) -> str:
    if request.method in _VERBS:
        return _VERBS[request.method]
    if request.method == "DELETE":
        return "delete" if target.name else "deletecollection"
    if target.name:
        return "get"
    return "watch" if flag(request.query, "watch") else "list"


def _is(subject: Obj, user: User, namespace: str) -> bool:
    match subject.get("kind"):
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case "ServiceAccount":
            return user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject['name']}"
    return False


def _matches(rule: Obj, asked: Attributes) -> bool:
    names = rule.get("resourceNames") or ()
    return (
        _has(rule.get("verbs"), asked.verb)
        and _has(rule.get("apiGroups"), asked.group)
        and _has_resource(rule.get("resources") or (), asked)
        and (not names or asked.name in names)
    )


def _has(values: Sequence[str] | None, value: str) -> bool:
    return bool(values) and ("*" in (values or ()) or value in (values or ()))


def _has_resource(resources: Sequence[str], asked: Attributes) -> bool:
    return _has(resources, asked.whole) or bool(asked.subresource and f"*/{asked.subresource}" in resources)
