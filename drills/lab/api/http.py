"""Between HTTP and documents: bodies, answers, warnings, the formats that clients ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml
from aiohttp import web

from drills.lab.api import protobuf
from drills.lab.api.errors import ApiError, bad_request, unsupported_media
from drills.lab.api.objects import Patch, PatchKind
from drills.lab.api.types import Obj

MAX_BODY = 3 * 1024 * 1024  # bytes, as the API server (MaxRequestBodyBytes)

_PATCH_KINDS: dict[str, PatchKind] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include: "


def answer(document: Obj, status: int = 200, warnings: Iterable[str] = ()) -> web.Response:
    """A JSON answer with its ``Warning`` headers (RFC 7234, code 299), as kubectl prints them."""
    response = web.Response(body=encode(document), status=status, content_type="application/json")
    for warning in warnings:
        response.headers.add("Warning", f'299 - "{_header_text(warning)}"')
    return response


def _header_text(text: str) -> str:
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean.replace("\\", "\\\\").replace('"', '\\"')


def encode(document: Any) -> bytes:
    """A document as JSON, in one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def error_answer(error: ApiError) -> web.Response:
    """A metav1.Status for what the API refuses."""
    return answer(error.as_status(), error.status)


def success(r_kind: str, group: str, name: str, uid: str) -> Obj:
    """The metav1.Status of a deletion that is done."""
    details = {"name": name, "group": group, "kind": r_kind, "uid": uid}
    details = {key: value for key, value in details.items() if value or key == "name"}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def read_document(request: web.Request) -> Any:
    """The body as JSON, YAML or protobuf; without a Content-Type, JSON. None if there is none. Raises ApiError."""
    body = await _body(request)
    if not body:
        return None
    kind = request.content_type if "Content-Type" in request.headers else "application/json"
    if kind in ("application/json", "application/octet-stream"):
        return _from_json(body)
    if kind in ("application/yaml", "text/yaml", "application/x-yaml"):
        return _from_yaml(body)
    if kind == protobuf.CONTENT_TYPE:
        return protobuf.decode(body)
    raise unsupported_media(_UNKNOWN_FORMAT + f"application/json, application/yaml, {protobuf.CONTENT_TYPE}")


async def read_patch(request: web.Request) -> Patch:
    """The body of a PATCH request and how it is meant. Raises ApiError 400 or 415."""
    kind = _PATCH_KINDS.get(request.content_type)
    if kind is None:
        raise unsupported_media(_UNKNOWN_FORMAT + ", ".join(_PATCH_KINDS))
    body = await _body(request)
    return Patch(kind, _from_yaml(body) if kind == "apply" else _from_json(body))


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        text = f"Request entity too large: limit is {MAX_BODY}"
        raise ApiError(413, "RequestEntityTooLarge", text) from error


def _from_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def _from_yaml(body: bytes) -> Any:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(body, Loader=_Loader)):
            raise bad_request("error parsing YAML: aliases, which can grow without bound, are not supported")
        return yaml.load(body, Loader=_Loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_request(f"error parsing YAML: {error}") from error


class _Loader(yaml.CSafeLoader):
    """YAML as the API reads it: timestamps stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def accepts(request: web.Request, shape: str) -> bool:
    """Whether the client asks for a shape (``Table``, ``PartialObjectMetadata``) before plain JSON."""
    for entry in request.headers.get("Accept", "").split(","):
        found = re.search(r";\s*as=(\w+)", entry)
        if found is None:
            if entry.strip().startswith(("application/json", "*/*")):
                return False
        elif found[1] == shape and re.search(r"v=v1(;|$|\s)", entry + ";"):
            return True
    return False
