"""From sockets on the host's loopback to services inside the lab, for the engine and a user's browser."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

CHUNK = 1 << 16

Address = tuple[str, int]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Relays:
    """Accepts on the given listeners and pumps bytes both ways; a refusal inside closes the client's connection."""

    def __init__(self, listeners: Mapping[str, socket.socket], targets: Mapping[str, Address]) -> None:
        self._listeners = listeners
        self._targets = targets
        self._servers: list[asyncio.Server] = []

    async def start(self) -> None:
        for name, target in self._targets.items():
            self._servers.append(await asyncio.start_server(_relay_to(target), sock=self._listeners[name]))

    def stop(self) -> None:
        """Accept nothing more; open connections end with the lab."""
        for server in self._servers:
            server.close()


def _relay_to(target: Address) -> Handler:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection(*target)
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        finally:
            inner_writer.close()
            writer.close()

    return relay


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
    with suppress(OSError, RuntimeError):
        if writer.can_write_eof():
            writer.write_eof()
