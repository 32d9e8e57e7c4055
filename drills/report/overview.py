"""The top of the page: the run in one sentence, and which drills ran side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drills.engine.result import Result
from drills.report.changes import Finding
from drills.report.chart import Axis, Lane, Tick, ticks
from drills.report.text import plain, span


def headline(result: Result, found: Sequence[Finding]) -> str:
    """The run in one sentence; a single problem is the sentence itself."""
    worst = [one for one in found if one.tone == "bad"] or [one for one in found if one.tone == "stop"] or list(found)
    several = len(result.drills) > 1
    if result.verdict == "passed":
        return _all_well(result)
    if result.verdict == "aborted":
        return "The run was stopped before everything could be judged."
    if result.verdict == "failed" and len(worst) > 1:
        failed = sum(drill.verdict == "failed" for drill in result.drills)
        return f"{len(worst)} things went wrong{_of_drills(failed, result) if several else ''}."
    if result.verdict == "inconclusive" and several:
        doubtful = sum(drill.verdict != "passed" for drill in result.drills)
        return f"Nothing wrong was shown, but something could not be judged{_of_drills(doubtful, result)}."
    return _short(worst[0].problem) if worst else f"The run is {result.verdict}."


def _of_drills(some: int, result: Result) -> str:
    return f", in {some} of {len(result.drills)} drills"


def _short(problem: str) -> str:
    """Without what stands in brackets: that is told below."""
    before, bracket, _ = problem.partition(" (")
    return f"{before}." if bracket else problem


def _all_well(result: Result) -> str:
    alerts = sum(len(drill.alerts) for drill in result.drills)
    told = ", every expected alert told of it," if alerts else ""
    return f"What must not work did not work{told} and everything was put back."


@dataclass(frozen=True, slots=True)
class Chart:
    """The drills of a run on one axis; zero is the run's start."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]


def chart(result: Result) -> Chart:
    """When each drill ran, and when it attacked."""
    k = result.target.time_lapse
    length = max(1.0, (result.finished_at - result.started_at).total_seconds() * k)
    axis = Axis(result.started_at, 0.0, length, k)
    lanes = []
    for drill in result.drills:
        if drill.started_at is None:
            continue
        start = axis.seconds(drill.started_at)
        end = axis.end if drill.finished_at is None else axis.seconds(drill.finished_at)
        marks = [axis.mark("phase", start, end, 5, 12, title=f"the whole drill: {span(end - start)}")]
        if drill.first_attempt_at is not None and drill.last_attempt_at is not None:
            begin, stop = axis.seconds(drill.first_attempt_at), axis.seconds(drill.last_attempt_at)
            marks.append(axis.mark("made", begin, stop, 5, 12, title=f"its attack: {span(stop - begin)}"))
        lanes.append(Lane(plain(drill.name), drill.verdict, 22, tuple(marks)))
    return Chart(tuple(lanes), tuple(ticks(axis)))
