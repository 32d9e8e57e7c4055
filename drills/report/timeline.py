"""A drill's timeline: what happened, the attack, its control, every alert, and what was put back, one lane each.

Time runs in the playbook's seconds; zero is the first attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from drills.engine.result import Alert, Drill, Quiet
from drills.report.chart import Axis, Lane, Look, Mark, Tick, ticks
from drills.report.proven import SILENCED
from drills.report.record import DrillRecord, Lifetime, Series
from drills.report.summary import load
from drills.report.text import counts, offset, plain, span

LEGEND: dict[Look, str] = {
    "expected": "as it should be: forbidden attempts denied, allowed ones answered",
    "leaked": "a forbidden attempt got through",
    "unclear": "proves nothing",
    "pending": "alert pending",
    "firing": "alert firing",
    "window": "when its rule can begin to fire",
    "limit": "the latest that the playbook allows",
    "moment": "at Alertmanager, notified",
    "made": "what the drill itself had put into the cluster",
    "left": "something was left behind",
}
KINDS: dict[str, Look] = {
    "denied": "expected",
    "succeeded": "expected",
    "leaked": "leaked",
    "possibly-reached": "unclear",
    "broken": "unclear",
    "void": "unclear",
}
PHASES = {
    "prepare": "prepare",
    "baseline": "calm before",
    "inject": "attack",
    "observe": "wait for alerts",
    "recover": "put back, wait for calm",
}
ORDER: tuple[Look, ...] = ("leaked", "expected", "unclear")  # from the ground up
COLUMNS = 90  # bars at most; a finer series is put together
LOW: dict[Look, float] = {"leaked": 9.0}  # pixels: the least height, so that one leak of 900 is seen
LOWEST = 2.0  # of any other


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that is drawn of a drill."""

    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    zero: datetime
    attacked: bool
    whole: bool  # attempts without times: drawn as one block

    @property
    def legend(self) -> list[tuple[Look, str]]:
        """The looks that occur, with their meaning."""
        seen = {mark.look for lane in self.lanes for mark in lane.marks}
        return [(look, text) for look, text in LEGEND.items() if look in seen]


def timeline(drill: Drill, record: DrillRecord, time_lapse: float) -> Timeline | None:
    """The timeline of a drill; None where nothing has a time."""
    axis = _axis(drill, record, time_lapse)
    if axis is None:
        return None
    lanes = [
        *_phases(record, axis),
        _attack(drill, record.series.get("attack"), axis),
        _control(drill, record.series.get("control"), axis),
        *_load(drill, record.series.get("load"), axis),
        *(_alert(alert, record, axis) for alert in drill.alerts),
        *(_quiet(quiet, record, axis) for quiet in drill.quiet),
        _recovery(drill, record.changes, axis),
    ]
    attacked = drill.first_attempt_at is not None
    return Timeline(tuple(lanes), tuple(ticks(axis)), axis.zero, attacked, attacked and not record.series)


def _axis(drill: Drill, record: DrillRecord, time_lapse: float) -> Axis | None:
    phases = [one.at for one in record.phases]
    moments = [one for one in (drill.started_at, drill.last_attempt_at, drill.finished_at, *phases) if one is not None]
    for alert in drill.alerts:
        moments += [moment for _, moment in life(alert)]
    zero = drill.first_attempt_at or drill.started_at or min(moments, default=None)
    if zero is None:
        return None
    whole = Axis(zero, 0.0, 1.0, time_lapse)
    places = [0.0, *map(whole.seconds, moments)]
    if drill.first_attempt_at is not None:
        places += [alert.within_seconds * 1.02 for alert in drill.alerts]
    begin, end = min(places), max(places)
    return Axis(zero, begin, max(end, begin + 1.0), time_lapse)


# --- lanes ------------------------------------------------------------------------------------------------------------


def _phases(record: DrillRecord, axis: Axis) -> Iterator[Lane]:
    merged: list[tuple[str, float]] = []
    for one in record.phases:
        if not merged or merged[-1][0] != one.phase:
            merged.append((one.phase, axis.seconds(one.at)))
    if not merged:
        return
    ends = [start for _, start in merged[1:]] + [axis.end]
    marks = tuple(
        axis.mark("phase", start, end, 2, 18, title=f"{name}: {span(end - start)}", label=PHASES.get(name, name))
        for (name, start), end in zip(merged, ends, strict=True)
    )
    yield Lane("What happened", "", 22, marks, kind="phases")


def _attack(drill: Drill, series: Series | None, axis: Axis) -> Lane:
    """Denials are drawn as they should be only where the drill proved that the policy made them."""
    judged = drill.enforcement
    whole: dict[Look, int] = {"expected": judged.denied, "leaked": judged.leaked}
    whole["unclear"] = max(0, judged.attempts - judged.denied - judged.leaked)
    marks = _attempts(drill, series, whole, axis, 44, counts(judged.outcomes))
    if judged.verdict == "inconclusive" or (judged.verdict == "breached" and not judged.leaked):
        marks = tuple(replace(one, look="unclear") if one.look == "expected" else one for one in marks)
    caption = (
        f"{judged.attempts} of {judged.planned} attempts made: {judged.denied} denied, {judged.leaked} got through"
    )
    return Lane("Attack", judged.verdict, 48, marks, caption + _by_outcome(judged.outcomes))


def _control(drill: Drill, series: Series | None, axis: Axis) -> Lane:
    control = drill.control
    whole: dict[Look, int] = {"expected": control.succeeded, "unclear": max(0, control.attempts - control.succeeded)}
    marks = _attempts(drill, series, whole, axis, 26, counts(control.outcomes))
    caption = f"{control.succeeded} of {control.attempts} allowed attempts succeeded"
    return Lane("Control", control.verdict, 30, marks, caption + _by_outcome(control.outcomes))


def _load(drill: Drill, series: Series | None, axis: Axis) -> Iterator[Lane]:
    """The requests of a flood, as Locust counted them."""
    if drill.flood is None:
        return
    whole: dict[Look, int] = {"expected": drill.flood.requests - drill.flood.failures, "unclear": drill.flood.failures}
    marks = _attempts(drill, series, whole, axis, 26, counts(drill.flood.statuses))
    yield Lane("Load", "", 30, marks, load(drill.flood))


def _by_outcome(outcomes: Mapping[str, int]) -> str:
    return f" ({counts(outcomes)})" if outcomes else ""


def _attempts(
    drill: Drill, series: Series | None, whole: Mapping[Look, int], axis: Axis, height: float, title: str
) -> tuple[Mark, ...]:
    if series is not None and series.length:
        return tuple(_columns(series, axis, height))
    if drill.first_attempt_at is None or drill.last_attempt_at is None or not sum(whole.values()):
        return ()
    start, end = axis.seconds(drill.first_attempt_at), axis.seconds(drill.last_attempt_at)
    return tuple(_stack(whole, max(sum(whole.values()), 1), start, end, axis, height, title))


def _columns(series: Series, axis: Axis, height: float) -> Iterator[Mark]:
    together = -(-series.length // COLUMNS)
    step = timedelta(seconds=series.step * together)
    columns = [_column(series, number * together, together) for number in range(-(-series.length // together))]
    most = max((sum(column.values()) for column, _ in columns), default=0)
    for number, (column, names) in enumerate(columns):
        if names:
            start, end = (axis.seconds(series.began + step * (number + one)) for one in (0, 1))
            title = f"{offset(start)} to {offset(end)}: {counts(names)}"
            yield from _stack(column, most, start, end, axis, height, title)


def _column(series: Series, first: int, length: int) -> tuple[dict[Look, int], dict[str, int]]:
    looks: dict[Look, int] = {}
    names: dict[str, int] = {}
    for name, of in series.outcomes.items():
        if number := sum(of.counts[first : first + length]):
            look = KINDS.get(of.kind, "unclear")
            looks[look] = looks.get(look, 0) + number
            names[name] = number
    return looks, names


def _stack(
    column: Mapping[Look, int], most: int, start: float, end: float, axis: Axis, height: float, title: str
) -> Iterator[Mark]:
    """Leaks at the ground, where they can be compared; nothing that happened is too low to be seen."""
    present = [(look, column[look]) for look in ORDER if column.get(look)]
    low = {look: LOW.get(look, LOWEST) for look, _ in present}
    room = height - sum(low.values())
    ground = height + 2
    for look, number in present:
        tall = round(low[look] + room * number / most, 2)
        ground = round(ground - tall, 2)
        yield axis.mark(look, start, end, ground, tall, title=title)


def life(alert: Alert) -> list[tuple[str, datetime]]:
    """The stages that an alert reached."""
    stages = (
        ("pending", alert.pending_at),
        ("firing", alert.firing_at),
        ("at Alertmanager", alert.at_alertmanager_at),
        ("notified", alert.notified_at),
        ("resolved", alert.resolved_at),
    )
    return [(name, moment) for name, moment in stages if moment is not None]


def _alert(alert: Alert, record: DrillRecord, axis: Axis) -> Lane:
    reached = life(alert)
    marks = [axis.mark("rest", axis.begin, axis.end, 27, 1), *_allowed(alert, axis)]
    marks += _lived(dict(reached), axis, 20, 15)
    caption = "; ".join(_told(alert, reached or _seen(alert.name, record), axis))
    return Lane(plain(alert.name), alert.verdict, 38, tuple(marks), caption, kind="alert")


def _allowed(alert: Alert, axis: Axis) -> Iterator[Mark]:
    """When the rule can fire, and until when it may: what the alert's own bar is compared with."""
    bound = alert.bound_seconds
    if bound is not None and bound.best < axis.end and alert.verdict != "not-judged":
        title = f"its rule can fire {bound.best:g} to {bound.worst:g} s after its condition holds"
        yield axis.mark("window", bound.best, bound.worst, 16, 22, title=title)
    if alert.within_seconds <= axis.end:
        limit = alert.within_seconds
        yield axis.mark("limit", limit, limit, 2, 36, label=f"by {span(limit)}")


def _lived(reached: Mapping[str, datetime], axis: Axis, y: float, height: float) -> Iterator[Mark]:
    at = {name: axis.seconds(moment) for name, moment in reached.items()}
    end = at.get("resolved", axis.end)
    if "pending" in at:
        yield axis.mark("pending", at["pending"], at.get("firing", end), y, height, title="pending")
    if "firing" in at:
        yield axis.mark("firing", at["firing"], end, y, height, title="firing")
    for name in ("at Alertmanager", "notified"):
        if name in at:
            yield axis.mark("moment", at[name], at[name], y + height / 2, 4, title=f"{name} {offset(at[name])}")


def _seen(alert: str, record: DrillRecord) -> list[tuple[str, datetime]]:
    """The stages that the poll saw: the last time of each, where Prometheus itself told none."""
    return [(one.stage, one.at) for one in record.stages.get(alert, ()) if one.stage != "quiet"]


def _told(alert: Alert, reached: Iterable[tuple[str, datetime]], axis: Axis) -> Iterator[str]:
    """The life in words: ``pending +22 s → firing +82 s``, and what it is compared with."""
    stages = " → ".join(f"{name} {offset(axis.seconds(moment))}" for name, moment in reached)
    yield stages or ("did not fire" if alert.verdict == "missed" else plain(alert.reason) or "not seen")
    if alert.silenced_by:
        yield SILENCED
    if (bound := alert.bound_seconds) is not None and alert.verdict != "not-judged":
        yield f"its rule can fire {bound.best:g} to {span(bound.worst)} after its condition holds"
    yield f"the playbook allows {span(alert.within_seconds)}"
    if alert.resolution != "not-judged" and alert.resolves_within_seconds is not None:
        allowed = span(alert.resolves_within_seconds)
        yield f"{alert.resolution.replace('-', ' ')}, where {allowed} after the attack are allowed"


def _quiet(quiet: Quiet, record: DrillRecord, axis: Axis) -> Lane:
    seen = _seen(quiet.name, record)
    marks = [axis.mark("rest", axis.begin, axis.end, 9, 1), *_lived(dict(seen), axis, 2, 15)]
    stages = " → ".join(f"{name} {offset(axis.seconds(moment))}" for name, moment in seen)
    caption = {"quiet": "quiet throughout, as it must be", "noisy": "fired although it must not"}.get(
        quiet.verdict, plain(quiet.reason)
    )
    return Lane(plain(quiet.name), quiet.verdict, 20, tuple(marks), f"{caption}; {stages}" if stages else caption)


def _recovery(drill: Drill, changes: Iterable[Lifetime], axis: Axis) -> Lane:
    recovery = drill.recovery
    marks = [axis.mark("rest", axis.begin, axis.end, 9, 1)]
    texts = []
    for one in changes:
        made = axis.seconds(one.made)
        gone = axis.end if one.undone is None else axis.seconds(one.undone)
        state = "left behind" if one.undone is None else f"undone {offset(gone)}"
        texts.append(f"{plain(one.what)}: from {offset(made)}, {state}")
        marks.append(axis.mark("left" if one.undone is None else "made", made, gone, 5, 9, title=texts[-1]))
    if recovery.reason:
        texts.append(plain(recovery.reason))
    elif recovery.seconds is not None and not texts:
        texts.append(f"in {span(recovery.seconds)}")
    return Lane("Put back", recovery.verdict, 20, tuple(marks), "; ".join(texts))
