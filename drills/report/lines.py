"""A run as plain lines, for logs and pipes: one line for every change, progress throttled, no control characters."""

from __future__ import annotations

from collections.abc import Iterator

from drills.engine.events import (
    AlertMoved,
    AttemptsMade,
    DrillFinished,
    Event,
    Note,
    PhaseStarted,
    Role,
    RunFinished,
    RunStarted,
)
from drills.engine.result import Result
from drills.report.summary import DrillSummary, Row, pace, summarise
from drills.report.text import counts, plain, seconds

EVERY = 5.0  # wall seconds between two lines of progress of the same attack or control


class Lines:
    """Turns events into lines; remembers what it said, so that nothing is said twice. Not thread-safe."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._stages: dict[tuple[str, str], str] = {}
        self._said: dict[tuple[str, Role], tuple[float, frozenset[str], int]] = {}
        self._held_back: dict[tuple[str, Role], AttemptsMade] = {}

    def of(self, event: Event, now: float) -> list[str]:
        """The lines that an event gives, if any; ``now`` is a monotonic clock in seconds."""
        if self._began is None or isinstance(event, RunStarted):
            self._began = now
        if isinstance(event, RunFinished):
            return ["", *verdict_lines(event.result)]
        stamp = f"[{now - self._began:6.1f} s] "
        return [stamp + line for line in self._lines(event, now)]

    def _lines(self, event: Event, now: float) -> Iterator[str]:
        match event:
            case RunStarted():
                yield (
                    f"run {plain(event.run)}: playbook {plain(event.playbook)} on {plain(event.target)}, "
                    f"{pace(event.time_lapse)}; drills: {', '.join(map(plain, event.drills))}"
                )
            case PhaseStarted():
                yield from self._flush(event.drill)
                detail = f": {plain(event.detail)}" if event.detail else ""
                limit = "" if event.seconds is None else f" (at most {seconds(event.seconds)})"
                yield f"{plain(event.drill)}: {event.phase}{limit}{detail}"
            case AttemptsMade():
                yield from self._progress(event, now)
            case AlertMoved():
                if self._stages.get((event.drill, event.alert)) != event.stage:
                    self._stages[event.drill, event.alert] = event.stage
                    yield f"{plain(event.drill)}: alert {plain(event.alert)} {event.stage}"
            case Note():
                yield f"{plain(event.drill)}: {plain(event.text)}"
            case DrillFinished():
                yield from self._flush(event.drill.name)
                yield f"{plain(event.drill.name)}: {event.drill.verdict}"

    def _progress(self, event: AttemptsMade, now: float) -> Iterator[str]:
        """At once where an outcome is new or the last attempt is made; else once in a while."""
        key = (event.drill, event.role)
        made = sum(event.outcomes.values())
        at, outcomes, said = self._said.get(key, (-EVERY, frozenset[str](), 0))
        if made == said:
            return
        new = frozenset(name for name, number in event.outcomes.items() if number) - outcomes
        if not new and made < event.planned and now - at < EVERY:
            self._held_back[key] = event
            return
        self._said[key] = (now, outcomes | new, made)
        self._held_back.pop(key, None)
        yield _attempts(event)

    def _flush(self, drill: str) -> Iterator[str]:
        """The newest numbers that were held back: a phase does not end on old ones."""
        for key in [key for key in self._held_back if key[0] == drill]:
            event = self._held_back.pop(key)
            at, outcomes, _ = self._said[key]
            self._said[key] = (at, outcomes, sum(event.outcomes.values()))
            yield _attempts(event)


def _attempts(event: AttemptsMade) -> str:
    made = sum(event.outcomes.values())
    return f"{plain(event.drill)}: {event.role} {made} of {event.planned} ({counts(event.outcomes)})"


def verdict_lines(result: Result) -> Iterator[str]:
    """The verdict block, what was proven first."""
    summary = summarise(result)
    yield f"{summary.verdict.upper()}  {summary.title}"
    for drill in summary.drills:
        yield from _drill_lines(drill)


def _drill_lines(drill: DrillSummary) -> Iterator[str]:
    yield ""
    yield f"{drill.name}: {drill.verdict}"
    for statement in drill.statements:
        yield f"  {statement.text}"
    yield ""
    for row in drill.rows:
        yield _row(row)
    for hint in drill.look:
        yield f"  look at      {hint}"


def _row(row: Row) -> str:
    return f"  {row.label:<12} {row.word:<13} {row.text}".rstrip()
