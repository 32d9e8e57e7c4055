"""Scrapes and evaluations that were missed, and whether they may be why an alert did not come, or came late.

Each starts `for` again or delays it. What a counter counted meanwhile comes with the next scrape, so that an
`increase()` over a longer time loses next to nothing; a shorter one, a gauge and a series that was born meanwhile do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alerts.life import Life
from alerts.prometheus import LoadedRule, Prometheus
from alerts.promql import PromqlError, calls, parse, selectors
from alerts.stopped import Stopped
from alerts.whynot import Facts, Peak
from drills.engine.flags import COUNTERS, ENOUGH
from drills.engine.lives import Wanted
from drills.engine.resolving import late
from drills.engine.watch import Instance, Snapshot

MISSED = 1.8  # intervals between two samples: one is missing
LAST_TWO = frozenset({"irate", "idelta"})  # look at two samples, however far back they may


@dataclass(frozen=True, slots=True)
class Hole:
    """Two scrapes of a target with at least one missing between them: their times, in seconds since the epoch."""

    instance: Instance
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Missed:
    """What was missed. ``scrape`` and ``evaluation`` are the intervals, in wall seconds."""

    holes: tuple[Hole, ...]
    evaluations_of: str | None
    scrape: float
    evaluation: float

    @property
    def text(self) -> str | None:
        """In words; None where nothing was missed."""
        targets = dict.fromkeys(" ".join(one.instance) for one in self.holes)
        what = [f"scrapes of {one}" for one in targets]
        what += [f"evaluations of {self.evaluations_of}"] if self.evaluations_of else []
        return f"missed during the drill: {', '.join(what)}" if what else None


def gather(
    prometheus: Prometheus,
    rule: LoadedRule,
    sources: frozenset[Instance],
    found: Life,
    snapshots: Sequence[Snapshot],
    period: tuple[float, float],
) -> Missed:
    """Scrapes and evaluations that were missed in a period. Raises PrometheusError.

    Scrapes show as gaps between the samples of ``up``; evaluations as gaps in ``ALERTS``, or as a last evaluation that
    a poll found too old.
    """
    since, until = period
    interval = rule.interval_ms / 1000
    polls = [one for one in snapshots if since <= one.at <= until]
    stale = any(late(one, Wanted(rule.name, {}), interval) for one in polls)
    lost = stale or any(spell.missed_evaluations for spell in found.spells if spell.last >= since)
    scrape = prometheus.config().scrape_interval_ms / 1000
    holes = tuple(_holes(prometheus, sources, period, MISSED * scrape))
    return Missed(holes, rule.name if lost else None, scrape, interval)


def _holes(
    prometheus: Prometheus, sources: frozenset[Instance], period: tuple[float, float], limit: float
) -> Iterator[Hole]:
    since, until = period
    for series in prometheus.samples("up", until, until - since):
        instance = (series.labels.get("job", ""), series.labels.get("instance", ""))
        moments = [moment for moment, _ in series.points]
        if instance in sources:
            yield from (Hole(instance, *each) for each in pairwise(moments) if each[1] - each[0] > limit)


def may_be_why(missed: Missed, stop: Stopped, facts: Facts) -> bool:
    """Whether an alert may have stopped there only because of what was missed.

    A condition that was seen but not for long enough may have held all the time. One that was never seen may have been
    met in a hole: where the series was born in it, where the value came near the threshold, or where a hole is longer
    than what the rule looks back, or hides a gauge.
    """
    if missed.text is None:
        return False
    if stop.at in ("condition-too-short", "pending"):
        return True
    if stop.at == "birth":
        born = [at for birth in facts.births for at in birth.first_at]
        return any(one.begin < at <= one.end + missed.evaluation for at in born for one in missed.holes)
    if stop.at != "below-threshold" or not missed.holes:
        return False
    longest = max(one.end - one.begin for one in missed.holes) + missed.scrape
    return any(_near(one) for one in facts.peaks if not one.met) or not _outlasts(facts, longest)


def _near(peak: Peak) -> bool:
    """Whether the value came so near that the edges of a hole may make the difference."""
    if peak.value is None or peak.operator in ("==", "!="):
        return True
    if peak.operator in (">", ">="):
        return peak.value * ENOUGH >= peak.threshold
    return peak.value <= peak.threshold * ENOUGH


def _outlasts(facts: Facts, seconds: float) -> bool:
    """Whether all that the rule reads are counters, over more than these wall seconds: a hole hides nothing of them."""
    made = {one.name for one in facts.behind}
    expressions = [*(one.query for one in facts.rules), *(one.query for one in facts.behind)]
    try:
        read = [selector for one in expressions for selector in selectors(one)]
        if any(calls(parse(one)) & LAST_TWO for one in expressions):
            return False
    except PromqlError:
        return False
    return all(
        ((one.metric or "").endswith(COUNTERS) and (not one.range_ms or one.range_ms / 1000 >= seconds))
        or (one.metric in made and not one.range_ms)
        for one in read
    )
