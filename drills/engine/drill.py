"""One drill from beginning to end: prepare, baseline, inject, observe, recover. What was seen is judged in `judging`.

Whatever happens in between, what was made is removed, and what was seen is reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alerts.prometheus import LoadedRule
from drills.engine import evidence, judging, preflight
from drills.engine.actors import Actors
from drills.engine.attempts import Probe
from drills.engine.events import (
    AlertMoved,
    AttemptsMade,
    DrillFinished,
    Listener,
    Note,
    Phase,
    PhaseStarted,
    Role,
    Stage,
)
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.judging import Period
from drills.engine.lives import Wanted, series_sources, stage
from drills.engine.preflight import Waits
from drills.engine.result import Drill as DrillResult
from drills.engine.result import Recovery
from drills.engine.seen import Expected, Seen
from drills.engine.target import Target
from drills.engine.watch import Sources, Watch
from drills.errors import WorldError
from drills.inject.base import OutcomeKind
from drills.inject.http import HttpJudge, probe_config
from drills.playbook import AlertExpectation, Drill, HttpControl, HttpInjection, Playbook

WARM_UPS = 5  # control attempts before the baseline, until one succeeds
WARM_UP_SECONDS = 1.0  # between two of them, on the wall
START_TOGETHER = 0.3  # wall seconds from "go" to the first attempt, so that attack and control begin as one
TELL_SECONDS = 0.25
FLOW_FILTERS = ("--verdict", "DROPPED", "-t", "l7")


@dataclass(frozen=True, slots=True)
class Context:
    """What a drill needs to know of its run."""

    run: str
    playbook: Playbook
    target: Target
    journal: Journal
    watch: Watch
    listener: Listener
    interrupt: Interrupt


class DrillRun:
    """The life of one drill of a loaded playbook."""

    def __init__(self, drill: Drill, context: Context) -> None:
        preflight.check_built(drill)
        self.drill = drill
        self.seen = Seen(started=time.time())
        self.expected: list[Expected] = []
        self.quiet: list[Expected] = []
        self._context = context
        self._target = context.target
        self._sources: Sources = context.target.sources()
        self._actors = Actors(context.target, context.playbook, context.journal, context.run, context.interrupt)
        self._stages: dict[str, Stage] = {}
        self._deadline = float("inf")

    @property
    def injection(self) -> HttpInjection:
        """The attack."""
        return preflight.http_of(self.drill)

    @property
    def control(self) -> HttpControl:
        """The authorised request beside it."""
        control = self.drill.control
        assert isinstance(control, HttpControl)
        return control

    def run(self) -> DrillResult:
        """Every phase, then the verdict; InputError for a drill that could not end well, before anything is made."""
        self._know_rules()
        try:
            self._prepare()
            if self._baseline():
                self._inject()
                self._observe()
        except WorldError as error:
            self.seen.lack = str(error)
            self._note(str(error))
        finally:
            self._recover()
        self.seen.observed_until = time.time()
        result = self._judge()
        self._context.journal.write("verdict", drill=self.drill.name, verdict=result.verdict, reasons=result.reasons)
        self._context.listener(DrillFinished(result))
        return result

    def _judge(self) -> DrillResult:
        period = Period(
            snapshots=self._context.watch.between(self.seen.baseline_began, time.time()),
            time_lapse=self._target.time_lapse,
            aborted=self._context.interrupt.reason,
        )
        return judging.judge(self.drill, self.seen, self.expected, self.quiet, self._sources, period)

    # --- phases ---------------------------------------------------------------------------------------------------

    def _know_rules(self) -> None:
        """Find the rule of every alert that the playbook names, and refuse times that could not work."""
        rules = [rule for group in self._sources.prometheus.rules() for rule in group.rules]
        scrape_ms = self._sources.prometheus.config().scrape_interval_ms
        for spec in self.drill.expect.alerts:
            one = self._expect(spec, Wanted(spec.name, spec.labels, spec.receiver), rules, scrape_ms)
            if one.watched is not None:
                preflight.check_times(self.drill, spec, one.watched, self._target.time_lapse)
            self.expected.append(one)
        for name in self.drill.expect.quiet:
            spec = AlertExpectation.model_construct(name=name, labels={}, within=0.0)
            self.quiet.append(self._expect(spec, Wanted(name, {}), rules, scrape_ms))

    def _expect(self, spec: AlertExpectation, wanted: Wanted, rules: Sequence[LoadedRule], scrape_ms: int) -> Expected:
        rule = preflight.rule_for(wanted.name, wanted.labels, rules)
        return Expected(
            spec=spec,
            wanted=wanted,
            rule=rule,
            watched=None if rule is None else preflight.watched(rule, scrape_ms),
            sources=series_sources(self._sources.prometheus, rule),
        )

    def _prepare(self) -> None:
        limit = self._target.wall(self._context.playbook.guards.max_duration)
        self._phase("prepare", "drill pods")
        self._actors.bring(self.drill.name, (self.injection.source, self.control.source), self._lifetime(limit))
        self.seen.policies, self.seen.actors = self._actors.realise()
        self._context.journal.write("ready", drill=self.drill.name, actors=[one.pod for one in self.seen.actors])

    def _lifetime(self, limit: float) -> float:
        """How long a drill pod may live, should this process die: baseline, attack and observation, with room."""
        waits = self._waits()
        return 120.0 + waits.settle + waits.still + limit

    def _baseline(self) -> bool:
        """The path is up and every alert at rest; False where the attack would prove nothing."""
        waits = self._waits()
        self.seen.baseline_began = time.time()
        self._phase("baseline", "control up, alerts at rest", waits.settle + waits.still)
        if not self._warm_up():
            self.seen.lack = "the control did not succeed once before the attack"
            self._note(
                "the control does not work: no attack is made, because a denial beside a dead path proves nothing"
            )
            return False
        wanted = [(one.wanted.name, one.wanted.labels) for one in (*self.expected, *self.quiet)]
        watch, stop = self._context.watch, self._context.interrupt.stop
        if watch.wait(lambda now: not preflight.active_names(now, wanted), time.time() + waits.settle, stop):
            watch.wait(lambda now: bool(preflight.active_names(now, wanted)), time.time() + waits.still, stop)
        self.seen.active_before = preflight.active_names(watch.latest(), wanted)
        if self.seen.active_before:
            self._note(f"already active before the attack: {', '.join(self.seen.active_before)}")
        return not self._stopped()

    def _warm_up(self) -> bool:
        actor = self._actors.of(self.control.source)
        judge = HttpJudge(self.control)
        for number in range(WARM_UPS):
            config = {
                **probe_config("warm-up", self.control, scale=1.0),
                "count": 1,
                "deadline": self.control.timeout + 1,
            }
            probe = Probe(self._target.cluster, (actor.namespace, actor.pod), config, judge.control)
            probe.ready()
            probe.go()
            probe.wait(self.control.timeout + 2)
            probe.close()
            self._context.journal.write("warm-up", drill=self.drill.name, outcomes=probe.outcomes(), error=probe.error)
            if any(one.outcome.kind is OutcomeKind.SUCCEEDED for one in probe.attempts()):
                return True
            self.seen.control += probe.attempts()
            self.seen.control_error = probe.error
            if number < WARM_UPS - 1 and self._context.interrupt.stop.wait(WARM_UP_SECONDS):
                return False
        return False

    def _inject(self) -> None:
        self.seen.control.clear()
        self.seen.counter_before = evidence.read(self._sources.prometheus, evidence.HTTP_DENIED)
        attack = self._probe("attack", self.injection, HttpJudge(self.injection, self.drill.expect.denied or ()).attack)
        control = self._probe("control", self.control, HttpJudge(self.control).control)
        try:
            attack.ready()
            control.ready()
            self._attack(attack, control)
        finally:
            attack.close()
            control.close()
            self._keep(attack, control)
        self._gather()

    def _probe(self, role: Role, injection: HttpInjection, classify: Callable[..., object]) -> Probe:
        actor = self._actors.of(injection.source)
        config = probe_config(f"{self.drill.name}-{role}", injection, scale=self._target.time_lapse)
        return Probe(self._target.cluster, (actor.namespace, actor.pod), config, classify)  # type: ignore[arg-type]

    def _attack(self, attack: Probe, control: Probe) -> None:
        seconds = self._target.wall(self.injection.duration)
        self._phase("inject", f"{self.injection.method} {self.injection.url}", seconds)
        self._deadline = time.time() + self._target.wall(self._context.playbook.guards.max_duration)
        began = time.time() + START_TOGETHER
        self.seen.attack_began = began
        self._context.journal.write("attack", drill=self.drill.name, attempts=self.injection.attempts)
        attack.go(began)
        control.go(began)
        while not (attack.over() and control.over()) and not self._stopped():
            attack.wait(TELL_SECONDS) and control.wait(TELL_SECONDS)
            self._tell("attack", attack, self.injection.attempts)
            self._tell("control", control, self.control.attempts)
            self._tell_alerts()

    def _keep(self, attack: Probe, control: Probe) -> None:
        self.seen.attack, self.seen.control = attack.attempts(), control.attempts()
        self.seen.attack_error, self.seen.control_error = attack.error, control.error
        if self.seen.attack:
            self.seen.attack_began = min(one.attempt.at for one in self.seen.attack)
            self.seen.attack_ended = max(one.attempt.at for one in self.seen.attack)
        for role, probe in (("attack", attack), ("control", control)):
            self._context.journal.write(
                "attempts", drill=self.drill.name, role=role, outcomes=probe.outcomes(), error=probe.error
            )

    def _gather(self) -> None:
        """Flows at once, because ring buffers forget; the counter once Prometheus has scraped it after the attack."""
        denied = [one.attempt for one in self.seen.attack if one.outcome.kind is OutcomeKind.DENIED]
        if not denied or self.seen.attack_began is None:
            return
        try:
            found = self._target.cluster.hubble_flows(self.seen.attack_began - 1, FLOW_FILTERS)
            self.seen.flows = evidence.flow_evidence(found, [(one.local_address, one.local_port) for one in denied])
        except WorldError as error:
            self._note(f"Hubble's flows could not be read: {error}")
        scrape = self._sources.prometheus.config().scrape_interval_ms / 1000
        until = time.time() + 2 * scrape + 1.0
        self.seen.counter_after = evidence.read_after(
            lambda: evidence.read(self._sources.prometheus, evidence.HTTP_DENIED),
            self.seen.counter_before,
            len(denied),
            lambda: time.time() < until and not self._context.interrupt.hurry.wait(0.1),
        )

    def _observe(self) -> None:
        """Wait for the expected alerts as long as the playbook allows, and a little longer to tell late from missed."""
        began = self.seen.attack_began
        if (
            began is None
            or not self.expected
            or not any(one.outcome.kind is OutcomeKind.DENIED for one in self.seen.attack)
        ):
            return
        until = max(began + self._target.wall(one.spec.within) + self._grace(one) for one in self.expected)
        self._phase("observe", "waiting for the alerts", max(0.0, until - time.time()))
        goal: tuple[Stage, ...] = ("notified", "resolved")
        if self._sources.receiver is None:
            goal = ("at Alertmanager", *goal) if self._sources.alertmanager else ("firing", "at Alertmanager", *goal)

        def all_there(_: object) -> bool:
            self._tell_alerts()
            return all(self._stages.get(one.wanted.name) in goal for one in self.expected) or self._stopped()

        self._context.watch.wait(all_there, until, self._context.interrupt.stop)

    def _grace(self, one: Expected) -> float:
        """Wall seconds beyond ``within``: one scrape and two evaluations, and a second for the notification."""
        if one.watched is None:
            return 0.0
        timing = one.watched.timing
        return (timing.scrape_ms + 2 * timing.evaluation_of(one.watched.rule)) / 1000 + 1.0

    def _recover(self) -> None:
        began = time.monotonic()
        self._phase("recover", "removing the drill pods")
        problem = self._actors.remove()
        seconds = round(self._target.playbook(time.monotonic() - began), 1)
        if problem is None:
            self.seen.recovery = Recovery(verdict="restored", seconds=seconds)
        else:
            self.seen.recovery = Recovery(verdict="not-restored", seconds=seconds, reason=problem)
        self._await_resolution()

    def _await_resolution(self) -> None:
        ended = self.seen.attack_ended
        judged = [one for one in self.expected if one.spec.resolves_within is not None]
        fired = [one for one in judged if self._stages.get(one.wanted.name, "quiet") not in ("quiet", "pending")]
        if ended is None or not fired:
            return
        until = max(ended + self._target.wall(one.spec.resolves_within or 0.0) + self._grace(one) for one in fired)
        self._phase("recover", "waiting for the alerts to resolve", max(0.0, until - time.time()))

        def all_gone(now: object) -> bool:
            del now
            self._tell_alerts()
            newest = self._context.watch.latest()
            return not any(newest.active(one.wanted.name, one.wanted.labels) for one in fired)

        self._context.watch.wait(all_gone, until, self._context.interrupt.stop)
        margin = max(one.watched.timing.evaluation_of(one.watched.rule) for one in fired if one.watched) / 1000
        self._context.interrupt.hurry.wait(3 * margin)  # so that the absence of samples is seen, too

    # --- helpers --------------------------------------------------------------------------------------------------

    def _waits(self) -> Waits:
        return preflight.waits([one.watched for one in (*self.expected, *self.quiet) if one.watched is not None])

    def _stopped(self) -> bool:
        """Whether a guard or a signal ended the attack; asks the guards."""
        interrupt = self._context.interrupt
        if not interrupt.stop.is_set():
            aborting = self._context.watch.latest().aborting
            if aborting:
                interrupt.abort(f"the guard's condition holds: {aborting[0]}")
            elif time.time() > self._deadline:
                limit = self._context.playbook.guards.max_duration
                interrupt.abort(f"the drill {self.drill.name} took longer than the guard's {limit:g} s")
        return interrupt.stop.is_set()

    def _phase(self, phase: Phase, detail: str, seconds: float | None = None) -> None:
        self._context.journal.write("phase", drill=self.drill.name, phase=phase, detail=detail)
        self._context.listener(PhaseStarted(self.drill.name, phase, detail, seconds))

    def _note(self, text: str) -> None:
        self._context.journal.write("note", drill=self.drill.name, text=text)
        self._context.listener(Note(self.drill.name, text))

    def _tell(self, role: Role, probe: Probe, planned: int) -> None:
        self._context.listener(AttemptsMade(self.drill.name, role, planned, probe.outcomes()))

    def _tell_alerts(self) -> None:
        newest = self._context.watch.latest()
        for one in (*self.expected, *self.quiet):
            now = stage(newest, one.wanted, self.seen.attack_began or self.seen.started)
            if self._stages.get(one.wanted.name, "quiet") != now:
                self._stages[one.wanted.name] = now
                self._context.journal.write("alert", drill=self.drill.name, alert=one.wanted.name, stage=now)
                self._context.listener(AlertMoved(self.drill.name, one.wanted.name, now))
