"""What a person sees of a run: a live view on a terminal, plain lines elsewhere, the verdict block at the end.

The engine calls the console from its threads and must never suffer from it: a pipe that the reader has closed makes
the console fall silent, not the drill fail.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.live import Live
from rich.text import Text

from drills.engine.events import Event, Note, RunFinished, RunStarted
from drills.report import live
from drills.report.lines import Lines
from drills.report.summary import summarise
from drills.report.text import plain
from drills.report.view import RunView, advance

Clock = Callable[[], float]
REFRESHES = 4  # a second


class _Face(Protocol):
    def show(self, event: Event) -> None: ...

    def say(self, line: str) -> None: ...

    def close(self) -> None: ...


class Console:
    """Listens to a run and shows it; may be called from any thread, and from a signal handler that interrupts one of
    its own calls: whoever finds it busy leaves what it has to say to the one that is at it. A context manager, so that
    the cursor comes back.

    ``stream`` is standard output by default, ``environ`` is asked for NO_COLOR, TERM and COLUMNS, ``clock`` is
    monotonic.
    """

    def __init__(
        self, stream: TextIO | None = None, *, environ: Mapping[str, str] | None = None, clock: Clock = time.monotonic
    ) -> None:
        stream = sys.stdout if stream is None else stream
        environ = os.environ if environ is None else environ
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the encoding lacks must not end the report
        on_terminal = stream.isatty() and environ.get("TERM", "") not in {"", "dumb", "unknown"}
        self._face: _Face = _Terminal(stream, environ, clock) if on_terminal else _Plain(stream, clock)
        self._actions: deque[Callable[[], None]] = deque()
        self._busy = threading.Lock()
        self._silent = False

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._soon(lambda: self._face.show(event))

    def say(self, text: str) -> None:
        """A line that belongs to no drill: what the lab does, what an interrupt means."""
        self._soon(lambda: self._face.say(plain(text)))

    def files(self, paths: Iterable[Path]) -> None:
        """Say where the reports lie."""
        for path in paths:
            self.say(f"{_kind(path)}: {path}")

    def close(self) -> None:
        """Show what is left and end the live view; what comes afterwards is not shown."""
        with self._busy:
            self._act()
            self._guarded(self._face.close)
            self._silent = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _soon(self, action: Callable[[], None]) -> None:
        self._actions.append(action)
        while self._actions and self._busy.acquire(blocking=False):
            try:
                self._act()
            finally:
                self._busy.release()

    def _act(self) -> None:
        while self._actions:
            self._guarded(self._actions.popleft())

    def _guarded(self, action: Callable[[], None]) -> None:
        if self._silent:
            return
        try:
            action()
        except (OSError, ValueError):  # the reader is gone: a closed pipe, a closed file, a full disk
            self._silent = True


def _kind(path: Path) -> str:
    kinds = {".json": "Result", ".xml": "JUnit", ".html": "Report", ".jsonl": "Journal"}
    return kinds.get(path.suffix, "File")


class _Plain:
    """One line for each change."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._lines = Lines()

    def show(self, event: Event) -> None:
        self._write(self._lines.of(event, self._clock()))

    def say(self, line: str) -> None:
        self._write([line])

    def close(self) -> None:
        self._stream.flush()

    def _write(self, lines: list[str]) -> None:
        if lines:
            self._stream.write("".join(line + "\n" for line in lines))
            self._stream.flush()


class _Terminal:
    """A view that is drawn again several times a second, from an immutable picture: no lock is shared with rich."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str], clock: Clock) -> None:
        self._console = RichConsole(
            file=stream, highlight=False, markup=False, emoji=False, legacy_windows=False, _environ=environ
        )
        self._clock = clock
        self._view = RunView()
        self._live: Live | None = None

    def show(self, event: Event) -> None:
        self._view = advance(self._view, event, self._clock())
        match event:
            case RunStarted():
                self.close()
                self._live = Live(
                    console=self._console,
                    get_renderable=self._draw,
                    refresh_per_second=REFRESHES,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=sys.stderr.isatty(),  # the log goes above the view, or to its file
                )
                self._live.start()
            case Note():
                self._print(Text(f"{plain(event.drill)}: {plain(event.text)}", style="dim"))
            case RunFinished():
                self.close()
                unicode = self._console.encoding.lower().startswith("utf")
                self._print(live.verdict(summarise(event.result), self._console.width, unicode))

    def say(self, line: str) -> None:
        self._print(Text(line, overflow="fold"))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        return live.running(self._view, self._clock(), self._console.width)

    def _print(self, renderable: RenderableType) -> None:
        self._console.print(renderable)
