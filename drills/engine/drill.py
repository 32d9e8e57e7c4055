"""One drill from beginning to end: prepare, baseline, inject, observe, recover. What was seen is judged in `judging`.

Whatever happens in between, what was made is removed, and what was seen is reported.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from drills.engine import enforcing, faulted, judging, preflight, told
from drills.engine.actors import Actors
from drills.engine.attack import Attack, Counted
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
from drills.engine.fault import LONGEST_BESIDE, Fault
from drills.engine.flood import Flood, locustfile
from drills.engine.following import Following
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.neighbours import Neighbours
from drills.engine.period import Period
from drills.engine.result import Drill as DrillResult
from drills.engine.result import Recovery
from drills.engine.seen import Expected, Seen
from drills.engine.silencing import Silencing
from drills.engine.target import Target
from drills.engine.watch import Sources, Watch
from drills.errors import DrillsError
from drills.inject.base import OutcomeKind
from drills.playbook import Control, Drill, FloodInjection, Injection, Playbook, WireguardInjection

PROOF_SECONDS = 5.0  # on the wall, for the proof of an attack that was stopped: whoever stops a pod does not wait


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
    neighbours: Neighbours = field(default_factory=Neighbours)


class DrillRun:
    """The life of one drill of a loaded playbook."""

    def __init__(self, drill: Drill, context: Context) -> None:
        preflight.check_built(drill)
        self.drill = drill
        self.seen = Seen(started=time.time(), concerned=enforcing.concerned(context.playbook, drill))
        target, journal, interrupt = context.target, context.journal, context.interrupt
        self._context = context
        self._target = target
        self._sources: Sources = target.sources()
        self._actors = Actors(target, context.playbook, journal, context.run, interrupt)
        self._alerts = Following(drill, target, self._sources, context.watch, interrupt, self._moved)
        self._attack = self._attack_by(drill.injection)
        names = (context.run, context.playbook.name, drill.name)
        self._silencing = Silencing(names, target, self._sources, journal, interrupt)
        self._deadline = float("inf")
        self._proven = False  # whether what proves the attack's denials was read

    def _attack_by(self, injection: Injection) -> Attack | Fault | Flood:
        target, journal, interrupt = self._target, self._context.journal, self._context.interrupt
        name, control = self.drill.name, self.control
        if isinstance(injection, WireguardInjection):
            record = (self.seen, journal, self._context.run)
            world = (target, self._actors, interrupt)
            return Fault(name, injection, control, world, record, captures=self.drill.captures)
        if isinstance(injection, FloodInjection):
            around = (target, self._sources, self._actors, self._context.playbook)
            return Flood(self.drill, injection, control, around, (self.seen, journal), interrupt)
        tried = (injection, control, self.drill.expect.denied or ())
        return Attack(name, tried, (target, self._sources, self._actors), (self.seen, journal), interrupt)

    @property
    def control(self) -> Control:
        """The authorised attempt beside it."""
        return preflight.control_of(self.drill)

    @property
    def expected(self) -> list[Expected]:
        """The alerts that must come."""
        return self._alerts.expected

    @property
    def quiet(self) -> list[Expected]:
        """The alerts that must not come."""
        return self._alerts.quiet

    def know(self) -> None:
        """InputError for a drill that could not end well, WorldError if Prometheus cannot be asked: nothing is made."""
        know(self.drill, self._context.playbook, self._target, self._alerts)

    def run(self, attack_over: Callable[[], None] = lambda: None, undisturbed_since: float = 0.0) -> DrillResult:
        """Every phase, then the verdict, whatever happens in between.

        ``attack_over`` is told when the attack has ended and what proves its denials was read; ``undisturbed_since`` is
        the Unix time at which another drill of the run last moved what this one's rules read.
        """
        self.seen.started = time.time()
        try:
            self._alerts.know_rules()  # again: they may have changed since the run began
            self._prepare()
            if self._baseline(undisturbed_since):
                self._inject()
                attack_over()
                self._observe()
        except DrillsError as error:
            self.seen.lack = str(error)
            self._note(str(error))
        finally:
            self._recover()
        self.seen.observed_until = time.time()
        return self._tell_verdict(self._judge())

    def longest(self) -> float:
        """Wall seconds after which it hangs: far more than all its limits together."""
        limit = self._target.wall(self._context.playbook.guards.max_duration)
        return self._lifetime(limit) + self._attack.seconds + self._alerts.longest()

    def lost(self, reason: str) -> DrillResult:
        """The result of a drill that did not come to its end."""
        return self._tell_verdict(judging.lost(self.drill, self.seen, reason))

    def _tell_verdict(self, result: DrillResult) -> DrillResult:
        self._context.journal.write("verdict", drill=self.drill.name, verdict=result.verdict, reasons=result.reasons)
        self._context.listener(DrillFinished(result))
        return result

    def _judge(self) -> DrillResult:
        now = time.time()
        period = Period(
            snapshots=self._context.watch.between(self.seen.baseline_began, now),
            time_lapse=self._target.time_lapse,
            aborted=self._context.interrupt.reason,
            until=now,
            foreign=partial(self._context.neighbours.own, self.drill.name),
        )
        return judging.judge(self.drill, self.seen, self.expected, self.quiet, self._sources, period)

    # --- phases ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        limit = self._target.wall(self._context.playbook.guards.max_duration)
        self._context.journal.write("plan", drill=self.drill.name, **told.plan(self.drill, self._context.playbook))
        self._phase("prepare", "drill pods")
        self._actors.bring(self.drill.name, self._attack.parts, self._lifetime(limit))
        ready = self._actors.realise(self._attack.targets(), self.seen.concerned)
        self.seen.policies, self.seen.actors, self.seen.unasked = ready.policies, ready.actors, ready.unasked
        self.seen.images = ready.images
        self._attack.prepare(self._lifetime(limit))
        self._context.journal.write("ready", drill=self.drill.name, actors=[one.pod for one in self.seen.actors])

    def _lifetime(self, limit: float) -> float:
        """How long a drill pod may live, should this process die: baseline, attack and observation, with room."""
        waits = self._alerts.waits()
        beside = LONGEST_BESIDE if isinstance(self.drill.injection, WireguardInjection) else 0.0
        return 120.0 + waits.settle + waits.still + limit + beside

    def _baseline(self, undisturbed_since: float) -> bool:
        """The path is up and every alert at rest; False where the attack would prove nothing."""
        waits = self._alerts.waits()
        self.seen.baseline_began = time.time()
        self._phase("baseline", "control up, alerts at rest", waits.settle + waits.still)
        if not self._attack.warm_up():
            failed = ", ".join(sorted({one.outcome.name for one in self.seen.control}))
            self.seen.lack = f"the control did not succeed once before the attack ({failed or 'it did not run'})"
            self._note(
                "the control does not work: no attack is made, because a denial beside a dead path proves nothing"
            )
            return False
        self.seen.active_before = self._alerts.at_rest(undisturbed_since)
        if self.seen.active_before:
            self._note(f"already active before the attack: {', '.join(self.seen.active_before)}")
        if told := sorted({one.name for one in self.drill.silenced} & {*self.seen.active_before}):
            self.seen.lack = f"{' and '.join(told)} is active already, and a silence would hide of what it tells"
            return False
        return not self._stopped()

    def _inject(self) -> None:
        """The attack, then at once what proves who denied it, which may take two scrapes; not before a stop's undo."""
        stop = self._context.interrupt.stop
        if self.drill.silenced:
            self._phase("baseline", "laying silences over the alerts")
            self._silencing.lay(self.expected, self.longest())
        try:
            self._attack.run(self._begin, self._tell, self._stopped)
        finally:
            if not stop.is_set():
                self.seen.policies_after = self._actors.policies()
        if not stop.is_set():
            self._attack.gather(stop)
            self._proven = not stop.is_set()

    def _gather_late(self) -> None:
        """What can be read of the proof in a moment, now that all is undone."""
        enough = threading.Event()
        timer = threading.Timer(PROOF_SECONDS, enough.set)
        timer.daemon = True
        timer.start()
        try:
            self.seen.policies_after = self._actors.policies()
            self._attack.gather(enough)
        except DrillsError as error:
            self._note(str(error))
        finally:
            timer.cancel()

    def _begin(self) -> None:
        limit = self._target.wall(self._context.playbook.guards.max_duration)
        self._phase("inject", self._attack.title, self._attack.seconds)
        self._deadline = time.time() + max(limit, self._attack.seconds + self._attack.settles)
        self._alerts.since = time.time()

    def _observe(self) -> None:
        """Wait for the expected alerts as long as the playbook allows."""
        began = self.seen.attack_began
        if began is None or not self.expected or not self._really_happened():
            return
        until = self._alerts.observed_until(began)
        self._phase("observe", "waiting for the alerts", max(0.0, until - time.time()))
        self._alerts.await_arrival(until)

    def _really_happened(self) -> bool:
        """Whether there was something that an alert could tell of."""
        if self.seen.fault is not None:
            return self.seen.fault.happened
        if self.seen.load is not None:
            return self.seen.attacked and self.seen.load.shortfall is None
        return any(one.outcome.kind is OutcomeKind.DENIED for one in self.seen.attack)

    def _recover(self) -> None:
        self._phase("recover", "removing the drill pods")
        problems, self.seen.recovery = self._attack.remove(), self._actors.remove()
        if self.seen.fault is not None:
            self.seen.recovery = faulted.recovery(self.seen.recovery, self.seen.fault, problems)
        if self._context.interrupt.stop.is_set() and self.seen.attack_began is not None and not self._proven:
            self._gather_late()
        ended = self.seen.attack_ended
        if ended is not None:
            self._alerts.await_quiet(ended)
        if ended is not None and self._alerts.fired():
            until = self._alerts.resolved_until(ended)
            self._phase("recover", "waiting for the alerts to resolve", max(0.0, until - time.time()))
            self._alerts.await_resolution(until)
        if self._silencing.standing:
            self._lift_silences()

    def _lift_silences(self) -> None:
        """Once nobody would be woken by it; what was attacked may still make an alert fire for a while."""
        stirring: list[str] = []
        if self.seen.attack_began is not None:
            self._phase("recover", "waiting for the silenced alerts to come to rest")
            stirring = self._alerts.await_rest(self.seen.attack_ended or self.seen.attack_began)
        before = self.seen.recovery or Recovery(verdict="not-verified", seconds=None, reason="the undo did not run")
        self.seen.recovery = self._silencing.lift(stirring, before)
        if stirring:
            self._note(self.seen.recovery.reason)

    # --- helpers --------------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        """Whether a guard or a signal ended the attack; asks the guards."""
        interrupt = self._context.interrupt
        if not interrupt.stop.is_set():
            aborting = self._context.watch.latest().aborting
            if aborting:
                interrupt.abort(f"the guard's condition holds: {aborting[0]}")
            elif (blind := self._context.watch.blind_guards()) is not None:
                interrupt.abort(f"the guards' conditions cannot be evaluated: {blind}")
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

    def _tell(self, role: Role, made: Counted, planned: int) -> None:
        self._context.listener(AttemptsMade(self.drill.name, role, planned, made.outcomes()))
        self._alerts.tell()

    def _moved(self, alert: str, stage: Stage) -> None:
        self._context.journal.write("alert", drill=self.drill.name, alert=alert, stage=stage)
        self._context.listener(AlertMoved(self.drill.name, alert, stage))


def know(drill: Drill, playbook: Playbook, target: Target, alerts: Following) -> None:
    """Learn the rules of a drill's alerts. InputError for one that could not end well; nothing is made."""
    preflight.check_namespaces(drill, playbook)
    preflight.check_silence(drill, target.addresses.alertmanager)
    preflight.check_capacity(drill, target.time_lapse, target.capacity)
    if isinstance(drill.injection, FloodInjection):
        locustfile(drill.injection)
    alerts.know_rules()
