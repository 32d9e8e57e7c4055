"""OpenAPI v3 documents: what ``kubectl explain`` prints, and how kubectl learns that it may ask for dry runs.

Without ``x-kubernetes-group-version-kind`` and the parameters ``dryRun`` and ``fieldValidation`` on a kind's
operations, kubectl refuses to apply it. Patch operations do not offer strategic merge in their content types:
kubectl then uses the merge keys that it has built in, which are those of ``strategic.MERGE_KEYS``.
"""

from __future__ import annotations

import functools
import hashlib
import json

from drills.lab.api.discovery import VERSION, group_versions
from drills.lab.api.kinds import kind_of
from drills.lab.api.paths import no_such_path
from drills.lab.api.resources import ALL, Resource
from drills.lab.api.types import Obj

_GVK = "x-kubernetes-group-version-kind"
_QUERY = ("dryRun", "fieldManager", "fieldValidation", "pretty")


def _path_of(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def index() -> Obj:
    """``/openapi/v3``: the documents that there are."""
    paths = {}
    for group, version in group_versions():
        path = _path_of(group, version)
        digest = hashlib.sha256(document(path)).hexdigest()[:32].upper()
        paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


@functools.cache
def document(path: str) -> bytes:
    """``/openapi/v3/PATH``: the document of one group and version, as JSON. Raises ApiError 404."""
    for group, version in group_versions():
        if _path_of(group, version) == path:
            return json.dumps(_document(group, version), separators=(",", ":")).encode()
    raise no_such_path()


def _document(group: str, version: str) -> Obj:
    paths: Obj = {}
    schemas: Obj = {}
    for r in ALL:
        if (r.group, r.version) == (group, version):
            name, definitions = kind_of(r).definitions()
            schemas |= definitions
            schemas[name] = schemas[name] | {_GVK: [_gvk(r)]}
            paths |= _operations(r, name)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _gvk(r: Resource) -> Obj:
    return {"group": r.group, "version": r.version, "kind": r.kind}


def _operations(r: Resource, schema: str) -> Obj:
    scope = "/namespaces/{namespace}" if r.namespaced else ""
    collection = f"/{_path_of(r.group, r.version)}{scope}/{r.plural}"

    def operation(action: str, *query: str) -> Obj:
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
        return {
            "operationId": f"{action}{r.group}{r.version}{r.kind}",
            "x-kubernetes-action": action,
            _GVK: _gvk(r),
            "parameters": [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query],
            "responses": {"200": {"description": "OK", "content": content}},
        }

    return {
        collection: {"get": operation("list"), "post": operation("post", *_QUERY)},
        f"{collection}/{{name}}": {
            "get": operation("get"),
            "put": operation("put", *_QUERY),
            "patch": operation("patch", *_QUERY, "force"),
            "delete": operation("delete", "dryRun"),
        },
    }
