"""Logs of containers: one file per start, lines with the time of their arrival (the CRI's format)."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

LIMIT = 10 * 1024 * 1024  # bytes kept of one start, as kubelet's containerLogMaxSize


class LogFile:
    """What one start of a container writes. Lines are ``TIME STREAM F TEXT``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._rest = {"stdout": b"", "stderr": b""}
        self._changed = asyncio.Event()
        self.closed = False

    def write(self, stream: str, chunk: bytes) -> None:
        """Append a chunk; a line is written when it is complete."""
        whole, newline, self._rest[stream] = (self._rest[stream] + chunk).rpartition(b"\n")
        if newline:
            self._append(stream, whole)

    def close(self) -> None:
        """Write what is left without a newline, and end every follower."""
        for stream, rest in self._rest.items():
            if rest:
                self._append(stream, rest)
        self._file.close()
        self.closed = True
        self._wake()

    @property
    def changed(self) -> asyncio.Event:
        """Is set by the next change, also by the end: take it before looking, then wait for it."""
        return self._changed

    def _append(self, stream: str, lines: bytes) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        prefix = f"{now} {stream} F ".encode()
        if self._file.tell() > LIMIT:
            self._file.truncate(0)
        self._file.write(prefix + lines.replace(b"\n", b"\n" + prefix) + b"\n")
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def read(
    log: LogFile, *, follow: bool, tail: int | None, since: float | None, timestamps: bool
) -> AsyncIterator[bytes]:
    """Lines of a log as `kubectl logs` wants them."""
    with log.path.open("rb") as file:
        for line in _last(_written_after(file, since), tail):
            yield _shown(line, timestamps=timestamps)
        while follow:
            changed, ended = log.changed, log.closed
            if file.tell() > os.fstat(file.fileno()).st_size:  # the log was cut
                file.seek(0)
            for line in file:
                yield _shown(line, timestamps=timestamps)
            if ended:
                return
            await changed.wait()


def _written_after(lines: Iterable[bytes], since: float | None) -> Iterator[bytes]:
    if since is None:
        yield from lines
        return
    limit = datetime.fromtimestamp(since, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z").encode()
    yield from (line for line in lines if line.partition(b" ")[0] >= limit)


def _last(lines: Iterable[bytes], tail: int | None) -> Iterable[bytes]:
    return lines if tail is None else deque(lines, maxlen=tail)


def _shown(line: bytes, *, timestamps: bool) -> bytes:
    time, _stream, _flag, text = line.split(b" ", 3)
    return time + b" " + text if timestamps else text
