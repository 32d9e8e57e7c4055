"""The live view and the verdict block on a terminal: rich renderables, drawn from pictures and never from markup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from drills.engine.result import Verdict
from drills.report.proven import Tone
from drills.report.summary import VERDICT_TONE, DrillSummary, Row, Summary, pace
from drills.report.text import counts, plain, seconds
from drills.report.view import STAGES, AlertView, DrillView, RunView

STYLE: dict[Tone, str] = {"good": "green", "bad": "bold red", "doubt": "yellow", "stop": "magenta", "info": ""}
MARK: dict[Tone, str] = {"good": "✓", "bad": "✗", "doubt": "?", "stop": "■", "info": " "}
_ASCII_MARK: dict[Tone, str] = {"good": "+", "bad": "x", "doubt": "?", "stop": "!", "info": " "}
NARROW = 64  # columns; below, a line's parts stand under one another
BAR = 24


def running(view: RunView, now: float, width: int) -> RenderableType:
    """The run as it stands at ``now`` (the clock of the view)."""
    if view.started is None:
        return Text("")
    head = Text(f"{plain(view.started.playbook)} on {plain(view.started.target)}", style="bold")
    head.append(f"  {pace(view.started.time_lapse)}  {seconds(round(now - view.began))}", style="dim")
    k = view.started.time_lapse
    drills = list(view.drills.values())
    running = [one for one in drills if one.finished is None and one.phase is not None]
    return Group(
        head,
        *_finished([(one.name, one.finished.verdict) for one in drills if one.finished is not None]),
        *(part for drill in running for part in _drill(drill, now, k, width)),
        *_waiting([one.name for one in drills if one.finished is None and one.phase is None]),
    )


def _finished(drills: Sequence[tuple[str, Verdict]]) -> Iterator[RenderableType]:
    """A line for each verdict: with several drills at once, those that run need the room."""
    for verdict in dict.fromkeys(verdict for _, verdict in drills):
        names = [plain(name) for name, own in drills if own == verdict]
        if len(names) == 1:
            yield Text.assemble("  ", (f"{names[0]}  ", "bold"), _verdict(verdict))
        else:
            yield Text.assemble("  ", _verdict(verdict), f"  {', '.join(names)}")


def _waiting(names: Sequence[str]) -> Iterator[RenderableType]:
    if len(names) == 1:
        yield Text(f"  {plain(names[0])}  waiting", style="dim")
    elif names:
        yield Text(f"  waiting  {', '.join(map(plain, names))}", style="dim")


def _drill(drill: DrillView, now: float, k: float, width: int) -> Iterator[RenderableType]:
    yield from _phase(drill, now, width)
    for role, attempts in drill.attempts.items():
        line = f"{role:<8} {attempts.made} of {attempts.planned}"
        yield Padding(Text.assemble(line, "  ", (counts(attempts.outcomes), "dim")), (0, 0, 0, 4))
    for alert, life in drill.alerts.items():
        yield Padding(_alert(plain(alert), life, drill.attack_began, k), (0, 0, 0, 4))


def _phase(drill: DrillView, now: float, width: int) -> Iterator[RenderableType]:
    elapsed = max(0.0, now - drill.since)
    spent = seconds(round(elapsed))
    limit = "" if drill.seconds is None else f" of at most {seconds(round(drill.seconds))}"
    line = Text.assemble("  ", (f"{plain(drill.name)}  ", "bold"), (str(drill.phase), "cyan"), f"  {spent}{limit}  ")
    if drill.seconds and width >= NARROW:
        grid = Table.grid()
        grid.add_row(
            line,
            ProgressBar(total=drill.seconds, completed=min(elapsed, drill.seconds), width=BAR, complete_style="cyan"),
        )
        yield grid
    else:
        yield line
    if drill.detail:
        yield Padding(Text(plain(drill.detail), style="dim"), (0, 0, 0, 4))


def _alert(name: str, life: AlertView, attack_began: float | None, k: float) -> Text:
    """``Name  quiet -> pending +75 s -> FIRING +120 s -> at Alertmanager``: seen stages with playbook seconds."""
    text = Text(f"{name}  ")
    for number, stage in enumerate(STAGES):
        if number:
            text.append(" -> ", style="dim")
        at = life.seen.get(stage)
        passed = at is not None or number < STAGES.index(life.stage)  # a poll may miss a short stage
        style = "reverse" if stage == life.stage else "" if passed else "dim"
        text.append(stage, style=style)
        if at is not None and attack_began is not None and at >= attack_began:
            text.append(f" +{seconds(round((at - attack_began) * k))}")
    return text


def verdict(summary: Summary, width: int, unicode: bool = True) -> RenderableType:
    """The verdict block; ``unicode`` is False where the terminal's encoding cannot show the marks."""
    title = Text.assemble(_verdict(summary.verdict), f"  {summary.title}")
    marks = MARK if unicode else _ASCII_MARK
    return Group(title, *(part for drill in summary.drills for part in _drill_block(drill, width, marks)))


def _verdict(word: Verdict) -> tuple[str, str]:
    return word.upper(), f"bold {STYLE[VERDICT_TONE[word]]}".replace("bold bold", "bold")


def _drill_block(drill: DrillSummary, width: int, marks: dict[Tone, str]) -> Iterator[RenderableType]:
    yield Text("")
    yield Text.assemble((f"{drill.name}: ", "bold"), _verdict(drill.verdict))
    told = Table.grid(padding=(0, 1, 0, 0))
    for statement in drill.statements:
        told.add_row(Text(f" {marks[statement.tone]}", style=STYLE[statement.tone]), Text(statement.text))
    yield told
    yield Text("")
    yield _stacked(drill) if width < NARROW else _columns(drill)


def _columns(drill: DrillSummary) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for row in _all_rows(drill):
        grid.add_row(Text(f"   {row.label}", style="dim"), Text(row.word, style=STYLE[row.tone]), Text(row.text))
    return grid


def _stacked(drill: DrillSummary) -> Group:
    parts: list[RenderableType] = []
    for row in _all_rows(drill):
        if row.label or row.word:
            parts.append(Text.assemble(" ", (f"{row.label} ".lstrip(), "dim"), (row.word, STYLE[row.tone])))
        if row.text:
            parts.append(Padding(Text(row.text, overflow="fold"), (0, 0, 0, 3)))
    return Group(*parts)


def _all_rows(drill: DrillSummary) -> Iterator[Row]:
    yield from drill.rows
    for hint in drill.look:
        yield Row("look at", "", hint)
