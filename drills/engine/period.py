"""What was polled around an attack, and what an alert stands on in that time: for whoever judges alerts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from alerts.prometheus import ActiveAlert, LoadedRule, Prometheus
from drills.engine import lives
from drills.engine.lives import Down
from drills.engine.polled import Inputs
from drills.engine.seen import Expected
from drills.engine.watch import Snapshot


@dataclass(frozen=True, slots=True)
class Period:
    """What was polled from the baseline's begin to now, on which clock, whether something cut it short, when it was
    (Unix time; None: with the last poll), and which alerts belong to other drills that ran meanwhile.
    """

    snapshots: tuple[Snapshot, ...]
    time_lapse: float
    aborted: str | None
    until: float | None = None
    foreign: Callable[[ActiveAlert, LoadedRule], bool] = field(default=lambda *_: False)  # another drill's alert

    def of_replica(self, number: int) -> Period:
        """The same as one replica of Prometheus saw it; 0 is the first."""
        return replace(self, snapshots=tuple(one.each()[number] for one in self.snapshots))

    @property
    def cut(self) -> str | None:
        """The sentence that says what stopped the drill; None where nothing did."""
        return None if self.aborted is None else f"the drill was stopped: {self.aborted}"


def at_replica(one: Expected, number: int) -> Expected:
    """The targets that were known before the attack are the first replica's: another may call them otherwise."""
    return one if number == 0 else replace(one, sources=lives.NOTHING)


def inputs(one: Expected, prometheus: Prometheus | None, period: Period) -> Inputs:
    """What the alert stands on; without a Prometheus, what is known from before the attack. Raises WorldError."""
    if one.rule is None:
        return Inputs(None, lives.NOTHING, 0.5)
    sources, blind = one.sources, False
    if prometheus is not None and period.snapshots:
        until = prometheus.now()
        since = period.snapshots[0].at
        sources, blind = lives.sources_since(prometheus, one.rule, one.behind, sources, (since, until))
    records = frozenset(record.name for record in one.behind)
    return Inputs(one.wanted.name, sources, one.rule.interval_ms / 1000, blind, records)


def failed_scrapes(prometheus: Prometheus, stands_on: Inputs, period: Period, until: float) -> tuple[Down, ...]:
    """Scrapes of its targets that failed in the period, polled or not. Raises WorldError."""
    if not period.snapshots:
        return ()
    return lives.failed_scrapes(prometheus, stands_on.sources, period.snapshots[0].at, until)
