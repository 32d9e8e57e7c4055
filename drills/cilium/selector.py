"""Selectors: which identities a policy's label selector means, with the namespace that Cilium adds by itself.

A selector of a CiliumNetworkPolicy never leaves its namespace unless it says so, and says so only by the pod's
namespace label or by a label of the namespace. Facts: Cilium 1.20 ``pkg/k8s/apis/cilium.io/utils/utils.go``
(``getEndpointSelector``, ``ParseToCiliumRule``), ``pkg/policy/api/selector.go``, ``pkg/labels/labels.go`` (``Has``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from drills.cilium.labels import (
    NAMESPACE,
    NAMESPACE_LABELS,
    SOURCE_ANY,
    SOURCE_K8S,
    SOURCE_RESERVED,
    Labels,
    split_key,
)
from drills.cilium.parts import LabelSelector


class Operator(StrEnum):
    """Operators of Kubernetes label selectors."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; the source ``any`` matches a label of every source."""

    source: str
    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether the labels satisfy the condition. NotIn is also satisfied where the label is missing."""
        found = self._values(labels)
        match self.operator:
            case Operator.EXISTS:
                return bool(found)
            case Operator.DOES_NOT_EXIST:
                return not found
            case Operator.IN:
                return any(value in self.values for value in found)
            case Operator.NOT_IN:
                return not any(value in self.values for value in found)

    def _values(self, labels: Labels) -> list[str]:
        if self.source != SOURCE_ANY:
            value = labels.get(f"{self.source}:{self.key}")
            return [] if value is None else [value]
        suffix = f":{self.key}"
        return [value for key, value in labels.items() if key.endswith(suffix) and split_key(key)[1] == self.key]

    def __str__(self) -> str:
        name = self.key if self.source == SOURCE_ANY else f"{self.source}:{self.key}"
        match self.operator:
            case Operator.IN if len(self.values) == 1:
                return f"{name}={self.values[0]}"
            case Operator.IN | Operator.NOT_IN:
                return f"{name} {self.operator.lower()} ({', '.join(self.values)})"
            case _:
                return f"{name} {self.operator}"


@dataclass(frozen=True, slots=True)
class Selector:
    """All of its requirements must hold; without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether an identity with these labels is selected."""
        return all(each.matches(labels) for each in self.requirements)

    @property
    def wildcard(self) -> bool:
        """Whether it selects everything."""
        return not self.requirements

    def has_key(self, key: str, *sources: str) -> bool:
        """Whether a requirement is about this very key, of one of the sources."""
        return any(each.key == key and each.source in sources for each in self.requirements)

    def has_key_prefix(self, prefix: str, *sources: str) -> bool:
        """Whether a requirement is about a key that starts so, of one of the sources."""
        return any(each.key.startswith(prefix) and each.source in sources for each in self.requirements)

    def with_(self, *more: Requirement) -> Selector:
        """This selector and more requirements; an equality replaces an earlier one on the same label."""
        pinned = {(each.source, each.key) for each in more if _is_equality(each)}
        kept = (each for each in self.requirements if not (_is_equality(each) and (each.source, each.key) in pinned))
        return Selector((*kept, *more))

    def __str__(self) -> str:
        return ", ".join(str(each) for each in self.requirements) or "everything"


def _is_equality(requirement: Requirement) -> bool:
    return requirement.operator is Operator.IN and len(requirement.values) == 1


def equals(labels: Mapping[str, str], *, source: str = SOURCE_ANY) -> Selector:
    """A selector for labels given as key (a source may stand before it) and value."""
    return Selector(tuple(_equality(key, value, source) for key, value in labels.items()))


def _equality(key: str, value: str, default_source: str) -> Requirement:
    source, bare = split_key(key)
    return Requirement(default_source if source == SOURCE_ANY else source, bare, Operator.IN, (value,))


def plain(selector: LabelSelector) -> Selector:
    """A selector as it is written, without what Cilium adds."""
    requirements: list[Requirement] = [
        _equality(key, value, SOURCE_ANY) for key, value in (selector.match_labels or {}).items()
    ]
    for expression in selector.match_expressions or ():
        source, key = split_key(expression.key)
        values = tuple(expression.values or ())
        requirements.append(Requirement(source, key, Operator(expression.operator), values))
    return Selector(tuple(requirements))


def subject_selector(selector: LabelSelector, namespace: str | None) -> Selector:
    """Whom a rule applies to: ``endpointSelector``, pinned to the policy's namespace (a clusterwide one has none)."""
    found = plain(selector)
    if not namespace:
        return found
    return found.with_(Requirement(SOURCE_K8S, NAMESPACE, Operator.IN, (namespace,)))


def peer_selector(selector: LabelSelector, namespace: str | None, *, subject_is_init: bool = False) -> Selector:
    """Whom ``fromEndpoints`` and ``toEndpoints`` mean.

    In a CiliumNetworkPolicy: pods of its own namespace, unless the selector names a namespace or a namespace's label.
    In a clusterwide policy: pods of any namespace, but nothing that is no pod. Reserved labels are taken as written.
    """
    found = plain(selector)
    if found.has_key_prefix("", SOURCE_RESERVED):
        return found
    if found.has_key(NAMESPACE, SOURCE_K8S, SOURCE_ANY):
        return found
    if not namespace:
        return found if subject_is_init else found.with_(Requirement(SOURCE_K8S, NAMESPACE, Operator.EXISTS))
    if found.has_key_prefix(f"{NAMESPACE_LABELS}.", SOURCE_K8S, SOURCE_ANY):
        return found
    return found.with_(Requirement(SOURCE_K8S, NAMESPACE, Operator.IN, (namespace,)))


def is_init(selector: LabelSelector) -> bool:
    """Whether a subject selector is about initialising pods, which have no labels and so no namespace."""
    return plain(selector).has_key("init", SOURCE_RESERVED)


def any_of(selectors: Sequence[Selector], labels: Labels) -> bool:
    """Whether one of the selectors selects the labels."""
    return any(each.matches(labels) for each in selectors)
