"""A command inside a sandbox, with its streams: what containers, exec and exec probes have in common."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

CHUNK = 65536


class Process:
    """A running command; also what the API's exec talks to (`ContainerProcess`)."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: Terminal | None = None) -> None:
        self._process = process
        self._terminal = terminal

    @classmethod
    async def start(
        cls, command: Sequence[str], env: Mapping[str, str], *, stdin: bool = False, tty: bool = False
    ) -> Process:
        """Start a sandbox's command (see `Sandbox.command`) in a session of its own.

        Cancelled in the middle it leaves nothing: asyncio would kill nsenter and wait for ever for the command inside.
        """
        begin = cls._on_terminal(command, env) if tty else cls._on_pipes(command, env, stdin=stdin)
        starting = asyncio.create_task(begin)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            (await starting).kill()
            raise

    @classmethod
    async def _on_pipes(cls, command: Sequence[str], env: Mapping[str, str], *, stdin: bool) -> Process:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(env),
            start_new_session=True,
        )
        return cls(process)

    @classmethod
    async def _on_terminal(cls, command: Sequence[str], env: Mapping[str, str]) -> Process:
        master, slave = os.openpty()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env={"TERM": "xterm", **env},
                start_new_session=True,
            )
        except OSError:
            os.close(master)
            raise
        finally:
            os.close(slave)
        return cls(process, await Terminal.open(master))

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        """Chunks of standard output, or of the terminal, until it is closed."""
        return _chunks(self._terminal.reader if self._terminal else self._process.stdout)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        """Chunks of standard error until it is closed; nothing on a terminal."""
        return _chunks(self._process.stderr)

    async def write(self, data: bytes) -> None:
        """Write to standard input; a process that no longer reads is no error."""
        if self._terminal:
            self._terminal.write(data)
        elif self._process.stdin is not None:
            with suppress(BrokenPipeError, ConnectionResetError):
                self._process.stdin.write(data)
                await self._process.stdin.drain()

    async def close_stdin(self) -> None:
        """End standard input; on a terminal that is its end-of-file character."""
        if self._terminal:
            self._terminal.write(b"\x04")
        elif self._process.stdin is not None:
            self._process.stdin.close()

    async def wait(self) -> int:
        """Wait for the end: exit status, 128 + signal if a signal ended it."""
        status = await self._process.wait()
        return 128 - status if status < 0 else status

    @property
    def ended(self) -> bool:
        """Whether the command has ended."""
        return self._process.returncode is not None

    def terminate(self) -> None:
        """Ask the command itself to end (SIGTERM), not the nsenter around it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the command and what is left of its process group; does nothing if all have ended."""
        self._signal(signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; does nothing without a terminal."""
        if self._terminal:
            self._terminal.resize(columns, rows)

    def close(self) -> None:
        """Let go of the terminal."""
        if self._terminal:
            self._terminal.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.ended:
            return
        for pid in _children(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


class Terminal:
    """The master side of a pseudo terminal on the event loop."""

    def __init__(self, master: int, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._master = master
        self._transport = transport
        self.reader = reader

    @classmethod
    async def open(cls, master: int) -> Terminal:
        """Take over the descriptor."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        file = os.fdopen(master, "r+b", buffering=0)
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        return cls(master, reader, transport)

    def write(self, data: bytes) -> None:
        """Type."""
        with suppress(OSError):
            os.write(self._master, data)

    def resize(self, columns: int, rows: int) -> None:
        """Tell the programs on the terminal its size."""
        with suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close(self) -> None:
        """Hang up."""
        self._transport.close()


async def _chunks(reader: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    if reader is None:
        return
    with suppress(OSError):  # a terminal whose last program has gone reads as an I/O error
        while chunk := await reader.read(CHUNK):
            yield chunk


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
