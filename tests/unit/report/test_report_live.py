"""The terminal: the live view and the verdict block, wide and narrow, with and without colour."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping

import pytest
import report_factory as factory
from rich.console import Console as RichConsole
from rich.console import RenderableType

from drills.engine.events import AlertMoved, AttemptsMade, DrillFinished, Event, PhaseStarted, RunFinished, RunStarted
from drills.engine.result import Result
from drills.report import live
from drills.report.console import Console
from drills.report.summary import summarise
from drills.report.view import RunView, advance

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3[0-9]|4[0-9]|38;[0-9;]+)m")


class Terminal(io.StringIO):
    """Something that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def drawn(renderable: RenderableType, width: int) -> list[str]:
    console = RichConsole(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, _environ={})
    with console.capture() as captured:
        console.print(renderable)
    return [line.rstrip() for line in captured.get().splitlines()]


def folded(*events: tuple[float, Event]) -> RunView:
    view = RunView()
    for at, event in events:
        view = advance(view, event, at)
    return view


RUNNING = folded(
    (0, RunStarted("r", "zero-trust", "lab default", 15, ("admin-path", "database"))),
    (1, PhaseStarted("admin-path", "baseline", "", 30)),
    (2, AlertMoved("admin-path", "CiliumHTTPRequestsDenied", "quiet")),
    (6, PhaseStarted("admin-path", "inject", "403 wanted", 12)),
    (6, AttemptsMade("admin-path", "attack", 900, {})),
    (7, AttemptsMade("admin-path", "attack", 900, {"http-403": 30})),
    (8, AttemptsMade("admin-path", "control", 180, {"http-200": 6})),
    (11, AlertMoved("admin-path", "CiliumHTTPRequestsDenied", "pending")),
    (15, AlertMoved("admin-path", "CiliumHTTPRequestsDenied", "firing")),
)


def test_live_view_shows_phase_attempts_and_the_alerts_life() -> None:
    lines = drawn(live.running(RUNNING, 15.2, 120), 120)
    assert lines[0] == "zero-trust on lab default  time-lapse 15 (1 s on the wall is 15 s of the playbook)  15 s"
    assert lines[1].startswith("  admin-path  inject  9 s of at most 12 s  ━━━")
    assert lines[2:] == [
        "    403 wanted",
        "    attack   30 of 900  http-403: 30",
        "    control  6 of 180  http-200: 6",
        "    CiliumHTTPRequestsDenied  quiet -> pending +60 s -> firing +120 s"
        " -> at Alertmanager -> notified -> resolved",
        "  database  waiting",
    ]


def test_finished_drills_shrink_to_a_line() -> None:
    view = advance(RUNNING, DrillFinished(factory.drill()), 20)
    assert drawn(live.running(view, 20, 120), 120)[1:] == ["  admin-path  PASSED", "  database  waiting"]


def test_many_drills_leave_their_room_to_those_that_run() -> None:
    names = ("admin-path", "a", "b", "c", "d", "e")
    view = folded((0, RunStarted("r", "zero-trust", "lab", 15, names)))
    for name in ("c", "a"):
        view = advance(view, PhaseStarted(name, "inject", f"attack of {name}", 12), 1)
    for name, verdict in (("admin-path", "passed"), ("b", "failed"), ("e", "passed")):
        view = advance(view, DrillFinished(factory.drill(verdict).model_copy(update={"name": name})), 2)  # type: ignore[arg-type]
    lines = [re.sub(" *━.*", "", line) for line in drawn(live.running(view, 3, 120), 120)[1:]]
    assert lines == [
        "  PASSED  admin-path, e",
        "  b  FAILED",
        "  a  inject  2 s of at most 12 s",
        "    attack of a",
        "  c  inject  2 s of at most 12 s",
        "    attack of c",
        "  d  waiting",
    ]


@pytest.mark.parametrize("width", [20, 40, 63, 64, 100, 200])
@pytest.mark.parametrize("make", [factory.miss, factory.hostile])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(make: Callable[[], Result], width: int) -> None:
    lines = drawn(live.verdict(summarise(make()), width), width)
    assert max(map(len, lines)) <= width
    letters = re.sub(r"\s", "", "".join(lines))
    for row in summarise(make()).drills[0].rows:
        assert re.sub(r"\s", "", row.word) in letters
    if width >= 100 and make is factory.miss:
        assert "stopped at no-series" in "\n".join(lines)


def test_narrow_terminals_get_their_parts_under_one_another() -> None:
    lines = drawn(live.verdict(summarise(factory.passed()), 50), 50)
    at = lines.index(" enforcement held")
    assert lines[at + 1] == "   900 of 900 attempts made, 900 denied, 0 leaked"


def on_terminal(environ: Mapping[str, str], *events: Event) -> str:
    terminal = Terminal()
    with Console(terminal, environ={"COLUMNS": "120", "LINES": "50", **environ}, clock=lambda: 0.0) as console:
        for event in events:
            console(event)
    return terminal.getvalue()


RUN = (
    RunStarted("r", "zero-trust", "lab", 15, ("admin-path",)),
    PhaseStarted("admin-path", "inject", factory.HOSTILE, 12),
    AttemptsMade("admin-path", "attack", 900, {factory.HOSTILE: 12}),
    AlertMoved("admin-path", factory.HOSTILE, "firing"),
    RunFinished(factory.hostile()),
)


def test_a_terminal_gets_colours_and_its_cursor_back() -> None:
    text = on_terminal({"TERM": "xterm-256color"}, *RUN)
    assert COLOUR.search(text)
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


def test_no_color_is_honoured() -> None:
    text = on_terminal({"TERM": "xterm-256color", "NO_COLOR": "1"}, *RUN)
    assert not COLOUR.search(text)
    assert "FAILED" in text


def test_a_dumb_terminal_gets_plain_lines() -> None:
    assert "\x1b" not in on_terminal({"TERM": "dumb"}, *RUN)


def test_neither_markup_nor_escapes_of_the_cluster_act_on_a_terminal() -> None:
    text = on_terminal({"TERM": "xterm-256color"}, *RUN)
    words = ESCAPE.sub("", text)
    assert "evil [bold red]PASSED[/]" in words
    assert not set(words) & set("\x1b\x07\u202e\u2066")
    assert "\x1b[2J" not in text
