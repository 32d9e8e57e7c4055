"""The API server's structural schemas: what is unknown, what is pruned, what is refused, in its own words.

A schema is the JSON of a CustomResourceDefinition's ``openAPIV3Schema``. :func:`structural` derives one from pydantic
models; the other functions do with it what ``k8s.io/apiextensions-apiserver`` does (``pkg/apiserver/schema/pruning``,
``.../defaulting``, ``.../validation``), in that order: drop unknown fields and nulls, fill defaults in, validate.
"""

from __future__ import annotations

import copy
import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

Schema = Mapping[str, Any]

INT_OR_STRING: Final = "x-kubernetes-int-or-string"
PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"

Reason = Literal[
    "FieldValueInvalid", "FieldValueRequired", "FieldValueNotSupported", "FieldValueTypeInvalid",
    "FieldValueTooLong", "FieldValueTooMany",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One cause of a 422 Invalid: the reason is that of metav1.StatusCause, ``str()`` reads ``field: message``."""

    field: str
    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


# --- derive -----------------------------------------------------------------------------------------------------------


def constraints(*, one_of: tuple[str, ...] = (), any_of: tuple[str, ...] = ()) -> ConfigDict:
    """Model configuration: exactly one, or at least one, of the (JSON) fields must be there."""
    extra: dict[str, Any] = {}
    if one_of:
        extra["oneOf"] = [_only(name) for name in one_of]
    if any_of:
        extra["anyOf"] = [_only(name) for name in any_of]
    return ConfigDict(json_schema_extra=extra)


def _only(name: str) -> dict[str, Any]:
    return {"properties": {name: {}}, "required": [name]}


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """The structural schema of a model: no references, no titles, optional fields are simply not required."""
    raw = model.model_json_schema(by_alias=True)
    return _inline(raw, raw.get("$defs", {}))


def _inline(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in node.items() if key not in {"$defs", "$ref", "title"}}
    if "$ref" in node:
        found = {**definitions[node["$ref"].rpartition("/")[2]], **found}
        return _inline(found, definitions)
    options = found.get("anyOf", [])
    present = [each for each in options if each != {"type": "null"}]
    if len(present) < len(options):
        del found["anyOf"]
        found = {**present[0], **found} if len(present) == 1 else {**found, "anyOf": present}
        return _inline(found, definitions)
    if found.get("default", ...) is None:
        del found["default"]
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), dict):
            found[name] = _inline(found[name], definitions)
    if "properties" in found and "type" in found:
        found["properties"] = {key: _inline(value, definitions) for key, value in found["properties"].items()}
    return found


# --- prune ------------------------------------------------------------------------------------------------------------


def unknown_fields(schema: Schema, value: Any) -> list[str]:
    """Paths of the fields that the schema does not know, sorted, as the API server writes them."""
    return sorted(_unknown(schema, value, ""))


def _unknown(schema: Schema, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            below = _child(schema, key)
            if below is not None:
                yield from _unknown(below, item, _join(path, key))
            elif not schema.get(PRESERVE):
                yield _join(path, key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(schema.get("items", {}), item, f"{path}[{index}]")


def _child(schema: Schema, key: str) -> Schema | None:
    properties: Schema = schema.get("properties", {})
    if key in properties:
        found: Schema = properties[key]
        return found
    more = schema.get("additionalProperties")
    return more if isinstance(more, dict) else None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def pruned(schema: Schema, value: Any) -> Any:
    """A copy without unknown fields and without nulls, and with defaults filled in."""
    if isinstance(value, dict):
        kept = {}
        for key, item in value.items():
            below = _child(schema, key)
            if below is None and schema.get(PRESERVE):
                kept[key] = copy.deepcopy(item)
            elif below is not None and item is not None:
                kept[key] = pruned(below, item)
        for key, below in schema.get("properties", {}).items():
            if key not in kept and "default" in below:
                kept[key] = copy.deepcopy(below["default"])
        return kept
    if isinstance(value, list):
        return [pruned(schema.get("items", {}), item) for item in value]
    return value


# --- validate ---------------------------------------------------------------------------------------------------------


def schema_errors(schema: Schema, value: Any, path: str = "") -> list[SchemaError]:
    """What the API server refuses with 422, in the order of the schema. The value should be pruned already."""
    return list(_validate(schema, value, path))


def _validate(schema: Schema, value: Any, path: str) -> Iterator[SchemaError]:
    actual, wanted = _type_of(value), schema.get("type")
    if schema.get(INT_OR_STRING):
        if actual not in {"integer", "string"}:
            yield _wrong_type(path, "integer,string", actual)
            return
    elif wanted and not (actual == wanted or (wanted == "number" and actual == "integer")):
        yield _wrong_type(path, wanted, actual)
        return
    yield from _check_value(schema, value, path)
    yield from _check_alternatives(schema, value, path)
    if isinstance(value, dict):
        yield from _check_members(schema, value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _validate(schema.get("items", {}), item, f"{path}[{index}]")


def _check_members(schema: Schema, value: dict[str, Any], path: str) -> Iterator[SchemaError]:
    for name in schema.get("required", ()):
        if name not in value:
            yield SchemaError(_join(path, name), "FieldValueRequired", "Required value")
    for key, item in value.items():
        below = _child(schema, key)
        if below is not None:
            yield from _validate(below, item, _join(path, key))


def _check_alternatives(schema: Schema, value: Any, path: str) -> Iterator[SchemaError]:
    if not isinstance(value, dict):
        return
    for keyword, sentence in (
        ("anyOf", "must validate at least one schema (anyOf)"),
        ("oneOf", "must validate one and only one schema (oneOf)"),
    ):
        options = [each["required"] for each in schema.get(keyword, ()) if "required" in each]
        if not options:
            continue
        valid = sum(all(name in value for name in names) for names in options)
        if valid == 0:
            tail = ". Found none valid" if keyword == "oneOf" else ""
            yield _invalid(path, "", f'"{path}" {sentence}{tail}')
            yield SchemaError(_join(path, options[0][0]), "FieldValueRequired", "Required value")
        elif valid > 1 and keyword == "oneOf":
            yield _invalid(path, "", f'"{path}" {sentence}. Found {valid} valid alternatives')


def _check_value(schema: Schema, value: Any, path: str) -> Iterator[SchemaError]:
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(json.dumps(each) for each in schema["enum"])
        message = f"Unsupported value: {json.dumps(value)}: supported values: {supported}"
        yield SchemaError(path, "FieldValueNotSupported", message)
    if isinstance(value, str):
        yield from _check_text(schema, value, path)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            limit = schema["maxItems"]
            message = f"Too many: {len(value)}: must have at most {limit} item{'' if limit == 1 else 's'}"
            yield SchemaError(path, "FieldValueTooMany", message)
        if len(value) < schema.get("minItems", 0):
            yield _invalid(path, len(value), f"{path} in body should have at least {schema['minItems']} items")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(schema, value, path)


def _check_number(schema: Schema, value: float, path: str) -> Iterator[SchemaError]:
    if value < schema.get("minimum", value):
        yield _invalid(path, value, f"{path} in body should be greater than or equal to {schema['minimum']}")
    if value > schema.get("maximum", value):
        yield _invalid(path, value, f"{path} in body should be less than or equal to {schema['maximum']}")


def _check_text(schema: Schema, value: str, path: str) -> Iterator[SchemaError]:
    if len(value) < schema.get("minLength", 0):
        yield _invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    if len(value) > schema.get("maxLength", len(value)):
        message = f"Too long: may not be more than {schema['maxLength']} bytes"
        yield SchemaError(path, "FieldValueTooLong", message)
    elif "pattern" in schema and not _compiled(schema["pattern"]).search(value):
        yield _invalid(path, value, f"{path} in body should match '{schema['pattern']}'")
    known = _FORMATS.get(schema.get("format", ""))
    if known and not known(value):
        yield _invalid(path, value, f"{path} in body must be of type {schema['format']}: {json.dumps(value)}")


def _is_cidr(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return value.rpartition("/")[2].isdigit()


_FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {"cidr": _is_cidr}  # unsupported formats are ignored, as there


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as Go reads it: a final ``$`` is the very end of the text."""
    return re.compile(pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern)


def _type_of(value: Any) -> str:
    for kind, name in _TYPES:
        if isinstance(value, kind):
            return name
    return "null"


_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
)  # fmt: skip


def _wrong_type(path: str, wanted: str, actual: str) -> SchemaError:
    sentence = f'{path} in body must be of type {wanted}: "{actual}"'
    return SchemaError(path, "FieldValueTypeInvalid", f'Invalid value: "{actual}": {sentence}')


def _invalid(path: str, value: object, sentence: str) -> SchemaError:
    return SchemaError(path, "FieldValueInvalid", f"Invalid value: {json.dumps(value)}: {sentence}")
