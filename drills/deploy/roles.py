"""Rights as Roles and ClusterRoles, each with a binding: exactly what was asked for, namespace by namespace."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from drills.deploy.settings import Obj, Settings, labels_of, obj, title
from drills.kube.rights import Right

GROUP: Final = "rbac.authorization.k8s.io"


def roles(playbook: str, needed: Sequence[Right], settings: Settings) -> Iterator[Obj]:
    """A ClusterRole for what is cluster-wide, a Role for each namespace, and who has them."""
    by_namespace: dict[str | None, list[Right]] = defaultdict(list)
    for right in needed:
        by_namespace[right.namespace].append(right)
    for namespace in sorted(by_namespace, key=lambda one: one or ""):
        yield from _role(playbook, namespace, by_namespace[namespace], settings)


def _role(playbook: str, namespace: str | None, rights: Sequence[Right], settings: Settings) -> Iterator[Obj]:
    name, labels = title(playbook), labels_of(playbook)
    kind = "ClusterRole" if namespace is None else "Role"
    yield obj(f"{GROUP}/v1", kind, name, namespace, labels, why=_why(rights), rules=rules(rights))
    account = {"kind": "ServiceAccount", "name": settings.account(playbook), "namespace": settings.namespace}
    reference = {"apiGroup": GROUP, "kind": kind, "name": name}
    yield obj(f"{GROUP}/v1", f"{kind}Binding", name, namespace, labels, roleRef=reference, subjects=[account])


def rules(rights: Iterable[Right]) -> list[Obj]:
    """The rules that allow these rights of one namespace and nothing else: only rights that differ in nothing but
    their verb, then in nothing but their name, then in nothing but their resource are written as one.
    """
    verbs: dict[tuple[str, str, str | None], set[str]] = defaultdict(set)
    for right in rights:
        verbs[right.group, right.resource, right.name].add(right.verb)
    names: dict[tuple[str, str, frozenset[str], bool], set[str]] = defaultdict(set)
    for (group, resource, name), allowed in verbs.items():
        names[group, resource, frozenset(allowed), name is not None] |= {name} if name is not None else set()
    resources: dict[tuple[str, frozenset[str], frozenset[str]], set[str]] = defaultdict(set)
    for (group, resource, allowed_verbs, _), named in names.items():
        resources[group, allowed_verbs, frozenset(named)].add(resource)
    return [
        {"apiGroups": [group], "resources": sorted(what)}
        | ({"resourceNames": sorted(named)} if named else {})
        | {"verbs": sorted(allowed)}
        for (group, allowed, named), what in sorted(
            resources.items(), key=lambda one: (one[0][0], sorted(one[1]), sorted(one[0][2]), sorted(one[0][1]))
        )
    ]


def _why(rights: Iterable[Right]) -> str:
    """A line for each resource: which verbs, for what."""
    lines: dict[tuple[str, str], set[str]] = defaultdict(set)
    for right in rights:
        lines[f"{right.resource}{' ' + right.name if right.name else ''}", right.reason].add(right.verb)
    return "".join(f"{what} ({' '.join(sorted(verbs))}): {reason}\n" for (what, reason), verbs in lines.items())
