"""Commands of the lab's own that exec finds in containers without processes (`hubble`, `cilium-dbg`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

log = logging.getLogger("drills.lab.exec")

BACKLOG = 256  # chunks of output that a command may be ahead of its reader


class ExecIO:
    """A builtin command's side of its streams."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()  # set when the client has gone or kills the command
        self._in: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._out: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._err: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(BACKLOG)

    @property
    def stdin(self) -> AsyncIterator[bytes]:
        """What the client writes, until it closes standard input."""
        return _drain(self._in)

    @property
    def output(self) -> AsyncIterator[bytes]:
        """For the other side: what the command writes."""
        return self._read(self._out)

    @property
    def errors(self) -> AsyncIterator[bytes]:
        """For the other side: what the command writes to standard error."""
        return self._read(self._err)

    def feed(self, data: bytes | None) -> None:
        """For the other side: input, or None at its end."""
        self._in.put_nowait(data)

    async def write_out(self, data: bytes) -> None:
        """Write to standard output; waits for a client that reads slowly."""
        await self._put(self._out, data)

    async def write_err(self, data: bytes) -> None:
        """Write to standard error."""
        await self._put(self._err, data)

    def end(self) -> None:
        """No more output will come; what is queued can still be read."""
        self.closed.set()
        self._out.put_nowait(None)
        self._err.put_nowait(None)

    async def _put(self, queue: asyncio.Queue[bytes | None], data: bytes) -> None:
        if data and not self.closed.is_set():
            await self._room.acquire()
            queue.put_nowait(data)

    async def _read(self, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        while (data := await queue.get()) is not None:
            self._room.release()
            yield data


Builtin = Callable[[str, Sequence[str], ExecIO], Awaitable[int]]
"""``await command(node, argv, io)`` gives the exit status; ``argv[0]`` is the command's own name."""


class BuiltinProcess:
    """A builtin command that runs: what the API's exec talks to (`ContainerProcess`)."""

    def __init__(self, command: Builtin, node: str, argv: Sequence[str]) -> None:
        self._io = ExecIO()
        self._argv = argv
        self._task = asyncio.create_task(self._run(command, node), name=f"exec {argv[0]}")

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        """What the command writes."""
        return self._io.output

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        """What the command writes to standard error."""
        return self._io.errors

    async def write(self, data: bytes) -> None:
        """Hand the command more input."""
        self._io.feed(data)

    async def close_stdin(self) -> None:
        """End its input."""
        self._io.feed(None)

    async def wait(self) -> int:
        """Its exit status; 137 if it was killed."""
        await asyncio.wait({self._task})
        return 137 if self._task.cancelled() else self._task.result()

    def kill(self) -> None:
        """End it now."""
        self._io.closed.set()
        self._task.cancel()

    def resize(self, columns: int, rows: int) -> None:
        """There is no terminal."""

    async def _run(self, command: Builtin, node: str) -> int:
        try:
            return await command(node, self._argv, self._io)
        except Exception as error:  # an edge: the client gets the sentence, the log the traceback
            log.exception("%s failed", self._argv[0])
            await self._io.write_err(f"{self._argv[0]}: {error}\n".encode())
            return 1
        finally:
            self._io.end()


async def _drain(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (data := await queue.get()) is not None:
        yield data
