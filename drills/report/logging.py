"""The log on standard error: for people on a terminal, one JSON object a line otherwise; never with a secret in it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, TextIO

import structlog

from drills.engine.events import (
    AlertMoved,
    AttemptsMade,
    DrillFinished,
    Event,
    Note,
    PhaseStarted,
    RunFinished,
    RunStarted,
)
from drills.engine.result import Result
from drills.report.text import plain

_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|authori[sz]ation|cookie|credential|api[-_]?key|private", re.I
)
_SECRET_TEXT = re.compile(
    r"(?P<keep>\bbearer\s+|\bbasic\s+"
    r"|://[^/\s:@]*:(?=[^\s/@]+@)"  # a password in an address; not its port
    r"|\b(?:password|passwd|token|secret)\s*[=:]\s*)[^\s@'\",}]+",
    re.I,
)
HIDDEN = "[hidden]"
_DEPTH = 16  # of nested values that are looked into; deeper ones are hidden whole


def configure(stream: TextIO | None = None, *, environ: Mapping[str, str] | None = None, verbose: bool = False) -> None:
    """Set structlog up for this process; ``verbose`` shows debug lines, NO_COLOR in ``environ`` is honoured.

    Without ``stream`` each line goes to what ``sys.stderr`` is at that moment, so that a live view can lift it above
    itself.
    """
    environ = os.environ if environ is None else environ
    human = (sys.stderr if stream is None else stream).isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
            *(_for_people(environ) if human else _for_machines()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=lambda *_: _Writer(stream),
        cache_logger_on_first_use=False,
    )


def _for_people(environ: Mapping[str, str]) -> list[structlog.typing.Processor]:
    colours = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    renderer = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, hide_secrets, _printable, renderer]


def _for_machines() -> list[structlog.typing.Processor]:
    return [structlog.processors.format_exc_info, hide_secrets, structlog.processors.JSONRenderer(default=str)]


def log_event(event: Event) -> None:
    """The lines that a run leaves in the log: its phases, alerts, notes and verdicts, not every attempt."""
    log = structlog.get_logger()
    match event:
        case RunStarted():
            log.info("run started", run=event.run, playbook=event.playbook, target=event.target, k=event.time_lapse)
        case PhaseStarted():
            log.info("phase", drill=event.drill, phase=event.phase, detail=event.detail)
        case AlertMoved():
            log.info("alert", drill=event.drill, alert=event.alert, stage=event.stage)
        case Note():
            log.warning("note", drill=event.drill, text=event.text)
        case DrillFinished():
            log.info("drill finished", drill=event.drill.name, verdict=event.drill.verdict, reasons=event.drill.reasons)
        case RunFinished():
            log.info("run finished", run=event.result.run, verdict=event.result.verdict)
        case AttemptsMade():
            pass


def log_results(results: Sequence[Result]) -> None:
    """The last line of the log: what a pod leaves to whoever reads its log."""
    for result in results:
        structlog.get_logger().info("result", result=result.model_dump(mode="json", by_alias=True))


class _Writer:
    """The last step of structlog: a line, written at once."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        stream = sys.stderr if self._stream is None else self._stream
        stream.write(message + "\n")
        stream.flush()

    log = debug = info = warn = warning = error = critical = fatal = exception = failure = err = msg


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values under keys that name a secret, and credentials inside texts (``Bearer …``, ``user:password@``)."""
    for key, value in event.items():
        if key != "exc_info":
            event[key] = HIDDEN if _SECRET_KEY.search(key) else _without_secrets(value, _DEPTH)
    return event


def _without_secrets(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _SECRET_TEXT.sub(rf"\g<keep>{HIDDEN}", value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth == 0:
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _SECRET_KEY.search(str(key)) else _without_secrets(one, depth - 1)
            for key, one in value.items()
        }
    return [_without_secrets(one, depth - 1) for one in value]


def _printable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key == "exception":
            event[key] = "\n".join(map(_printable_line, value.split("\n")))
        elif isinstance(value, str):
            event[key] = plain(value)
    return event


def _printable_line(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" "))) + plain(line)
