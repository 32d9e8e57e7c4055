"""Lines in and lines out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

STDIN = 0


class Stdin:
    """Lines of standard input, without ever blocking on a half one."""

    def __init__(self) -> None:
        self.closed = False
        self._buffer = b""

    def receive(self) -> None:
        """What is there, once select says that something is."""
        data = os.read(STDIN, 65536)
        self.closed = not data
        self._buffer += data

    def line(self) -> str | None:
        """The next line, waiting for it; None at the end of the input."""
        while b"\n" not in self._buffer and not self.closed:
            self.receive()
        line, separator, self._buffer = self._buffer.partition(b"\n")
        return line.decode() if separator else None


class Out:
    """Lines of JSON on standard output, written together."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, message: Mapping[str, Any]) -> None:
        self._lines.append(json.dumps(message, separators=(",", ":")))

    def flush(self) -> None:
        if self._lines:
            sys.stdout.write("\n".join(self._lines) + "\n")
            sys.stdout.flush()
            self._lines.clear()
