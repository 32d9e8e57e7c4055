"""How far a verdict on an alert may be trusted beyond its word: was it a near thing, and was it this drill's doing?

*marginal*: what the rule compares came within half as much again of its threshold, or was so near before the attack
(a true 10 reads as 9.5 to 10.5 by `increase()`). *unattributed*: nothing shows that this drill's own denials crossed
the threshold, or others' during the drill would have crossed it without them. A fault is one thing, not many: what
rose since it was made is its doing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from alerts.prometheus import LoadedRecord, LoadedRule, Prometheus, Series
from alerts.promql import PromqlError, Selector
from alerts.recorded import leaves
from alerts.whynot import Peak, peaks
from drills.engine.result import Flag
from drills.engine.seen import Seen
from drills.inject.base import OutcomeKind

ENOUGH = 1.5  # attack over threshold, and threshold over what was there before
DENIALS = ("denied", "dropped", "403", "policy denied")  # label values of metrics that count denials only
COUNTERS = ("_total", "_count")
RECORDS = 2  # that an agent receives of a request: itself and its answer (Cilium 1.20 UpdateProxyStatistics)


@dataclass(frozen=True, slots=True)
class Crossing:
    """One comparison of a rule: how far it got during the attack, and where it stood just before."""

    operator: str
    threshold: float
    during: float
    before: float

    def holds(self, value: float) -> bool:
        """Whether a value is beyond the threshold (only `>` and `>=` can be shared out among those who caused it)."""
        return value >= self.threshold if self.operator == ">=" else value > self.threshold

    @property
    def near(self) -> bool:
        """Whether the attack got there by little, missed by little, or began close to it."""
        if self.operator in ("<", "<="):
            return _near(self.threshold, self.during) or _near(self.before, self.threshold)
        return _near(self.during, self.threshold) or _near(self.threshold, self.before)


def _near(larger: float, smaller: float) -> bool:
    return smaller > 0 and 1 / ENOUGH < larger / smaller < ENOUGH


def of(
    prometheus: Prometheus,
    rule: LoadedRule,
    behind: Sequence[LoadedRecord],
    seen: Seen,
    period: tuple[float, float],
    *,
    labels: Mapping[str, str],
    fired: bool,
) -> tuple[Flag, ...]:
    """The flags of an alert with these ``labels`` that was judged over a period. Raises PrometheusError."""
    since, until = period
    earlier = since - 2 * rule.interval_ms / 1000
    try:
        found = crossings(
            peaks(prometheus, rule, since, until, labels), peaks(prometheus, rule, earlier, since, labels)
        )
        shared = share(prometheus, rule, behind, seen, since) if fired and seen.fault is None else 1.0
    except PromqlError:
        return ()  # valid for Prometheus, unknown to the parser
    named: list[Flag] = []
    if any(one.near for one in found):
        named.append("marginal")
    if fired and unattributed(found, shared):
        named.append("unattributed")
    return tuple(named)


def crossings(during: Sequence[Peak], before: Sequence[Peak]) -> tuple[Crossing, ...]:
    """The comparisons of a rule that had a value during the attack."""
    was = {one.text: one.value or 0.0 for one in before}
    return tuple(
        Crossing(one.operator, one.threshold, one.value, was.get(one.text, 0.0))
        for one in during
        if one.value is not None
    )


def unattributed(found: Sequence[Crossing], shared: float | None) -> bool:
    """Whether the drill's own share of what moved does not cross by itself, or the rest does. None: nothing moved."""
    rising = [one for one in found if one.operator in (">", ">=")]
    if shared is None or not rising:
        return True
    for one in rising:
        rise = max(0.0, one.during - one.before)
        if not one.holds(rise * shared) or one.holds(one.before + rise * (1 - shared)):
            return True
    return False


def share(
    prometheus: Prometheus, rule: LoadedRule, behind: Sequence[LoadedRecord], seen: Seen, since: float
) -> float | None:
    """Which part of what the rule's counters counted since ``since`` is this drill's; None if they did not move."""
    until = prometheus.now()
    moved = [
        (selector, _moved(prometheus.samples(str(selector), until, until - since + rule.interval_ms / 500), since))
        for selector in leaves(rule.query, behind)
        if (selector.metric or "").endswith(COUNTERS)
    ]
    if not any(amount for _, amount in moved):
        return None
    return min(min(1.0, _own(selector, seen) / amount) for selector, amount in moved if amount)


def _own(selector: Selector, seen: Seen) -> int:
    """How much of a counter the drill itself can have moved: its denials, or all its attempts."""
    kinds = (OutcomeKind.DENIED, OutcomeKind.POSSIBLY_REACHED)
    if any(matcher.value.lower().startswith(DENIALS) for matcher in selector.matchers):
        denied = sum(one.outcome.kind in kinds for one in (*seen.attack, *seen.control))
        return max(denied, 0 if seen.flows is None else seen.flows.events)  # a SYN that is dropped is sent again
    made = len(seen.attack) + len(seen.control)
    if seen.load is not None and seen.load.numbers is not None:
        made += seen.load.numbers.requests
    return made * (RECORDS if any(matcher.value == "received" for matcher in selector.matchers) else 1)


def _moved(series: Sequence[Series], since: float) -> float:
    """What counters counted since a time: resets begin at 0 again, and a series born since counts in full."""
    total = 0.0
    for one in series:
        values = [value for _, value in one.points]
        if one.points and one.points[0][0] >= since:
            values.insert(0, 0.0)
        total += sum(later - earlier if later >= earlier else later for earlier, later in pairwise(values))
    return total
