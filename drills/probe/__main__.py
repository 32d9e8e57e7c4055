"""``python -m drills.probe``: see the package for the protocol."""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import time
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from drills.probe.attempt import Attempt
from drills.probe.config import Config
from drills.probe.pace import Run
from drills.probe.streams import Out, Stdin

KINDS = {"http": "HttpAttempt", "tcp": "TcpAttempt", "dns": "DnsAttempt", "postgres": "PostgresAttempt"}


def _kind(name: str) -> type[Attempt]:
    """Imports only what this kind of attempt needs."""
    if name not in KINDS:
        raise ValueError(f"unknown kind of attempt: {name}")
    try:
        kind: type[Attempt] = getattr(importlib.import_module(f"drills.probe.{name}"), KINDS[name])
    except ImportError as error:
        raise ValueError(f"this pod's image cannot make {name} attempts: {error}") from None
    return kind


def resolve(host: str, port: int, seconds: float) -> tuple[tuple[str, ...], str]:
    """The addresses of a host, of one family, and why there are none. The system's resolver knows no deadline."""
    answer: SimpleQueue[Any] = SimpleQueue()
    Thread(target=lambda: answer.put(_ask(host, port)), daemon=True).start()
    try:
        found = answer.get(timeout=seconds)
    except Empty:
        return (), f"no answer from DNS within {seconds:g} s"
    if isinstance(found, str):
        return (), found
    family = found[0][0]
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found if entry[0] == family)), ""


def _ask(host: str, port: int) -> Any:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return str(error.strerror or error)


def _ready(config: Config, kind: type[Attempt], out: Out) -> tuple[str, ...]:
    began = time.monotonic()
    resolved, error = (config.addresses, "") if kind.looks_up else resolve(config.host, config.port, config.timeout)
    addresses = config.addresses if config.addresses and resolved else resolved
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
        addresses = _ready(config, kind, out)
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
