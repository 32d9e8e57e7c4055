"""``python -m drills.probe``: see the package for the protocol."""

from __future__ import annotations

import json
import os
import socket
import sys
import time

from drills.probe.attempt import Attempt
from drills.probe.config import Config
from drills.probe.pace import Run
from drills.probe.streams import Out, Stdin


def _kind(name: str) -> type[Attempt]:
    """Imports only what this kind of attempt needs."""
    if name == "http":
        from drills.probe.http import HttpAttempt  # noqa: PLC0415

        return HttpAttempt
    raise ValueError(f"unknown kind of attempt: {name}")


def resolve(host: str, port: int) -> tuple[tuple[str, ...], str]:
    """The addresses of a host, of one family, and why there are none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return (), str(error.strerror or error)
    family = found[0][0]
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found if entry[0] == family)), ""


def _ready(config: Config, out: Out) -> tuple[str, ...]:
    began = time.monotonic()
    addresses, error = (config.addresses, "") if config.addresses else resolve(config.host, config.port)
    seconds = round(time.monotonic() - began, 6)
    ready = {"id": config.id, "addresses": addresses, "error": error or None, "seconds": seconds, "at": time.time()}
    out.write({"ready": ready})
    out.flush()
    return addresses


def _go(stdin: Stdin) -> float | None:
    """When to start, by the monotonic clock; None if the input ends first."""
    line = stdin.line()
    if line is None:
        return None
    go = json.loads(line)["go"]
    wait = max(0.0, float(go["at"]) - time.time()) if isinstance(go, dict) else 0.0
    return time.monotonic() + wait


def main() -> int:
    """Runs as the protocol says. Exit status 2 if it was spoken to in another language."""
    stdin, out = Stdin(), Out()
    try:
        config = Config.read(stdin.line() or "")
        kind = _kind(config.kind)
        addresses = _ready(config, out)
        start = _go(stdin)
        if start is not None:
            Run(config, kind, addresses, out).until_done(start, stdin)
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    except (ValueError, TypeError, KeyError) as error:
        out.write({"error": f"the probe was not understood: {type(error).__name__}: {error}"[:300]})
        out.flush()
        return 2
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
