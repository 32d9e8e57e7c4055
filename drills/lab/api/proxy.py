"""The proxy subresource of services and pods: an HTTP request through the API to what runs in the lab.

Requests leave from the lab's underlay, as those of a real API server leave from its node.
"""

from __future__ import annotations

from collections.abc import Iterable

import aiohttp
from aiohttp import web
from yarl import URL

from drills.lab.api.errors import ApiError, bad_request
from drills.lab.api.paths import Target
from drills.lab.api.resources import ENDPOINTS, SERVICES
from drills.lab.api.store import Store
from drills.lab.api.types import Obj

_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)  # seconds
_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "host", "content-length", "authorization", "accept-encoding", "content-encoding",
}  # fmt: skip


class Proxy:
    """Sends requests on to services and pods of a Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def forward(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Send the request on and its answer back. Raises ApiError 400, 404, 503."""
        scheme, name, port = _split(target.name or "")
        base = self._service(target, name, port) if target.resource is SERVICES else self._pod(target, name, port)
        url = URL(f"{scheme}://{base}/{target.rest}")
        if asked := request.rel_url.raw_query_string:
            url = URL(f"{url}?{asked}", encoded=True)  # as it came: decoded and encoded again it would be another
        headers = [(key, value) for key, value in request.headers.items() if key.lower() not in _HOP]
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.request(
                    request.method, url, headers=headers, data=await request.read() or None, allow_redirects=False,
                    ssl=False,
                ) as upstream,
            ):  # fmt: skip
                kept = [(key, value) for key, value in upstream.headers.items() if key.lower() not in _HOP]
                return web.Response(body=await upstream.read(), status=upstream.status, headers=kept)
        except (aiohttp.ClientError, TimeoutError) as error:
            text = f"error trying to reach service: {error or type(error).__name__}"
            raise ApiError(503, "ServiceUnavailable", text) from error

    def _service(self, target: Target, name: str, port: str) -> str:
        service = self._store.get(SERVICES, target.namespace, name)
        endpoints = self._store.find(ENDPOINTS, target.namespace, name) or {}
        chosen = _service_port((service.get("spec") or {}).get("ports") or (), port)
        if chosen is None:
            text = f'no service port "{port}" found for service "{name}"'
            raise ApiError(503, "ServiceUnavailable", text)
        for subset in endpoints.get("subsets") or ():
            for entry in subset.get("ports") or ():
                if entry.get("name", "") == chosen.get("name", "") and subset.get("addresses"):
                    return f"{subset['addresses'][0]['ip']}:{entry['port']}"
        raise ApiError(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')

    def _pod(self, target: Target, name: str, port: str) -> str:
        pod = self._store.get(target.resource, target.namespace, name)
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise bad_request(f"address not allowed: pod {name} has no address yet")
        declared = [
            entry["containerPort"]
            for container in pod["spec"]["containers"]
            for entry in container.get("ports") or ()
            if not port or port in (entry.get("name"), str(entry["containerPort"]))
        ]
        number = declared[0] if declared else port or 80
        return f"{address}:{number}"


def _split(text: str) -> tuple[str, str, str]:
    """``[http:|https:]name[:port]``. Raises ApiError 400."""
    parts = text.split(":")
    if len(parts) == 3 and parts[0] in ("http", "https", ""):
        return parts[0] or "http", parts[1], parts[2]
    if len(parts) > 2 or not parts[0]:
        raise bad_request(f'invalid service request "{text}"')
    return "http", parts[0], parts[1] if len(parts) == 2 else ""


def _service_port(ports: Iterable[Obj], wanted: str) -> Obj | None:
    listed = list(ports)
    if not wanted and len(listed) == 1:
        return listed[0]
    return next((entry for entry in listed if wanted in (entry.get("name"), str(entry.get("port")))), None)
