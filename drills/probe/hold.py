"""``python -m drills.probe.hold NAME SECONDS``: keeps a container open for a probe, and ends by itself in time.

An ephemeral container has no deadline of its own and cannot be removed, so what runs in it must end. ``--end NAME``
from the same container ends it before: the signal goes to the process that carries the name, not to process 1, which is
another's where a pod shares its process namespace.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

MODULE = "drills.probe.hold"


def hold(seconds: float) -> int:
    """Wait until the time is up or SIGTERM comes."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    over.wait(seconds)
    return 0


def end(name: str, proc: Path = Path("/proc")) -> int:
    """Tell whoever holds under a name to end; 0 if there was one, 3 if there is none (any more)."""
    found = list(holders(name, proc))
    for pid in found:
        os.kill(pid, signal.SIGTERM)
    return 0 if found else 3


def holders(name: str, proc: Path) -> Iterator[int]:
    """The processes that hold under a name, by their command line: ``... -m drills.probe.hold NAME SECONDS``."""
    for place in proc.iterdir():
        if not place.name.isdecimal():
            continue
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended
        if words[-4:-2] == [MODULE, name]:  # the last two: SECONDS, and what is behind the final zero
            yield int(place.name)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--end", name]:
            sys.exit(end(name))
        case [_, seconds]:
            sys.exit(hold(float(seconds)))
    sys.exit(f"usage: python -m {MODULE} NAME SECONDS | --end NAME")
