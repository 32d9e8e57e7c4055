"""Schemas of Kubernetes' own kinds, and the walk that finds what does not fit them.

The data (builtin.json) is derived from the official client by tools/make_schema.py; it is expanded
into ordinary OpenAPI v3 schemas, which validation, pruning and ``kubectl explain`` share.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any, NamedTuple

from drills.lab.api.types import Obj

Schema = dict[str, Any]
Definitions = Mapping[str, Schema]
PREFIX = "#/components/schemas/"
PRESERVE = "x-kubernetes-preserve-unknown-fields"

_QUANTITY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")

_SIMPLE: dict[str, Schema] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "number": {"type": "number"},
    "time": {"type": "string", "format": "date-time"},
    "bytes": {"type": "string", "format": "byte"},
    "int-or-string": {"x-kubernetes-int-or-string": True, "format": "int-or-string"},
    "quantity": {"x-kubernetes-int-or-string": True, "format": "quantity"},
    "any": {"type": "object", PRESERVE: True},
}


class Misfit(NamedTuple):
    """A value that its schema does not allow; ``rule`` is one of type, required, enum, format, pattern, length."""

    path: str
    rule: str
    message: str
    value: Any


@functools.cache
def builtin() -> Definitions:
    """OpenAPI schemas of the built-in kinds and their parts by name (``v1.PodSpec``)."""
    document = json.loads(files(__package__).joinpath("builtin.json").read_text(encoding="utf-8"))
    return {name: _expand(entry) for name, entry in document["definitions"].items()}


def _expand(entry: Obj) -> Schema:
    properties = {}
    for name, (code, *text) in entry["fields"].items():
        schema = _expand_type(code)
        properties[name] = {"description": text[0], **schema} if text else schema
    schema = {"type": "object", "properties": properties}
    return schema | {key: entry[key] for key in ("description", "required") if key in entry}


def _expand_type(code: str) -> Schema:
    if code.startswith("[]"):
        return {"type": "array", "items": _expand_type(code[2:])}
    if code.startswith("{}"):
        return {"type": "object", "additionalProperties": _expand_type(code[2:])}
    return _SIMPLE.get(code) or {"$ref": PREFIX + code}


def resolve(schema: Schema, definitions: Definitions) -> Schema:
    """The schema itself, or the one that it refers to."""
    reference = schema.get("$ref")
    return definitions[reference.removeprefix(PREFIX)] if reference else schema


def child(schema: Schema, key: str, definitions: Definitions) -> Schema | None:
    """The schema of a mapping's member, resolved; None if the mapping has no such member."""
    found = schema.get("properties", {}).get(key)
    if found is None:
        extra = schema.get("additionalProperties")
        found = extra if isinstance(extra, dict) else None
    return None if found is None else resolve(found, definitions)


def _open(schema: Schema) -> bool:
    """Whether unknown members are kept: a free object, or one of which the schema says nothing."""
    return bool(schema.get(PRESERVE)) or not ("properties" in schema or "additionalProperties" in schema)


def _items(schema: Schema, definitions: Definitions) -> Schema:
    return resolve(schema.get("items", {}), definitions)


def unknown_fields(schema: Schema, value: Any, definitions: Definitions, path: str = "") -> Iterator[str]:
    """Paths of members that the schema lacks, in the API server's notation: ``spec.containers[0].imagee``."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(_items(schema, definitions), item, definitions, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            known = child(schema, key, definitions)
            if known is not None:
                yield from unknown_fields(known, item, definitions, where)
            elif not _open(schema):
                yield where


def prune(schema: Schema, value: Any, definitions: Definitions) -> Any:
    """A copy of the value without the members that the schema lacks."""
    if isinstance(value, list):
        return [prune(_items(schema, definitions), item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        known = child(schema, key, definitions)
        if known is not None:
            kept[key] = prune(known, item, definitions)
        elif _open(schema):
            kept[key] = item
    return kept


def misfits(schema: Schema, value: Any, definitions: Definitions, path: str = "") -> Iterator[Misfit]:
    """Everything about a value that its schema does not allow. A member that is null is absent, as in Go."""
    if value is None:
        return
    wrong = _scalar_misfit(schema, value)
    if wrong is not None:
        yield Misfit(path, *wrong, value)
    elif isinstance(value, list):
        yield from _list_misfits(_items(schema, definitions), value, definitions, path)
    elif isinstance(value, dict):
        prefix = f"{path}." if path else ""
        for key in schema.get("required", ()):
            if value.get(key) is None:
                yield Misfit(prefix + key, "required", "Required value", None)
        for key, item in value.items():
            known = child(schema, key, definitions)
            if known is not None:
                yield from misfits(known, item, definitions, prefix + key)


def _list_misfits(wanted: Schema, items: list[Any], definitions: Definitions, path: str) -> Iterator[Misfit]:
    for index, item in enumerate(items):
        if item is None:
            yield Misfit(f"{path}[{index}]", "type", f"must be of type {wanted.get('type')}", None)
        yield from misfits(wanted, item, definitions, f"{path}[{index}]")


def type_name(value: Any) -> str:
    """A JSON value's type as the API server names it."""
    if isinstance(value, bool):
        return "boolean"
    names = {int: "integer", float: "number", str: "string", list: "array", dict: "object", type(None): "null"}
    return names[type(value)]


def _scalar_misfit(schema: Schema, value: Any) -> tuple[str, str] | None:
    """The rule that a value breaks by itself, and how."""
    actual = type_name(value)
    if schema.get("x-kubernetes-int-or-string"):
        return _int_or_string_misfit(schema, value, actual)
    wanted = schema.get("type")
    if wanted and actual != wanted and not (wanted == "number" and actual == "integer"):
        return "type", f"must be of type {wanted}: {json.dumps(actual)}"
    if "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(json.dumps(entry) for entry in schema["enum"])
        return "enum", f"supported values: {listed}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            return "length", f"should be at least {schema['minLength']} chars long"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            return "pattern", f"should match '{schema['pattern']}'"
    return None


def _int_or_string_misfit(schema: Schema, value: Any, actual: str) -> tuple[str, str] | None:
    quantity = schema.get("format") == "quantity"
    if actual not in ("integer", "string") and not (quantity and actual == "number"):
        return "type", f'must be of type integer or string: "{actual}"'
    if quantity and not _QUANTITY.fullmatch(str(value)):
        return "format", "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    return None
