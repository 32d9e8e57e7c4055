"""The alerts of a drill while it runs: their rules, how far each has come, and the waits for them.

All of it by the poll, and therefore a hint: verdicts take their times from Prometheus afterwards.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from alerts import bounds
from alerts.life import GAP
from alerts.prometheus import RuleGroup
from drills.engine import preflight, rest
from drills.engine.events import Stage
from drills.engine.interrupt import Interrupt
from drills.engine.lives import Wanted, delivery_allowance, series_sources, stage
from drills.engine.pinning import external, pins
from drills.engine.polled import Inputs
from drills.engine.preflight import Waits
from drills.engine.seen import Expected
from drills.engine.target import Target
from drills.engine.watch import Snapshot, Sources, Watch
from drills.errors import WorldError
from drills.kube.objects import WrittenRules
from drills.playbook import AlertExpectation, Drill

Moved = Callable[[str, Stage], None]
UNTOLD: tuple[Stage, ...] = ("firing", "at Alertmanager")  # where Alertmanager may hold an alert back

SEEN_GONE = GAP - 0.75  # evaluations after a poll that found it gone: its last sample was at least one before
WORD_SECONDS = 2.0  # on the wall: a few polls, of which one may have failed
FORGOTTEN_SECONDS = 1.0  # on the wall: Alertmanager drops an alert soon after its end


def tries_of(snapshot: Snapshot) -> float:
    """Every try to notify that Alertmanager has counted."""
    return sum(one.requests for one in snapshot.deliveries)


class Following:
    """The expected and quiet alerts of one drill."""

    def __init__(
        self, drill: Drill, target: Target, sources: Sources, watch: Watch, interrupt: Interrupt, moved: Moved
    ) -> None:
        """``moved`` is told of every alert that reaches another stage."""
        self.expected: list[Expected] = []
        self.quiet: list[Expected] = []
        self.since = time.time()  # what fired before belongs to somebody else
        self._drill = drill
        self._target = target
        self._sources = sources
        self._watch = watch
        self._interrupt = interrupt
        self._moved = moved
        self._stages: dict[str, Stage] = {}
        self._tried: dict[str, float] = {}  # tries to notify, of any alert, before this one fired
        self._tries = 0.0
        self._have_fired: set[str] = set()
        self._outside: dict[str, str] = {}  # labels that Prometheus adds to every alert
        self._notices = sources.receiver is not None and not drill.silenced  # whether a receiver says that it was told

    def know_rules(self) -> None:
        """Find the rule of every alert that the playbook names, and refuse times that could not work."""
        groups, written = self._sources.prometheus.rules(), self._written()
        for name in [*(spec.name for spec in self._drill.expect.alerts), *self._drill.expect.quiet]:
            preflight.check_scaled(self._drill, name, groups, written.refused, self._target.time_lapse)
        scrape_ms = self._sources.prometheus.config().scrape_interval_ms
        if self._drill.silenced:
            self._outside = external([each.prometheus.config().text for each in self._sources.each()])
        expected, quiet = [], []
        for spec in self._drill.expect.alerts:
            one = self._expect(spec, Wanted(spec.name, spec.labels, spec.receiver), groups, scrape_ms)
            if one.watched is not None:
                preflight.check_times(self._drill, spec, one.watched, self._target.time_lapse)
            expected.append(one)
        for name in self._drill.expect.quiet:
            spec = AlertExpectation.model_construct(name=name, labels={}, within=0.0)
            quiet.append(self._expect(spec, Wanted(name, {}), groups, scrape_ms))
        for one in expected:
            one.written = None if one.rule is None else written.expressions.get((one.rule.name, one.rule.group))
        self.expected, self.quiet = expected, quiet  # all or nothing: a half-known drill would be half judged

    def _written(self) -> WrittenRules:
        try:
            return self._target.cluster.written_rules()
        except WorldError:
            return WrittenRules()  # a Prometheus whose rules are not in this cluster: they are shown as it has them

    def _expect(self, spec: AlertExpectation, wanted: Wanted, groups: Sequence[RuleGroup], scrape_ms: int) -> Expected:
        rules = [rule for group in groups for rule in group.rules]
        rule = preflight.rule_for(wanted.name, wanted.labels, rules)
        behind = preflight.stands_on(rule, [record for group in groups for record in group.records])
        return Expected(
            spec=spec,
            wanted=wanted,
            rule=rule,
            watched=None if rule is None else preflight.watched(rule, scrape_ms, behind),
            behind=behind,
            sources=series_sources(self._sources.prometheus, rule, behind),
            delivery=delivery_allowance(self._sources, wanted, rule),
            pins=pins(spec, rules, self._outside),
        )

    def waits(self) -> Waits:
        """The baseline that all of them need."""
        return preflight.waits([one.watched for one in (*self.expected, *self.quiet) if one.watched is not None])

    def at_rest(self, undisturbed_since: float = 0.0) -> tuple[str, ...]:
        """Wait until all are inactive and stay so; the names of those that do not.

        What the run's polls have shown since ``undisturbed_since`` (Unix time) is not waited for again.
        """
        waits, stop = self.waits(), self._interrupt.stop
        wanted = [(one.wanted.name, one.wanted.labels) for one in (*self.expected, *self.quiet)]

        def quiet(now: Snapshot) -> bool:
            return now.unknown is None and not preflight.active_names(now, wanted)

        rested = self._watch.wait(quiet, time.time() + waits.settle, stop)
        if rested is None and (ends := preflight.left_over(self._watch.latest(), wanted)) is not None:
            rested = self._watch.wait(quiet, ends + FORGOTTEN_SECONDS, stop)
        if rested is None and wanted:
            self._await_word(stop)
        if rested is not None:

            def known(now: Snapshot) -> bool:
                since = max(undisturbed_since, now.at - 2 * waits.still)
                return bool(preflight.active_names(now, wanted)) or self._shown(since, now.at, waits.still)

            self._watch.wait(known, time.time() + waits.still, stop)
        return preflight.active_names(self._watch.latest(), wanted)

    def _shown(self, since: float, until: float, still: float) -> bool:
        named = (*self.expected, *self.quiet)
        wanted = [(one.wanted.name, one.wanted.labels) for one in named]
        inputs = [
            Inputs(one.wanted.name, one.sources, one.rule.interval_ms / 1000) for one in named if one.rule is not None
        ]
        return rest.shown(self._watch.between(since, until), wanted, inputs, still)

    def _await_word(self, stop: threading.Event) -> None:
        """WorldError where nobody says which alerts are active: then nothing is known to be at rest."""
        known = self._watch.wait(lambda now: now.unknown is None, time.time() + WORD_SECONDS, stop)
        silent = self._watch.latest().unknown
        if known is None and silent is not None and not stop.is_set():
            raise WorldError(f"Whether the alerts are at rest cannot be said: {silent}")

    def tell(self) -> None:
        """Report each alert that has come further."""
        newest = self._watch.latest()
        if not newest.answered:
            return  # nobody knows: an alert that cannot be asked for is not at rest, and not resolved
        for one in (*self.expected, *self.quiet):
            now = stage(newest, one.wanted, self.since)
            if now not in ("quiet", "pending"):
                self._have_fired.add(one.wanted.name)
            elif now == "quiet" and one.wanted.name in self._have_fired and not self._notices:
                now = "resolved"  # of which nobody else tells
            if self._stages.get(one.wanted.name, "quiet") != now:
                self._stages[one.wanted.name] = now
                self._moved(one.wanted.name, now)
            if now in ("quiet", "pending"):
                self._tried[one.wanted.name] = self._tries
        self._tries = tries_of(newest)

    def observed_until(self, began: float) -> float:
        """When to stop waiting: ``within`` of every alert, and a little longer to tell late from missed."""
        return max(began + self._target.wall(one.spec.within) + self._grace(one) for one in self.expected)

    def await_arrival(self, until: float) -> None:
        """Wait until every expected alert was notified, or came as far as can be asked here."""
        goal: tuple[Stage, ...] = ("notified", "resolved")
        if not self._notices:
            goal = ("at Alertmanager", *goal) if self._sources.alertmanager else ("firing", "at Alertmanager", *goal)

        def all_there(_: Snapshot) -> bool:
            self.tell()
            return all(self._stages.get(one.wanted.name) in goal for one in self.expected)

        if self._watch.wait(all_there, until, self._interrupt.stop) is None:
            self._watch.wait(all_there, until + self._held(), self._interrupt.stop)
        if self._sources.receiver is None and self._sources.alertmanager is not None:
            self._await_tries()

    def _held(self) -> float:
        """How long (wall seconds) Alertmanager may hold back those that are on their way."""
        held = [one.delivery or 0.0 for one in self.expected if self._stages.get(one.wanted.name) in UNTOLD]
        return max(held, default=0.0)

    def _await_tries(self) -> None:
        """Wait until Alertmanager has tried to notify, at most as long as it may hold back: a receiver that fails shows
        no sooner.
        """

        def tried(now: Snapshot) -> bool:
            self.tell()
            return all(tries_of(now) > self._tried.get(one.wanted.name, 0.0) for one in fired)

        fired = [one for one in self.expected if one.wanted.name in self._have_fired]  # it may be over already
        if self._watch.latest().deliveries:
            held = max((one.delivery or 0.0 for one in fired), default=0.0)
            self._watch.wait(tried, time.time() + held, self._interrupt.stop)

    def await_quiet(self, ended: float) -> None:
        """Wait until an alert that must stay quiet would have fired, had the attack been a cause for it."""
        times = [bounds.detection(one.watched.rule, one.watched.timing).worst for one in self.quiet if one.watched]
        if not times:
            return
        until = ended + max(times)

        def seen(now: Snapshot) -> bool:
            self.tell()
            return now.at >= until

        self._watch.wait(seen, until + WORD_SECONDS, self._interrupt.stop)

    def fired(self) -> list[Expected]:
        """The alerts whose resolution is judged, and that fired."""
        judged = [one for one in self.expected if one.spec.resolves_within is not None]
        return [one for one in judged if self._stages.get(one.wanted.name, "quiet") not in ("quiet", "pending")]

    def resolved_until(self, ended: float) -> float:
        """When to stop waiting for those that fired to resolve."""
        return max(
            ended + self._target.wall(one.spec.resolves_within or 0.0) + self._grace(one) for one in self.fired()
        )

    def await_resolution(self, until: float) -> None:
        """Wait until those that fired are inactive."""
        fired = self.fired()

        def all_gone(now: Snapshot) -> bool:
            self.tell()
            return now.answered and not any(now.active(one.wanted.name, one.wanted.labels) for one in fired)

        self._watch.wait(all_gone, until, self._interrupt.stop)
        margin = max(one.watched.timing.evaluation_of(one.watched.rule) for one in fired if one.watched) / 1000
        self._interrupt.stop.wait(SEEN_GONE * margin)  # so that the absence of samples is seen, too

    def await_rest(self, ended: float) -> list[str]:
        """Wait until every alert is inactive, here and at Alertmanager, and can no longer fire for an attack that ended
        then, as long as their rules and the playbook allow; the names of those of which that cannot be said.

        Not skipped by an interrupt, but by a second one.
        """

        def at_rest(now: Snapshot) -> bool:
            self.tell()
            return not self._stirring(now, ended)

        until = ended + max((self._lasting(one) + self._grace(one) for one in self.expected), default=0.0)
        self._watch.wait(at_rest, until, self._interrupt.hurry)
        return self._stirring(self._watch.latest(), ended)

    def _stirring(self, now: Snapshot, ended: float) -> list[str]:
        return [
            one.wanted.name
            for one in self.expected
            if now.unknown is not None
            or not now.answered
            or preflight.active_names(now, [(one.wanted.name, one.wanted.labels)])
            or (one.wanted.name not in self._have_fired and now.at < ended + self._comes_within(one))
        ]

    @staticmethod
    def _comes_within(one: Expected) -> float:
        """Wall seconds after the attack in which the alert may still begin to fire."""
        return 0.0 if one.watched is None else bounds.detection(one.watched.rule, one.watched.timing).worst

    def _lasting(self, one: Expected) -> float:
        """Wall seconds after the attack in which the alert may be active, by its rule or as the playbook allows."""
        allowed = self._target.wall(one.spec.resolves_within or 0.0)
        if one.watched is None:
            return allowed
        return max(allowed, bounds.resolution(one.watched.rule, one.watched.timing), self._comes_within(one))

    def longest(self) -> float:
        """Wall seconds that all waits together may take at most."""
        waits, wall = self.waits(), self._target.wall
        arrival = [wall(one.spec.within) + (one.delivery or 0.0) + self._grace(one) for one in self.expected]
        quiet = [bounds.detection(one.watched.rule, one.watched.timing).worst for one in self.quiet if one.watched]
        gone = [wall(one.spec.resolves_within or 0.0) + self._grace(one) for one in self.expected]
        if self._drill.silenced:
            gone += [self._lasting(one) + self._grace(one) for one in self.expected]
        return waits.settle + waits.still + sum(max(times, default=0.0) for times in (arrival, quiet, gone))

    def _grace(self, one: Expected) -> float:
        """Wall seconds beyond ``within``: one scrape and two evaluations, and a second for the notification."""
        if one.watched is None:
            return 0.0
        timing = one.watched.timing
        return (timing.scrape_ms + 2 * timing.evaluation_of(one.watched.rule)) / 1000 + 1.0
