"""Logs and exec: the two long conversations with a container.

exec speaks the WebSocket subprotocols v4.channel.k8s.io and v5.channel.k8s.io
(k8s.io/apimachinery/pkg/util/remotecommand/constants.go): the first byte of a message is its channel,
0 to 2 the standard streams, 3 the outcome, 4 the terminal's size, and in v5 255 closes the channel that
follows. kubectl before 1.30 speaks SPDY, which is not served.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from aiohttp import WSMsgType, web

from drills.lab.api.containers import ContainerProcess, Containers, ExecError
from drills.lab.api.conversations import Conversations, client_left
from drills.lab.api.errors import bad_request
from drills.lab.api.http import encode
from drills.lab.api.paths import Target, flag, number
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, annotations_of

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _OUTCOME, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_LOOK_SECONDS = 5.0  # how often an idle log looks whether its reader is still there
_GRACE_SECONDS = 2.0  # for a command whose client has left: from the end of its input to its own


def container_of(pod: Obj, asked: str | None) -> str:
    """The container that is meant. Raises ApiError 400 if that is not clear or there is no such container."""
    spec, name = pod.get("spec") or {}, pod["metadata"]["name"]
    names = [container["name"] for container in spec.get("containers") or ()]
    others = [each["name"] for kind in ("initContainers", "ephemeralContainers") for each in spec.get(kind) or ()]
    chosen = asked or annotations_of(pod).get("kubectl.kubernetes.io/default-container")
    if not chosen:
        if len(names) != 1:
            listed = " ".join(names)
            raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{listed}]")
        chosen = names[0]
    if chosen not in (*names, *others):
        raise bad_request(f"container {chosen} is not valid for pod {name}")
    return str(chosen)


class Streams:
    """Logs of and commands in the pods of a Store."""

    def __init__(self, store: Store, containers: Containers, conversations: Conversations) -> None:
        self._store = store
        self._containers = containers
        self._conversations = conversations

    async def log(self, request: web.Request, target: Target) -> web.StreamResponse:
        """``GET .../pods/NAME/log``. Raises ApiError."""
        with self._conversations.one():
            return await self._log(request, target)

    async def exec(self, request: web.Request, target: Target) -> web.StreamResponse:
        """``GET .../pods/NAME/exec`` as a WebSocket. Raises ApiError before the upgrade."""
        with self._conversations.one():
            return await self._exec(request, target)

    def _pod(self, target: Target) -> Obj:
        return self._store.get(target.resource, target.namespace, target.name or "")

    async def _log(self, request: web.Request, target: Target) -> web.StreamResponse:
        pod, query = self._pod(target), request.query
        lines = self._containers.logs(
            pod,
            container_of(pod, query.get("container")),
            follow=flag(query, "follow"),
            tail=number(query, "tailLines"),
            since=_log_start(query),
            previous=flag(query, "previous"),
            timestamps=flag(query, "timestamps"),
        )
        try:
            first = await anext(lines, b"")
        except ExecError as error:
            raise bad_request(str(error)) from error
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, ExecError):
            await _send_lines(request, response, first, lines, number(query, "limitBytes"))
        return response

    async def _exec(self, request: web.Request, target: Target) -> web.StreamResponse:
        pod, query = self._pod(target), request.query
        container = container_of(pod, query.get("container"))
        command = query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least one command for the container")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("exec is served over WebSocket only: kubectl 1.30 or later, or the official clients")
        stdin, tty = flag(query, "stdin"), flag(query, "tty")
        socket = web.WebSocketResponse(protocols=_PROTOCOLS)
        await socket.prepare(request)
        try:
            process = await self._containers.exec(pod, container, command, stdin=stdin, tty=tty)
        except ExecError as error:
            await _send_outcome(socket, _failed_to_start(str(error)))
        else:
            await _converse(socket, process)
        await socket.close()
        return socket


def _log_start(query: Mapping[str, str]) -> float | None:
    """Seconds since the epoch from which on lines are wanted. Raises ApiError 400."""
    seconds = number(query, "sinceSeconds")
    if seconds is not None:
        return time.time() - seconds
    text = query.get("sinceTime")
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except ValueError as error:
        raise bad_request(f'invalid sinceTime: "{text}"') from error


async def _send_lines(
    request: web.Request, response: web.StreamResponse, line: bytes, lines: AsyncIterator[bytes], limit: int | None
) -> None:
    following: asyncio.Future[bytes] | None = None
    try:
        while line:
            piece = line if limit is None else line[:limit]
            await response.write(piece)
            if limit is not None and (limit := limit - len(piece)) <= 0:
                return
            following = asyncio.ensure_future(anext(lines, b""))
            while not (await asyncio.wait({following}, timeout=_LOOK_SECONDS))[0]:
                if client_left(request):
                    return
            line = following.result()
    finally:
        if following is not None and not following.done():
            following.cancel()


async def _converse(socket: web.WebSocketResponse, process: ContainerProcess) -> None:
    """Carry a command's streams until it ends or its client leaves; then nothing of it goes on running."""
    incoming = asyncio.create_task(_receive(socket, process))
    outgoing = asyncio.create_task(_finish(socket, process))
    try:
        await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
        if not outgoing.done():
            await process.close_stdin()
            await asyncio.wait({outgoing}, timeout=_GRACE_SECONDS)
    finally:
        process.kill()
        for task in (incoming, outgoing):
            task.cancel()
        results = await asyncio.gather(incoming, outgoing, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result


async def _finish(socket: web.WebSocketResponse, process: ContainerProcess) -> None:
    async def pump(channel: int, stream: AsyncIterator[bytes]) -> None:
        async for data in stream:
            await socket.send_bytes(bytes((channel,)) + data)

    pumps = [asyncio.create_task(pump(_STDOUT, process.stdout)), asyncio.create_task(pump(_STDERR, process.stderr))]
    try:
        await asyncio.gather(*pumps)
        await _send_outcome(socket, _outcome(await process.wait()))
    finally:
        for task in pumps:
            task.cancel()


async def _receive(socket: web.WebSocketResponse, process: ContainerProcess) -> None:
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            data = message.data.encode()
        elif message.type == WSMsgType.BINARY:
            data = message.data
        else:
            return
        if data:
            await _deliver(process, data[0], data[1:])


async def _deliver(process: ContainerProcess, channel: int, data: bytes) -> None:
    if channel == _STDIN and data:
        await process.write(data)
    elif channel == _CLOSE and data[:1] == bytes((_STDIN,)):
        await process.close_stdin()
    elif channel == _RESIZE:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            size = json.loads(data)
            process.resize(int(size["Width"]), int(size["Height"]))


async def _send_outcome(socket: web.WebSocketResponse, status: Obj) -> None:
    await socket.send_bytes(bytes((_OUTCOME,)) + encode({"metadata": {}, **status}))


def _outcome(code: int) -> Obj:
    if code == 0:
        return {"status": "Success"}
    return {
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failed_to_start(why: str) -> Obj:
    text = f"error executing command in container: {why}"
    return {
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }
