"""``python -m drills.capture``: see the package for the protocol."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from drills.capture.packets import Config
from drills.capture.watch import MARK_SECONDS, Capture

TELL_SECONDS = 1.0


def say(**what: Any) -> None:
    """One line of the output."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Input:
    """Lines of standard input, without waiting for them."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""

    def fileno(self) -> int:
        """For select."""
        return sys.stdin.fileno()

    def lines(self) -> list[str]:
        """The lines that are complete; reads once, which does not wait when there is something to read."""
        data = os.read(self.fileno(), 65536)
        self.ended = not data
        *complete, self._rest = (self._rest + data).split(b"\n")
        return [line.decode() for line in complete if line.strip()]


def until(capture: Capture, moment: float, done: Callable[[], bool], words: Input | None = None) -> list[str]:
    """Count until a moment of the monotonic clock, until ``done``, or until something is said."""
    while not done() and (rest := moment - time.monotonic()) > 0:
        taps = {tap.fileno(): tap for tap in capture.taps.values()}
        ready, _, _ = select.select([*taps, *([words.fileno()] if words else [])], [], [], rest)
        for descriptor in ready:
            if descriptor in taps:
                capture.read(taps[descriptor])
        if words is not None and words.fileno() in ready:
            return words.lines()
    return []


def finish(capture: Capture) -> None:
    """Look at what has come until now, and tell everything."""
    for tap in capture.taps.values():
        capture.read(tap)
    say(end=capture.end())


def run(capture: Capture, words: Input) -> None:
    """Count and answer until the input ends."""
    say(ready={"interfaces": sorted(capture.taps), "at": time.time()})
    due = time.monotonic() + TELL_SECONDS
    while not words.ended:
        for line in until(capture, due, lambda: False, words):
            said = json.loads(line)
            if "end" in said:
                finish(capture)
                return
            sent = capture.send_mark(name := str(said["mark"]))
            until(capture, time.monotonic() + MARK_SECONDS, lambda sent=sent: capture.all_seen(sent))  # type: ignore[misc]
            say(**capture.mark(name, sent))
        if time.monotonic() >= due:
            capture.look_around()
            say(state=capture.state())
            due += TELL_SECONDS
    finish(capture)


def main() -> int:
    """Exit status 2 if it was spoken to in another language, 1 if it may not watch."""
    words = Input()
    try:
        line = ""
        while not line and not words.ended:
            line = next(iter(words.lines()), "")
        run(Capture(Config.read(line)), words)
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    except OSError as error:
        say(error=f"this node's packets cannot be watched: {error.strerror or error}")
        return 1
    except (ValueError, TypeError, KeyError) as error:
        say(error=f"the capture was not understood: {type(error).__name__}: {error}"[:300])
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
