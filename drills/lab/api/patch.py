"""JSON patch (RFC 6902) and JSON merge patch (RFC 7386). Pure; nothing that is passed in is changed."""

from __future__ import annotations

import copy
from typing import Any

from drills.lab.api.types import Obj

MAX_OPERATIONS = 10_000  # as the API server, pkg/endpoints/handlers/patch.go maxJSONPatchOperations


class PatchError(Exception):
    """The patch is malformed or does not fit the document; one sentence."""


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with a merge patch applied: null removes, mappings merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def json_patch(document: Obj, operations: Any) -> Obj:
    """The document after all operations. Raises PatchError, also where a ``test`` does not hold."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    root: Any = copy.deepcopy(document)
    for operation in operations:
        root = _apply(root, operation)
    if not isinstance(root, dict):
        raise PatchError("the patch leaves no object")
    return root


def _apply(root: Any, operation: Any) -> Any:
    if not isinstance(operation, dict) or "op" not in operation or "path" not in operation:
        raise PatchError("each operation needs op and path")
    kind, path = operation["op"], _pointer(operation["path"])
    if kind in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"{kind} operation needs a value")
    if kind == "add":
        return _add(root, path, copy.deepcopy(operation["value"]))
    if kind == "remove":
        return _remove(root, path)
    if kind == "replace":
        _find(root, path)
        return _add(_remove(root, path), path, copy.deepcopy(operation["value"]))
    if kind == "test":
        _test(root, path, operation["value"])
        return root
    if kind in ("move", "copy") and "from" in operation:
        source = _pointer(operation["from"])
        value = copy.deepcopy(_find(root, source))
        return _add(_remove(root, source) if kind == "move" else root, path, value)
    raise PatchError(f"unexpected kind of operation: {kind!r}")


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"{text!r} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _index(items: list[Any], key: str, *, end: bool) -> int:
    if end and key == "-":
        return len(items)
    if not key.isdecimal() or int(key) >= len(items) + end:
        raise PatchError(f"index {key!r} is out of range")
    return int(key)


def _find(root: Any, path: list[str]) -> Any:
    for key in path:
        if isinstance(root, dict):
            if key not in root:
                raise PatchError(f"the path /{'/'.join(path)} does not exist")
            root = root[key]
        elif isinstance(root, list):
            root = root[_index(root, key, end=False)]
        else:
            raise PatchError(f"the path /{'/'.join(path)} does not exist")
    return root


def _add(root: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, key = _find(root, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[key] = value
    elif isinstance(parent, list):
        parent.insert(_index(parent, key, end=True), value)
    else:
        raise PatchError(f"the path /{'/'.join(path)} does not exist")
    return root


def _remove(root: Any, path: list[str]) -> Any:
    _find(root, path)
    if not path:
        return None
    parent, key = _find(root, path[:-1]), path[-1]
    del parent[int(key) if isinstance(parent, list) else key]
    return root


def _test(root: Any, path: list[str], expected: Any) -> None:
    try:
        found = _find(root, path)
    except PatchError:
        found = None
    if found != expected:
        raise PatchError(f"testing value /{'/'.join(path)} failed")
