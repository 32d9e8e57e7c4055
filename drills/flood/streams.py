"""Lines of JSON in and out, beside greenlets: nothing here blocks the others."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import gevent.os

STDIN = 0


class Out:
    """Standard output, taken away from everybody else: a locustfile's prints go to standard error."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def write(self, message: Mapping[str, Any]) -> None:
        """One message."""
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]


class Lines:
    """Standard input, line by line."""

    def __init__(self) -> None:
        gevent.os.make_nonblocking(STDIN)
        self._buffer = b""

    def next(self) -> str | None:
        """The next line, waiting for it; None at the end of the input."""
        while b"\n" not in self._buffer:
            data = gevent.os.nb_read(STDIN, 65536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()
