"""Signals only set events: the first stops the attacks, the second skips the waiting, the third leaves.

Whatever was changed is undone after the first and after the second. Only the third leaves at once, and
names the way to finish.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LEFT = 4


class Interrupt:
    """What the user, or a guard, asked for: ``stop`` ends the attacks, ``hurry`` ends the waiting as well."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.stop = threading.Event()
        self.hurry = threading.Event()
        self.reason: str | None = None
        self._say = say
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def abort(self, reason: str) -> None:
        """Stop as the first signal does; the first reason stays."""
        if self.reason is None:
            self.reason = reason
        self.stop.set()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        name = signal.Signals(number).name
        if not self.stop.is_set():
            self.abort(f"interrupted by {name}")
            self._say("Stopping the attack and putting everything back; once more skips the waiting.")
        elif not self.hurry.is_set():
            self.hurry.set()
            self._say("Skipping the waiting; once more leaves at once.")
        else:
            os.write(2, b"Left at once: `drills recover` puts back what is left.\n")
            os._exit(LEFT)
