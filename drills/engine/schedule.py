"""In which order drills begin, and which side by side: worked out before a run, from the playbook and the rules. Pure.

Every pair of drills that are in conflict is put in order, so that nothing depends on how long a drill really takes: the
run begins each drill as soon as those before it are far enough. The order is the playbook's, unless another one ends
much earlier by what the rules let expect (baseline, attack, the alert's way to rest); and then only what gains by it is
moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

from alerts import bounds
from alerts.bounds import Timing
from alerts.rule import AlertRule
from alerts.timelapse import ScalingRefused, scale_rule
from drills.engine import conflicts
from drills.engine.conflicts import Conflict, Until
from drills.engine.effects import Footprint, footprint
from drills.engine.feasible import Watched
from drills.inject.base import SHORTEST_FAULT_SECONDS
from drills.playbook import Drill, Playbook, WireguardInjection

PREPARE_SECONDS = 2.0  # on the wall: pods, endpoints, the control's warm-up
PROVE_SECONDS = 1.5  # on the wall: counters and flows after the attack
REPAIR_SECONDS = 6.0  # on the wall: for a fault to take effect, and to be repaired
REMOVE_SECONDS = 1.0  # on the wall
WORTH = 0.1  # of the whole: what another order must save to be taken in place of the playbook's
MOST_TRIES = 3000  # orders that are looked at


@dataclass(frozen=True, slots=True)
class Durations:
    """What a drill is expected to take, in wall seconds."""

    baseline: float  # that its alerts must have been inactive before its attack
    attack: float
    resolution: float  # from the attack's end until its alerts have been judged

    @property
    def rest(self) -> float:
        """From the end of its attack, proven, until it has ended."""
        return max(REMOVE_SECONDS, self.resolution - PROVE_SECONDS)

    @property
    def alone(self) -> float:
        """The whole, with nothing else before or beside it."""
        return max(PREPARE_SECONDS, self.baseline) + self.attack + PROVE_SECONDS + self.rest


@dataclass(frozen=True, slots=True)
class Wait:
    """An earlier drill that a drill waits for."""

    drill: str
    conflict: Conflict


@dataclass(frozen=True, slots=True)
class Planned:
    """A drill in its place. Times are wall seconds from the start of the first drill."""

    drill: str
    durations: Durations
    waits: tuple[Wait, ...]  # every earlier drill that it is in conflict with
    starts: float
    attack_over: float
    ends: float
    disturbed_by: frozenset[str] = frozenset()  # earlier drills that can move what its rules read
    rate: float = 0.0  # attempts per second, at its fastest

    def over(self, until: Until) -> float:
        """When it lets others begin."""
        return self.attack_over if until is Until.ATTACK else self.ends


@dataclass(frozen=True, slots=True)
class Plan:
    """The drills in the order in which they begin. ``rate``: what all that attack at a time may make together."""

    drills: tuple[Planned, ...]
    time_lapse: float
    rate: float
    footprints: Mapping[str, Footprint] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """The whole, in wall seconds."""
        return max((one.ends for one in self.drills), default=0.0)

    @property
    def alone(self) -> float:
        """All drills one after another, in wall seconds."""
        return sum(one.durations.alone for one in self.drills)

    @property
    def chain(self) -> tuple[str, ...]:
        """The drills that decide how long the whole takes: each begins when the one before it lets it."""
        known = {one.drill: one for one in self.drills}
        last = max(self.drills, key=lambda one: one.ends, default=None)
        found: list[str] = []
        while last is not None:
            found.append(last.drill)
            over = {wait.drill: known[wait.drill].over(wait.conflict.until) for wait in last.waits}
            last = known[max(over, key=lambda name: over[name])] if over else None
        return tuple(reversed(found))

    def direct(self, drill: str) -> tuple[Wait, ...]:
        """The waits of a drill that do not follow from those of the drills that it waits for."""
        waits = {one.drill: {wait.drill: wait.conflict.until for wait in one.waits} for one in self.drills}
        own = next(one for one in self.drills if one.drill == drill)
        return tuple(
            wait
            for wait in own.waits
            if not any(
                wait.conflict.until in (Until.ATTACK, waits[other.drill].get(wait.drill))
                and wait.drill in waits[other.drill]
                for other in own.waits
            )
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A drill while its place is looked for."""

    drill: str
    rate: float
    durations: Durations


def plan(playbook: Playbook, drills: Sequence[Drill], rules: Sequence[Watched], time_lapse: float) -> Plan:
    """The plan for some drills of a playbook. ``rules`` run on the wall's clock, as the target evaluates them."""
    by_name: dict[str, list[Watched]] = {}
    for one in rules:
        by_name.setdefault(one.rule.alert, []).append(one)
    expressions = {name: [one.rule.expr for one in found] for name, found in by_name.items()}
    prints = [footprint(drill, expressions) for drill in drills]
    limit = playbook.guards.max_requests_per_second
    candidates = [  # a flood stays within the guard by itself, however fast it would be
        _Candidate(drill.name, min(own.rate, limit), durations(drill, by_name, time_lapse))
        for drill, own in zip(drills, prints, strict=True)
    ]
    lasting = {name: max(bounds.resolution(one.rule, one.timing) for one in found) for name, found in by_name.items()}
    return _Search(candidates, prints, lasting, limit).best(time_lapse)


def as_written(rules: Sequence[AlertRule], time_lapse: int, timing: Timing | None = None) -> list[Watched]:
    """Rules as a target of that time-lapse would run them, for a plan without a target; those that cannot are left out.

    ``timing`` in playbook time: what Prometheus is set to.
    """
    timing = timing or Timing()
    scaled = Timing(timing.scrape_ms // time_lapse, timing.evaluation_ms // time_lapse)
    found = []
    for rule in rules:
        try:
            found.append(Watched(scale_rule(rule, time_lapse).scaled, scaled))
        except ScalingRefused:
            continue
    return found


def durations(drill: Drill, rules: Mapping[str, Sequence[Watched]], time_lapse: float) -> Durations:
    """What a drill is expected to take if its alerts come as late as their rules allow."""
    expected = [(spec, one) for spec in drill.expect.alerts for one in rules.get(spec.name, ())]
    quiet = [one for name in drill.expect.quiet for one in rules.get(name, ())]
    attack = drill.injection.duration / time_lapse
    if isinstance(drill.injection, WireguardInjection):
        attack = max(attack, SHORTEST_FAULT_SECONDS) + REPAIR_SECONDS
    ends = [0.0]
    ends += [bounds.detection(one.rule, one.timing).worst for one in quiet]
    for spec, one in expected:
        ends.append(max(0.0, bounds.detection(one.rule, one.timing).worst - attack))
        if spec.resolves_within is not None or drill.silenced:  # whose silence is lifted at rest
            ends.append(bounds.resolution(one.rule, one.timing))
    still = max(
        (bounds.hold_still([one.rule], one.timing) for one in (*quiet, *(one for _, one in expected))), default=0.0
    )
    return Durations(baseline=still, attack=attack, resolution=max(ends))


class _Search:
    """Looks for the order that ends first."""

    def __init__(
        self,
        candidates: Sequence[_Candidate],
        prints: Sequence[Footprint],
        lasting: Mapping[str, float],
        rate: float,
    ) -> None:
        """``lasting``: wall seconds that an alert may stay active after the last event, by name."""
        self._all, self._prints = candidates, prints
        self._rate = rate
        numbers = range(len(candidates))
        self._waits = {
            (i, j): found
            for i in numbers
            for j in numbers
            if i != j and (found := conflicts.between(prints[i], prints[j])) is not None
        }
        self._settles = {
            (i, j): max(lasting[read.alert] for read in moved)
            for i in numbers
            for j in numbers
            if (moved := [read for read in prints[j].reads if prints[i].moves(read)])
        }

    def best(self, time_lapse: float) -> Plan:
        """The playbook's order, unless another one ends much earlier; then that one, as near to it as it can be.

        Looked for from the playbook's order, from the longest drill first, and from those first that wait for alerts,
        by moving one drill at a time to another place as long as that ends earlier.
        """
        written = list(range(len(self._all)))
        long = sorted(written, key=lambda i: -self._all[i].durations.alone)
        waiting = sorted(written, key=lambda i: -self._all[i].durations.resolution)
        best = min((self._improved(order) for order in (written, waiting, long)), key=self._cost)
        worth = self._cost(best)[0] <= (1 - WORTH) * self._cost(written)[0]
        return self._planned(self._as_written(best) if worth else written, time_lapse)

    def _as_written(self, order: list[int]) -> list[int]:
        """The order with neighbours put back into the playbook's wherever that does not end later."""
        ends, changed = self._cost(order)[0], True
        while changed:
            changed = False
            for place, (one, other) in enumerate(pairwise(order)):
                swapped = [*order[:place], other, one, *order[place + 2 :]]
                if one > other and self._cost(swapped)[0] <= ends:
                    order, changed = swapped, True
                    break
        return order

    def _improved(self, order: list[int]) -> list[int]:
        best, tries, improved = self._cost(order), 0, True
        while improved and tries < MOST_TRIES:
            improved = False
            for moved, place in product(range(len(order)), repeat=2):
                other = [one for one in order if one != moved]
                other.insert(place, moved)
                tries += 1
                if (cost := self._cost(other)) < best:
                    order, best, improved = other, cost, True
        return order

    def _cost(self, order: Sequence[int]) -> tuple[float, float]:
        """When all has ended; then, when each begins, so that what decides nothing does not wait either."""
        placed = self._place(order)
        ends = max((one[2] for one in placed.values()), default=0.0)
        return round(ends, 3), round(sum(one[0] for one in placed.values()), 3)

    def _place(self, order: Sequence[int]) -> dict[int, tuple[float, float, float]]:
        """Start, end of the attack and end of each drill, begun in this order."""
        placed: dict[int, tuple[float, float, float]] = {}
        for j in order:
            own = self._all[j]
            starts, rests = 0.0, 0.0  # rests: when its alerts are inactive at last
            for i, (_, over, ends) in placed.items():
                if (found := self._waits.get((i, j))) is not None:
                    starts = max(starts, over if found.until is Until.ATTACK else ends)
                    rests = max(rests, over + self._settles.get((i, j), -over))
            starts = self._within_rate(starts, own, placed)
            attacks = max(starts + PREPARE_SECONDS, rests + own.durations.baseline)
            over = attacks + own.durations.attack + PROVE_SECONDS
            placed[j] = (starts, over, over + own.durations.rest)
        return placed

    def _within_rate(self, starts: float, own: _Candidate, placed: Mapping[int, tuple[float, float, float]]) -> float:
        """The first moment from ``starts`` on at which all that attack then stay within the guard's rate."""
        while True:
            others = [i for i, (_, over, _) in placed.items() if over > starts]
            if sum(self._all[i].rate for i in others) + own.rate <= self._rate:
                return starts
            starts = min(placed[i][1] for i in others)

    def _planned(self, order: Sequence[int], time_lapse: float) -> Plan:
        placed = self._place(order)
        found = []
        for number, j in enumerate(order):
            before = order[:number]
            waits = tuple(Wait(self._all[i].drill, self._waits[i, j]) for i in before if (i, j) in self._waits)
            disturbed = frozenset(self._all[i].drill for i in before if (i, j) in self._settles)
            starts, over, ends = placed[j]
            one = self._all[j]
            found.append(Planned(one.drill, one.durations, waits, starts, over, ends, disturbed, one.rate))
        return Plan(tuple(found), time_lapse, self._rate, {one.name: one for one in self._prints})
