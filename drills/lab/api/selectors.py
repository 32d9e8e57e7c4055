"""Label and field selectors of list and watch requests, and the selectors inside objects.

Grammar as in k8s.io/apimachinery/pkg/labels/selector.go: ``a=b,c!=d,e in (f,g),h notin (i),j,!k``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drills.lab.api.errors import bad_request
from drills.lab.api.resources import CILIUM_ENDPOINTS, EVENTS, JOBS, NAMESPACES, PODS, REPLICASETS, SECRETS, Resource
from drills.lab.api.types import Obj, labels_of

_KEY = r"[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_EQUALITY = re.compile(rf"\s*({_KEY})\s*(==|!=|=)\s*({_VALUE})\s*")
_SET = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*")
_EXISTENCE = re.compile(rf"\s*(!?)\s*({_KEY})\s*")
_COMMA = re.compile(r",(?![^(]*\))")  # not inside parentheses

# pkg/apis/core/v1/conversion.go and its kin; metadata.name and metadata.namespace work for every kind.
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_INVOLVED = tuple(f"involvedObject.{part}" for part in _REFERENCE)
_FIELDS: dict[Resource, tuple[str, ...]] = {
    PODS: (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName",
    ),
    EVENTS: (*_INVOLVED, "reason", "reportingComponent", "source", "type"),
    SECRETS: ("type",),
    NAMESPACES: ("status.phase",),
    JOBS: ("status.successful",),
    REPLICASETS: ("status.replicas",),
    CILIUM_ENDPOINTS: (),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: str  # In, NotIn, Exists, DoesNotExist
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet the condition; NotIn also holds where the label is absent."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        held = self.key in labels and labels[self.key] in self.values
        return held if self.operator == "In" else not held


@dataclass(frozen=True, slots=True)
class Selector:
    """All conditions of a request or of an object's ``selector``; none at all selects everything."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[tuple[str, bool, str], ...] = ()  # path, equal, value

    def matches(self, obj: Obj) -> bool:
        """Whether an object is selected."""
        carried = labels_of(obj)
        return all(requirement.matches(carried) for requirement in self.labels) and all(
            (_field(obj, path) == value) is equal for path, equal, value in self.fields
        )

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields)


def parse(resource: Resource, labels: str, fields: str) -> Selector:
    """The selector of a request's ``labelSelector`` and ``fieldSelector``. Raises ApiError 400."""
    return Selector(parse_labels(labels), parse_fields(resource, fields))


def parse_labels(text: str) -> tuple[Requirement, ...]:
    """Conditions of a label selector. Raises ApiError 400."""
    return tuple(_requirement(part, text) for part in _COMMA.split(text)) if text.strip() else ()


def _requirement(part: str, whole: str) -> Requirement:
    if found := _SET.fullmatch(part):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "In" if found[2] == "in" else "NotIn", values)
    if found := _EQUALITY.fullmatch(part):
        return Requirement(found[1], "NotIn" if found[2] == "!=" else "In", frozenset((found[3],)))
    if found := _EXISTENCE.fullmatch(part):
        return Requirement(found[2], "DoesNotExist" if found[1] else "Exists")
    raise bad_request(f"unable to parse requirement: found {part.strip()!r} in the label selector {whole!r}")


def parse_fields(resource: Resource, text: str) -> tuple[tuple[str, bool, str], ...]:
    """Conditions of a field selector. Raises ApiError 400 for a field that the kind cannot be selected by."""
    conditions = []
    for part in filter(None, text.split(",")):
        path, operator, value = _split_condition(part)
        if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(resource, ())):
            raise bad_request(f'field label not supported: {path} (for "{resource.kind}")')
        conditions.append((path, operator != "!=", value))
    return tuple(conditions)


def _split_condition(part: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        path, found, value = part.partition(operator)
        if found:
            return path.strip(), operator, value.strip()
    raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")


def _field(obj: Obj, path: str) -> str:
    value: Any = obj
    if path == "source":
        path = "source.component"
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def selector_of(selector: Obj | None) -> Selector:
    """The Selector of a metav1.LabelSelector (``matchLabels``, ``matchExpressions``); of null, one for everything."""
    selector = selector or {}
    equal = [Requirement(k, "In", frozenset((v,))) for k, v in (selector.get("matchLabels") or {}).items()]
    expressions = [
        Requirement(entry["key"], entry["operator"], frozenset(entry.get("values") or ()))
        for entry in selector.get("matchExpressions") or ()
    ]
    return Selector((*equal, *expressions))


def as_text(selector: Obj | None) -> str:
    """A metav1.LabelSelector in the notation of requests, as kubectl's tables and Scale objects show it."""
    selector = selector or {}
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for entry in selector.get("matchExpressions") or ():
        key, values = entry["key"], ",".join(entry.get("values") or ())
        texts = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(texts.get(entry["operator"], f"!{key}"))
    return ",".join(parts)
