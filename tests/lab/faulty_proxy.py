"""A proxy that misbehaves on purpose, in front of a real API server, Prometheus and Alertmanager: HTTPS and WebSocket.

A plan says of each call, by what it is and how often it came before, which fault it gets; without one it is passed on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self, TypeVar

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from drills.lab import certificates

T = TypeVar("T")


class Fault(StrEnum):
    """What a call may get instead of its answer. ``LOST``: it is done, and the answer never comes; ``DROPPED``: a
    WebSocket that ends in the middle.
    """

    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    CONFLICT = "409"
    GONE = "410"
    BUSY = "429"
    BUSY_FOR_A_SECOND = "429 "  # it says so: Retry-After
    BROKEN = "500"
    AWAY = "503"
    SLOW = "slow"
    CLOSED = "closed"
    LOST = "lost"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    DROPPED = "dropped"

    @property
    def status(self) -> int | None:
        """Of those that are an answer."""
        return int(self) if self.strip().isdecimal() else None


@dataclass(frozen=True, order=True)
class Call:
    """A kind of call: ``what`` is its path without the names that differ from run to run; for a command, that."""

    server: str
    method: str
    what: str

    def __str__(self) -> str:
        return f"{self.server} {self.method} {self.what}"


Plan = Callable[[Call, int], Fault | None]


@dataclass(frozen=True)
class Upstream:
    """What stands behind: a URL, and for https what to trust."""

    url: str
    trust: ssl.SSLContext | None = None


def behave(_: Call, __: int) -> Fault | None:
    """The plan of a good day."""
    return None


_NAMES = (
    (re.compile(r"drills-undo-[-0-9a-f]+"), "UNDO"),
    (re.compile(r"drill-capture-[a-z0-9-]+-[0-9a-f]{6}"), "CAPTURE"),
    (re.compile(r"drill-[a-z-]+-[0-9a-f]{6}-[0-9]+"), "DRILL"),
    (re.compile(r"/silence/[-0-9a-f]+"), "/silence/ID"),
    (re.compile(r"/cilium-[a-z0-9]{5}/"), "/AGENT/"),
    (re.compile(r"(http-api|frontend|backend)-[a-z0-9]{8,10}-[a-z0-9]{5}"), r"\1-POD"),
    (re.compile(r"\d+"), "N"),
)
_SLOW = 30.0
_OWN = {"host", "content-length", "transfer-encoding", "connection", "content-encoding", "accept-encoding"}


class FaultyProxy:
    """One listener for each upstream, in a thread of its own. A context manager; ``folder`` takes its certificates."""

    def __init__(self, upstreams: Mapping[str, Upstream], folder: Path) -> None:
        self.plan: Plan = behave
        self.calls: list[Call] = []
        self.faults: list[tuple[Call, Fault]] = []
        self.ports: dict[str, int] = {}
        self.authority = folder / "ca.crt"
        self._upstreams = upstreams
        self._folder = folder
        self._lock = threading.Lock()
        self._counts: Counter[Call] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy")
        self._ended: asyncio.Event
        self._transports: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, server: str) -> str:
        """Where a client goes instead of to the upstream."""
        return f"https://127.0.0.1:{self.ports[server]}"

    def begin(self, plan: Plan = behave) -> None:
        """From now on this plan; calls are counted anew."""
        with self._lock:
            self.plan = plan
            self._counts.clear()
            self.calls, self.faults = [], []

    def _do(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(timeout=20)

    async def _start(self) -> None:
        self._ended = asyncio.Event()
        own = (await certificates.make(self._folder)).server_context()
        self._client = aiohttp.ClientSession()
        self._runners = []
        for name, upstream in self._upstreams.items():
            app = web.Application(client_max_size=1 << 26)
            app.router.add_route("*", "/{path:.*}", self._handler(name, upstream))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=own)
            await site.start()
            self.ports[name] = runner.addresses[0][1]
            self._runners.append(runner)

    async def _stop(self) -> None:
        self._ended.set()
        for runner in self._runners:
            await runner.cleanup()
        await self._client.close()
        for transport in list(self._transports):
            transport.abort()  # not closed: TLS would wait for the client's farewell
        for _ in range(10):
            await asyncio.sleep(0)  # until they are gone

    def _handler(self, name: str, upstream: Upstream) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = Call(name, request.method, kind(request))
            if isinstance(request.transport, asyncio.Transport):
                self._transports.add(request.transport)
            fault = self._fault(call)
            if fault is Fault.CLOSED:
                return _hang_up(request)
            if fault is Fault.SLOW:
                await self._dawdle()
                return _hang_up(request)
            if fault is not None and fault.status is not None:
                return refusal(fault.status, 1 if fault is Fault.BUSY_FOR_A_SECOND else None)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._bridge(request, upstream, fault)
            return await self._pass_on(request, upstream, fault)

        return handle

    def _fault(self, call: Call) -> Fault | None:
        with self._lock:
            self._counts[call] += 1
            self.calls.append(call)
            fault = self.plan(call, self._counts[call])
            if fault is not None:
                self.faults.append((call, fault))
            return fault

    async def _dawdle(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), _SLOW)

    async def _pass_on(self, request: web.Request, upstream: Upstream, fault: Fault | None) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _OWN}
        url = URL(upstream.url + request.raw_path, encoded=True)
        data = await request.read() or None
        trust = upstream.trust or True
        async with self._client.request(
            request.method, url, headers=headers, data=data, ssl=trust, allow_redirects=False
        ) as answer:
            body = await answer.read()
        if fault is Fault.LOST:
            return _hang_up(request)
        kept = {key: value for key, value in answer.headers.items() if key.lower() not in _OWN}
        if fault is Fault.GARBAGE:
            return web.Response(text="<html>Welcome to the hotel's network</html>", content_type="text/html")
        if fault is not Fault.TRUNCATED:
            return web.Response(body=body, status=answer.status, headers=kept)
        response = web.StreamResponse(status=answer.status, headers=kept)
        response.content_length = len(body) + 1
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()  # what was written goes out first
        return response

    async def _bridge(self, request: web.Request, upstream: Upstream, fault: Fault | None) -> web.StreamResponse:
        protocols = [one.strip() for one in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        headers = {"Authorization": request.headers["Authorization"]}
        url = URL(upstream.url.replace("http", "ws", 1) + request.raw_path, encoded=True)
        try:
            inner = await self._client.ws_connect(
                url, protocols=protocols, headers=headers, ssl=upstream.trust or True, max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError as error:
            return refusal(error.status)
        outer = web.WebSocketResponse(protocols=(inner.protocol or "",), max_msg_size=0)
        await outer.prepare(request)
        if fault in (Fault.LOST, Fault.TRUNCATED, Fault.GARBAGE):
            await inner.close()
            return _hang_up(request, outer)
        down = asyncio.create_task(_pump(inner, outer, 3 if fault is Fault.DROPPED else None))
        up = asyncio.create_task(_pump(outer, inner, None))
        await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)
        if fault is Fault.DROPPED:
            await inner.close()
            return _hang_up(request, outer)
        await asyncio.gather(inner.close(), outer.close(), return_exceptions=True)
        return outer


async def _pump(
    source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    sink: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    most: int | None,
) -> None:
    """Messages one way, until the source ends or ``most`` have gone."""
    number = 0
    async for message in source:
        if message.type is WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await sink.send_str(message.data)
        number += 1
        if number == most:
            return


def _hang_up(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


def refusal(status: int, after: int | None = None) -> web.Response:
    """As the API server words it; Prometheus and Alertmanager word theirs otherwise."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "injected fault", "code": status}
    headers = {} if after is None else {"Retry-After": str(after)}
    return web.Response(text=json.dumps(body), status=status, content_type="application/json", headers=headers)


def kind(request: web.Request) -> str:
    """What a call is for, the same in every run."""
    found = request.path
    if request.path.endswith("/exec"):
        command = request.query.getall("command")
        found += "?" + " ".join(command[:3] if command[0] == "python" else command[:2])
    elif "query" in request.query:
        found += "?" + request.query["query"][:60]
    for pattern, name in _NAMES:
        found = pattern.sub(name, found)
    return found
