"""A flood from beginning to end: Locust's pods, and under its load the attacks that must still be denied, with their
control.

The load surrounds the attempts: it stands before the first of them begins, and all of them are to be over before it
ends.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drills.engine import enforcing, preflight
from drills.engine.actors import Actors, Part
from drills.engine.attack import TELL_SECONDS, Attack, Tell
from drills.engine.attempts import Probe
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.load import Load
from drills.engine.seen import LoadSeen, Seen, Under
from drills.engine.series import growth, series
from drills.engine.target import Target
from drills.engine.watch import Sources
from drills.errors import DrillsError, InputError, WorldError
from drills.inject import flood
from drills.inject.flood import Locustfile, Plan, RateWatch
from drills.inject.kinds import kind_of
from drills.kube import Service
from drills.playbook import Drill, FloodInjection, Playbook
from drills.playbook.model import Control

MASTER = "master"
LEAD_SECONDS = 0.5  # on the wall, that the load stands before and after the attempts; less of a short flood
GLANCE_SECONDS = 2.0  # on the wall, between two looks at the flows


@dataclass(frozen=True, slots=True)
class Made:
    """Attempts or requests so far."""

    counts: Mapping[str, int]

    def outcomes(self) -> Mapping[str, int]:
        """By outcome."""
        return self.counts


class Flood:
    """One flood; what it finds goes into ``seen``."""

    def __init__(
        self,
        drill: Drill,
        injection: FloodInjection,
        control: Control,
        world: tuple[Target, Sources, Actors, Playbook],
        record: tuple[Seen, Journal],
        interrupt: Interrupt,
    ) -> None:
        """InputError where the locustfile cannot be read."""
        self.name = drill.name
        self._injection, self._control = injection, control
        self._target, sources, self._actors, playbook = world
        self._seen, self._journal = record
        self._interrupt = interrupt
        limit = playbook.guards.max_requests_per_second
        beside = control.rate + sum(under.injection.rate for under in drill.expect.during)
        self._plan = Plan.of(injection, self._target.time_lapse, locustfile(injection), limit - beside)
        self._limit = limit * self._target.time_lapse
        self._load: Load | None = None
        self._written = 0  # of the reports
        self._state = self._seen.load = LoadSeen(injection.rate, injection.users, injection.workers)
        self._state.under = [
            Under(one, kind_of(preflight.attack_of(one)).title, _seen(one, playbook, self._seen))
            for one in alone(drill)
        ]
        places = (self._target, sources, self._actors)
        self._attacks = [
            Attack(
                self.name,
                (preflight.attack_of(one.spec), control, one.spec.expect.denied or ()),
                places,
                (one.seen, self._journal),
                interrupt,
            )
            for one in self._state.under
        ]

    @property
    def title(self) -> str:
        """What is tried, in a few words."""
        return f"load on {self._injection.url}; meanwhile {', '.join(one.title for one in self._state.under)}"

    @property
    def parts(self) -> list[Part]:
        """Who acts: the probes, and for Locust a master and the workers."""
        source = self._injection.source
        found: list[Part] = [attack.parts[0] for attack in self._attacks]
        found += [(self._control.source, ""), (source, MASTER)]
        return found + [(source, _worker(number)) for number in range(self._injection.workers)]

    @property
    def seconds(self) -> float:
        """How long it lasts, on the wall."""
        return self._plan.seconds

    @property
    def settles(self) -> float:
        """Wall seconds that it may take beyond that: until all users are there."""
        return flood.START_SECONDS

    def targets(self) -> list[Service]:
        """The Services that are attacked under the load. Raises WorldError."""
        return [service for attack in self._attacks for service in attack.targets()]

    def prepare(self, lifetime: float) -> None:
        """Locust starts in its pods, and waits."""
        source = self._injection.source
        workers = [self._actors.of(source, _worker(number)) for number in range(self._injection.workers)]
        master = self._actors.of(source, MASTER)
        self._load = Load(self._target.cluster, self.name, self._plan, (master, workers), lifetime)
        self._load.start()

    def remove(self) -> list[DrillsError]:
        """The programs end; their pods are removed with all others."""
        if self._load is not None:
            self._load.close()
        return []

    def warm_up(self) -> bool:
        """Whether the control succeeds at all, without load."""
        first = self._attacks[0]
        succeeded = first.warm_up()
        self._seen.control = self._state.under[0].seen.control
        self._seen.control_error = self._state.under[0].seen.control_error
        return succeeded

    def run(self, begin: Callable[[], None], tell: Tell, stopped: Callable[[], bool]) -> None:
        """The load, and under it all attempts, to their end or until ``stopped``."""
        assert self._load is not None
        self._seen.control.clear()
        for attack in self._attacks:
            attack.look_before()
        within = self.seconds - 2 * min(LEAD_SECONDS, self.seconds / 8)
        attackers = [attack.attacker(within) for attack in self._attacks]
        control = self._attacks[0].controller(within)
        enough = threading.Event()
        glancing = threading.Thread(target=self._glance, args=(enough,), name=f"glances-{self.name}", daemon=True)
        try:
            self._load.ready(self._interrupt.stop)
            for probe in (*attackers, control):
                probe.ready()
            if stopped():
                return
            begin()
            glancing.start()
            self._flood(self._load, attackers, control, tell, stopped)
        finally:
            self._load.close()
            enough.set()
            if glancing.ident is not None:
                glancing.join(timeout=GLANCE_SECONDS)
            for probe in (*attackers, control):
                probe.close()
            self._keep(attackers, control)

    def gather(self, enough: threading.Event) -> None:
        """What proves the denials, of each attack by itself, until it is ``enough``."""
        for one, attack in zip(self._state.under, self._attacks, strict=True):
            one.seen.policies, one.seen.policies_after = self._seen.policies, self._seen.policies_after
            attack.gather(enough)
            self._seen.unasked += one.seen.unasked
        first = self._state.under[0].seen
        self._seen.counter_before, self._seen.counter_after = first.counter_before, first.counter_after

    # --- the load -----------------------------------------------------------------------------------------------------

    def _flood(
        self, load: Load, attackers: Sequence[Probe], control: Probe, tell: Tell, stopped: Callable[[], bool]
    ) -> None:
        watch = RateWatch(self._limit, self._plan.users)
        plan = self._plan
        self._journal.write(
            "flood", drill=self.name, requests=plan.requests, users=plan.users, workers=plan.workers,
            locustfile=plan.locustfile.name,
        )  # fmt: skip
        self._seen.attack_began = load.go(flood.START_SECONDS, self._interrupt.stop)
        for one in self._state.under:
            one.seen.attack_began = self._seen.attack_began
        began = time.time() + min(LEAD_SECONDS, self.seconds / 8)
        attempts = sum(preflight.attack_of(one.spec).attempts for one in self._state.under)
        self._journal.write("attack", drill=self.name, attempts=attempts)
        for probe in (*attackers, control):
            probe.go(began)
        while not (load.over.is_set() and all(one.over() for one in (*attackers, control))) and not stopped():
            self._interrupt.stop.wait(TELL_SECONDS)
            tell("attack", Made(_together(attackers)), attempts)
            tell("control", control, self._control.attempts)
            self._tell_load(load, watch, tell)

    def _glance(self, enough: threading.Event) -> None:
        """Look at the denials now and then: a flood's own flows soon push them out of the agents' memory."""
        while not enough.wait(GLANCE_SECONDS):
            for attack in self._attacks:
                with suppress(WorldError):  # the next one reaches back as far
                    attack.glance()

    def _tell_load(self, load: Load, watch: RateWatch, tell: Tell) -> None:
        numbers = load.numbers
        for one in numbers[self._written :]:
            if watch.exceeded(one):
                limit = self._limit / self._target.time_lapse
                self._interrupt.abort(f"the flood sends more than guards.maxRequestsPerSecond ({limit:g}) allows")
        self._written = len(numbers)
        if numbers:
            tell("load", Made(numbers[-1].statuses), self._plan.requests)

    def _keep(self, attackers: Sequence[Probe], control: Probe) -> None:
        seen, state = self._seen, self._state
        for one, attack, probe in zip(state.under, self._attacks, attackers, strict=True):
            attack.keep(probe, control)
            seen.attack_error = seen.attack_error or probe.error
            self._journal.write(
                "attempts",
                drill=self.name,
                role="attack",
                title=one.title,
                outcomes=probe.outcomes(),
                error=probe.error,
            )
        seen.control, seen.control_error = control.attempts(), control.error
        seen.attack = sorted((one for each in state.under for one in each.seen.attack), key=lambda one: one.attempt.at)
        self._journal.write(
            "attempts", drill=self.name, role="control", outcomes=control.outcomes(), error=control.error
        )
        for role, attempts in (("attack", seen.attack), ("control", seen.control)):
            if times := series(attempts):
                self._journal.write("series", drill=self.name, role=role, **times)
        self._keep_numbers()

    def _keep_numbers(self) -> None:
        assert self._load is not None
        seen, state, numbers = self._seen, self._state, self._load.numbers
        if not numbers:
            state.shortfall = self._load.error or "the flood did not begin"
            return
        last = state.numbers = numbers[-1]
        seen.attack_began, seen.attack_ended = last.began, last.at
        state.reached = last.rate(self._target.time_lapse)
        state.shortfall = flood.shortfall(last, state.asked, self._target.time_lapse)
        if not self._load.finished:
            state.shortfall = self._load.error or state.shortfall or "the flood was cut short"
        self._journal.write(
            "load", drill=self.name, requests=last.requests, failures=last.failures, turns=last.turns,
            asked=state.asked, reached=round(state.reached, 1), statuses=last.statuses,
            milliseconds=last.milliseconds, shortfall=state.shortfall,
        )  # fmt: skip
        if times := growth(last.began, [(one.at, one.statuses) for one in numbers]):
            self._journal.write("series", drill=self.name, role="load", **times)


def locustfile(injection: FloodInjection) -> Locustfile:
    """The playbook's, or the one that ships. InputError where it cannot be read, or is no Python."""
    path = flood.SHIPPED if injection.locustfile is None else Path(injection.locustfile)
    try:
        text = path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The locustfile {path} cannot be read: {error}") from None
    except (SyntaxError, ValueError) as error:
        line, column = getattr(error, "lineno", None) or 1, getattr(error, "offset", None) or 1
        raise InputError(f"{path}:{line}:{column}: {getattr(error, 'msg', error)}") from None
    return Locustfile(path.name, text)


def alone(drill: Drill) -> list[Drill]:
    """Every attack under the load as the drill that it would be by itself."""
    found = []
    for under in drill.expect.during:
        inject = drill.inject.model_copy(update={"flood": None, under.injection.kind: under.injection})
        expect = drill.expect.model_copy(update={"denied": under.denied, "during": (), "alerts": (), "quiet": ()})
        found.append(drill.model_copy(update={"inject": inject, "expect": expect}))
    return found


def _seen(spec: Drill, playbook: Playbook, whole: Seen) -> Seen:
    return Seen(started=whole.started, concerned=enforcing.concerned(playbook, spec))


def _worker(number: int) -> str:
    return f"worker{number + 1}"


def _together(probes: Sequence[Probe]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for probe in probes:
        found.update(probe.outcomes())
    return dict(sorted(found.items()))
