"""A policy at the API: unknown fields, what is stored, what is refused, and the typed policy that remains.

The order is the API server's: strict validation refuses unknown fields (400), the others drop them with a warning;
what remains is validated against the schema (422); then Cilium may still refuse it (:mod:`drills.cilium.sanitize`),
which leaves it in the API with VALID=False and without effect.
"""

from __future__ import annotations

import copy
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from drills.cilium import structural
from drills.cilium.model import NetworkPolicy, Obj, Rule, Status
from drills.cilium.structural import SchemaError
from drills.errors import InputError

__all__ = ["CCNP", "CNP", "KINDS", "METADATA", "NetworkPolicy", "Rule", "SchemaError", "UnreadablePolicyError",
           "name_errors", "openapi", "parse", "prune", "schema_errors", "unknown_fields"]  # fmt: skip

CNP: Final = "CiliumNetworkPolicy"
CCNP: Final = "CiliumClusterwideNetworkPolicy"
KINDS: Final = (CNP, CCNP)

# Field names of metav1.ObjectMeta (apimachinery 1.33): the API knows them for every kind.
METADATA: Final = frozenset({
    "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
    "deletionTimestamp", "deletionGracePeriodSeconds", "labels", "annotations", "ownerReferences", "finalizers",
    "managedFields",
})  # fmt: skip


class _NameRule(NamedTuple):
    pattern: re.Pattern[str]
    longest: int
    says: str


_PART: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL: Final = _NameRule(
    re.compile(_PART), 63,
    "a lowercase RFC 1123 label must consist of at most 63 lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character",
)  # fmt: skip
_SUBDOMAIN: Final = _NameRule(
    re.compile(rf"{_PART}(\.{_PART})*"), 253,
    "a lowercase RFC 1123 subdomain must consist of at most 253 lower case alphanumeric characters, '-' or '.', and "
    "must start and end with an alphanumeric character",
)  # fmt: skip


class UnreadablePolicyError(InputError):
    """An object that is no policy even after pruning; ``schema_errors`` says why."""


def openapi(kind: str) -> dict[str, Any]:
    """The structural OpenAPI v3 schema of a kind, made of the model; a new copy at each call."""
    return copy.deepcopy(_schema(_known(kind)))


def unknown_fields(kind: str, obj: Obj) -> list[str]:
    """Paths of unknown fields, sorted: ``spec.ingress[0].fromEndpoints[0].namespaceSelector``.

    Strict validation answers 400 with ``strict decoding error: `` and, joined by a comma and a blank, one
    ``unknown field "<path>"`` for each; otherwise each of these is a Warning header and the field is dropped.
    """
    metadata = obj.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    rest = {key: value for key, value in obj.items() if key != "metadata"}
    unknown = [f"metadata.{name}" for name in names if name not in METADATA]
    return sorted(unknown + structural.unknown_fields(_schema(_known(kind)), rest))


def prune(kind: str, obj: Obj) -> Obj:
    """What is stored: a copy without unknown fields and nulls, and with defaults filled in."""
    metadata = obj.get("metadata")
    stored: Obj = structural.pruned(_schema(_known(kind)), {key: obj[key] for key in obj if key != "metadata"})
    if isinstance(metadata, dict):
        stored["metadata"] = {key: copy.deepcopy(value) for key, value in metadata.items() if key in METADATA}
    elif metadata is not None:
        stored["metadata"] = metadata
    order = {"apiVersion": 0, "kind": 1, "metadata": 2, "spec": 3, "specs": 4, "status": 5}
    return dict(sorted(stored.items(), key=lambda item: order.get(item[0], 9)))


def schema_errors(kind: str, obj: Obj) -> list[SchemaError]:
    """What the schema refuses (422), after pruning, which this does by itself."""
    return structural.schema_errors(_schema(_known(kind)), prune(kind, obj))


def name_errors(kind: str, obj: Obj) -> list[SchemaError]:
    """What the API refuses of the object's name and namespace (422), in its words (apimachinery 1.33)."""
    metadata = obj.get("metadata")
    given = metadata if isinstance(metadata, dict) else {}
    checks = {"name": (given.get("name"), _SUBDOMAIN)}
    if not given.get("name"):  # the API makes one up, and looks at its beginning
        prefix = given.get("generateName")
        checks = {"generateName": (f"{prefix}x" if isinstance(prefix, str) and prefix else None, _SUBDOMAIN)}
    if kind == CNP:
        checks["namespace"] = (given.get("namespace"), _LABEL)
    return [
        SchemaError(f"metadata.{key}", "FieldValueInvalid", f'Invalid value: "{given[key]}": {rule.says}')
        for key, (text, rule) in checks.items()
        if isinstance(text, str) and text and not (rule.pattern.fullmatch(text) and len(text) <= rule.longest)
    ]


def parse(obj: Obj) -> NetworkPolicy:
    """The typed policy of an object, pruned first.

    :raises UnreadablePolicyError: where the schema refuses the object.
    """
    kind = str(obj.get("kind", CNP))
    try:
        return NetworkPolicy.model_validate(prune(kind, obj))
    except ValidationError as error:
        causes = "; ".join(str(cause) for cause in schema_errors(kind, obj)) or str(error)
        metadata = obj.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise UnreadablePolicyError(f'{kind} "{name}" is invalid: {causes}') from error


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise InputError(f"{kind} is not a policy of Cilium's; known are {' and '.join(KINDS)}")
    return kind


@lru_cache
def _schema(kind: str) -> dict[str, Any]:
    rule = structural.structural(Rule)
    described = {
        CNP: "What is allowed and denied for pods of one namespace.",
        CCNP: "What is allowed and denied for pods of every namespace, or for nodes.",
    }
    rules = {"type": "array", "description": "What the policy says, as several rules.", "items": rule}
    return {
        "type": "object",
        "description": described[kind],
        "required": ["metadata"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of this representation."},
            "kind": {"type": "string", "description": "Kind of the object."},
            "metadata": {"type": "object", "description": "Standard metadata."},
            "spec": rule | {"description": "What the policy says."},
            "specs": rules,
            "status": structural.structural(Status),
        },
    }
