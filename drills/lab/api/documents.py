"""What the server answers that is no object: discovery, OpenAPI, its version, its health."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from drills.lab.api import discovery, openapi
from drills.lab.api.http import answer
from drills.lab.api.paths import no_such_path
from drills.lab.api.types import Obj

OPEN_PATHS = ("/healthz", "/livez", "/readyz", "/version")  # as system:public-info-viewer

_SIMPLE: dict[str, Callable[[], Obj]] = {
    "/version": lambda: discovery.VERSION,
    "/api": discovery.core_versions,
    "/api/v1": lambda: discovery.resource_list("", "v1"),
    "/apis": discovery.group_list,
    "/openapi/v3": openapi.index,
}


async def document(request: web.Request) -> web.StreamResponse:
    """Answer a GET request. Raises ApiError 404."""
    path = request.path.rstrip("/")
    if path in _SIMPLE:
        return answer(_SIMPLE[path]())
    if path in OPEN_PATHS:
        return web.Response(text="ok")
    if path == "/openapi/v2":  # an empty document in protobuf: kubectl looks here for kinds that v3 lacks
        return web.Response(content_type="application/com.github.proto-openapi.spec.v2.v1.0+protobuf")
    if path.startswith("/openapi/v3/"):
        return web.Response(body=openapi.document(path.removeprefix("/openapi/v3/")), content_type="application/json")
    return answer(_of_group(path.split("/")[1:]))


def _of_group(parts: list[str]) -> Obj:
    if parts[0] == "apis" and len(parts) == 2:
        return discovery.group(parts[1])
    if parts[0] == "apis" and len(parts) == 3:
        return discovery.resource_list(parts[1], parts[2])
    raise no_such_path()
