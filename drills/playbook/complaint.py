"""What pydantic found wrong, in the words of somebody who reads the file: a place, the key, what belongs there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from drills.errors import SourceError
from drills.playbook.nearest import did_you_mean
from drills.source import Document, KeyPath

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def source_error(document: Document, schema: Mapping[str, Any], error: ErrorDetails) -> SourceError:
    """One of pydantic's errors as an error with a place; the schema knows which keys there are."""
    path = path_in(document.data, error["loc"])
    where = written(path)
    match error["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            hint = did_you_mean(key, sorted(known_keys(schema, error["loc"][:-1])), "keys")
            return SourceError(document.key_place_of(path), f'unknown key "{key}" in {written(path[:-1])}; {hint}')
        case "missing":
            return SourceError(document.place_of(path), f'"{error["loc"][-1]}" is missing in {where}')
    return SourceError(document.place_of(path), f"{where}: {_sentence(error)}")


def path_in(data: Any, location: Sequence[str | int]) -> KeyPath:
    """The part of pydantic's location that exists in the file (unions and filled-in lists leave marks of their own)."""
    path: list[str | int] = []
    for step in location:
        is_there = step in data if isinstance(data, dict) else isinstance(data, list) and step in range(len(data))
        if is_there:
            data = data[step]
            path.append(step)
    return tuple(path)


def written(path: KeyPath) -> str:
    """A path as people write it: ``spec.drills[0].inject``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "the playbook"


def _sentence(error: ErrorDetails) -> str:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind in _KINDS:
        quote = " (put it in quotes)" if kind == "string_type" and isinstance(value, bool | int | float) else ""
        return f"must be {_KINDS[kind]}, not {_shown(value)}{quote}"
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"must be {words} {context[key]}, not {_shown(value)}"
    if kind == "literal_error":
        return f"must be {context['expected']}, not {_shown(value)}{_nearest_value(value, str(context['expected']))}"
    return _RARE.get(kind, "{msg}").format(value=_shown(value), msg=_lowered(error["msg"]), **context)


_RARE = {
    "problem": "{reason}",
    "string_pattern_mismatch": "{value} does not look right here; it must match {pattern}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _nearest_value(value: Any, expected: str) -> str:
    hint = did_you_mean(value, re.findall(r"'([^']*)'", expected), "values") if isinstance(value, str) else ""
    return f"; {hint}" if hint.startswith("did") else ""


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value[:60]}{"..." if len(value) > 60 else ""}"'
        case dict():
            return "a mapping"
        case list():
            return "a list"
    return str(value)


def known_keys(schema: Mapping[str, Any], location: Sequence[str | int]) -> set[str]:
    """The keys that the schema has at a location; marks of unions in the location are passed over."""
    here = list(_branches(schema, schema))
    for step in location:
        below = [branch for node in here for branch in _step(schema, node, step)]
        here = below or here
    return {key for node in here for key in node.get("properties", {})}


def _step(schema: Mapping[str, Any], node: Mapping[str, Any], step: str | int) -> Iterator[Mapping[str, Any]]:
    properties = node.get("properties", {})
    if isinstance(step, int):
        below = node.get("items")
    elif step in properties:
        below = properties[step]
    else:
        below = node.get("additionalProperties")
    if isinstance(below, Mapping):
        yield from _branches(schema, below)


def _branches(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "$ref" in node:
        yield from _branches(schema, schema["$defs"][str(node["$ref"]).rpartition("/")[2]])
        return
    yield node
    for each in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _branches(schema, each)
