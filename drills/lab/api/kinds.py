"""What the API knows of each kind: which fields there are, what is kept of a document, what is refused.

Two families behave differently, as in Kubernetes. A built-in kind is decoded into Go structs: a wrong
type is 400. A custom resource goes through its CRD's structural schema: unknown fields are pruned,
what then does not fit is 422.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from drills.cilium import policy, structural
from drills.lab.api import schema as builtin_schema
from drills.lab.api.custom import schema_of
from drills.lab.api.errors import Cause
from drills.lab.api.resources import CCNP, CNP, Resource
from drills.lab.api.schema import Definitions, Misfit, Schema, misfits, prune, unknown_fields
from drills.lab.api.types import Obj

OBJECT_META = "v1.ObjectMeta"


class Kind(Protocol):
    """The rules of one kind's documents."""

    def unknown(self, obj: Obj) -> list[str]:
        """Paths of fields that the kind lacks, in the order of the document."""
        ...

    def undecodable(self, obj: Obj) -> str | None:
        """Why the document cannot even be read (400), in the words of Go's JSON decoder; None if it can."""
        ...

    def pruned(self, obj: Obj) -> Obj:
        """A copy with the known fields only."""
        ...

    def causes(self, obj: Obj) -> list[Cause]:
        """What the schema refuses in a pruned document (422)."""
        ...

    def definitions(self) -> tuple[str, Definitions]:
        """The OpenAPI schema's name, and that schema with all that it refers to."""
        ...


@functools.cache
def kind_of(r: Resource) -> Kind:
    """The rules of a resource's documents."""
    if r in (CNP, CCNP):
        return _Policy(r)
    return _Custom(r) if r.custom else _BuiltIn(r)


def _without(obj: Obj, *keys: str) -> Obj:
    return {key: value for key, value in obj.items() if key not in keys}


def _decode_error(found: Misfit) -> str:
    wanted = found.message.removeprefix("must be of type ").partition(":")[0]
    return (
        f"json: cannot unmarshal {builtin_schema.type_name(found.value)} into Go struct field "
        f".{found.path} of type {wanted}"
    )


def _first_decode_error(found: Sequence[Misfit]) -> str | None:
    return next((_decode_error(misfit) for misfit in found if misfit.rule == "type"), None)


class _BuiltIn:
    def __init__(self, r: Resource) -> None:
        self._name = f"v1.{r.kind}"
        self._definitions = builtin_schema.builtin()
        self._schema = self._definitions[self._name]
        self._ignored = ("status",) if r.has_status else ()

    def unknown(self, obj: Obj) -> list[str]:
        return list(unknown_fields(self._schema, obj, self._definitions))

    def undecodable(self, obj: Obj) -> str | None:
        return _first_decode_error(list(misfits(self._schema, obj, self._definitions)))

    def pruned(self, obj: Obj) -> Obj:
        kept: Obj = _without_nulls(prune(self._schema, obj, self._definitions))
        return kept

    def causes(self, obj: Obj) -> list[Cause]:
        """Required fields and malformed quantities; a status is the lab's own and not looked at."""
        found = misfits(self._schema, _without(obj, *self._ignored), self._definitions)
        return [_cause(misfit) for misfit in found if misfit.path not in ("endpoints", "metadata")]

    def definitions(self) -> tuple[str, Definitions]:
        return self._name, _closure(self._name, self._definitions)


def _without_nulls(value: Any) -> Any:
    """null in a built-in's document decodes to the zero value, which is not written out again."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _cause(found: Misfit) -> Cause:
    if found.rule == "required":
        return Cause(found.path, "Required value", "FieldValueRequired")
    return Cause(found.path, f"Invalid value: {found.value!r}: {found.message}")


class _Custom:
    """A custom resource: its schema for everything but metadata, which is the same for every kind."""

    def __init__(self, r: Resource) -> None:
        self._r = r
        self._schema = schema_of(r.kind)
        self._builtin = builtin_schema.builtin()
        self._meta = self._builtin[OBJECT_META]

    def unknown(self, obj: Obj) -> list[str]:
        found = list(unknown_fields(self._meta, obj.get("metadata"), self._builtin, "metadata"))
        return found + structural.unknown_fields(self._schema, _without(obj, "metadata"))

    def undecodable(self, obj: Obj) -> str | None:
        return _first_decode_error(list(misfits(self._meta, obj.get("metadata"), self._builtin, "metadata")))

    def pruned(self, obj: Obj) -> Obj:
        kept: Obj = structural.pruned(self._schema, _without(obj, "metadata"))
        meta = _without_nulls(prune(self._meta, obj.get("metadata"), self._builtin))
        order = {"apiVersion": 0, "kind": 1, "metadata": 2}
        return dict(sorted((kept | {"metadata": meta}).items(), key=lambda item: order.get(item[0], 9)))

    def causes(self, obj: Obj) -> list[Cause]:
        found = structural.schema_errors(self._schema, _without(obj, "status"))
        return [Cause(error.field, error.message, error.reason) for error in found]

    def definitions(self) -> tuple[str, Definitions]:
        name = f"{'.'.join(reversed(self._r.group.split('.')))}.{self._r.version}.{self._r.kind}"
        properties = self._schema["properties"] | {"metadata": {"$ref": builtin_schema.PREFIX + OBJECT_META}}
        return name, {name: self._schema | {"properties": properties}, **_closure(OBJECT_META, self._builtin)}


class _Policy(_Custom):
    """CiliumNetworkPolicy and its clusterwide sister, whose rules are those of drills.cilium.policy."""

    def unknown(self, obj: Obj) -> list[str]:
        return policy.unknown_fields(self._r.kind, obj)

    def pruned(self, obj: Obj) -> Obj:
        kept = policy.prune(self._r.kind, obj)
        return kept | {"metadata": _without_nulls(kept.get("metadata") or {})}

    def causes(self, obj: Obj) -> list[Cause]:
        found = policy.schema_errors(self._r.kind, _without(obj, "status"))
        return [Cause(error.field, error.message, error.reason) for error in found]


def _closure(name: str, definitions: Definitions) -> dict[str, Schema]:
    """A schema and all that it refers to."""
    found: dict[str, Schema] = {}
    queue: list[Any] = [{"$ref": builtin_schema.PREFIX + name}]
    while queue:
        part = queue.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                target = reference.removeprefix(builtin_schema.PREFIX)
                if target not in found:
                    found[target] = definitions[target]
                    queue.append(definitions[target])
            queue.extend(part.values())
        elif isinstance(part, list):
            queue.extend(part)
    return found
