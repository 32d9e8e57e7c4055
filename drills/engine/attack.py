"""The attack of a drill with its control beside it, and what proves afterwards who denied it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from drills.engine import evidence, vantage
from drills.engine.actors import Actors, Part
from drills.engine.attempts import Probe
from drills.engine.events import Role
from drills.engine.guarding import Guard, Guarded, guard
from drills.engine.interrupt import Interrupt
from drills.engine.journal import Journal
from drills.engine.seen import Seen
from drills.engine.series import series
from drills.engine.target import Target
from drills.engine.watch import Sources
from drills.errors import WorldError
from drills.inject import dns
from drills.inject.base import Attempt, Outcome, OutcomeKind, in_time
from drills.inject.kinds import Kind, kind_of
from drills.kube import Agent, Flows, Service
from drills.playbook import Control, Denied, ProbeInjection

WARM_UPS = 3  # control attempts before the baseline, until one succeeds
WARM_UP_SECONDS = 1.0  # between two of them, on the wall
START_TOGETHER = 0.3  # wall seconds from "go" to the first attempt, so that attack and control begin as one
TELL_SECONDS = 0.25
FLOWS_SECONDS = 1.0  # on the wall: how far the agents' logs may be behind
AUDITED = 'sum by (enforcement) (cilium_policy_endpoint_enforcement_status{enforcement=~"audit-.*"}) > 0'


class Counted(Protocol):
    """Attempts so far."""

    def outcomes(self) -> Mapping[str, int]:
        """By outcome."""
        ...


Tell = Callable[[Role, Counted, int], None]


class Attack:
    """One attack; what it finds goes into ``seen``."""

    def __init__(
        self,
        name: str,
        injections: tuple[ProbeInjection, Control, tuple[Denied, ...]],
        world: tuple[Target, Sources, Actors],
        record: tuple[Seen, Journal],
        interrupt: Interrupt,
    ) -> None:
        """``injections``: the attack, the control, the denials that are expected."""
        self.name = name
        self._injection, self._control, self._denied = injections
        self._kind, self._control_kind = kind_of(self._injection), kind_of(self._control)
        self._proof = self._kind.proof(self._denied)
        self._target, self._sources, self._actors = world
        self._seen, self._journal = record
        self._interrupt = interrupt
        self._agents: frozenset[Agent] = frozenset()
        self._glances: list[Flows] = []
        self._glanced = 0.0  # when the last of them was made
        self._shared: frozenset[str] = frozenset()  # addresses that policy admits under the control's name

    @property
    def title(self) -> str:
        """What is tried, in a few words."""
        return self._kind.title

    @property
    def parts(self) -> list[Part]:
        """Who acts."""
        return [(self._injection.source, ""), (self._control.source, "")]

    @property
    def seconds(self) -> float:
        """How long it lasts, on the wall."""
        return self._target.wall(self._injection.duration)

    @property
    def settles(self) -> float:
        """Wall seconds that it may take beyond that: none."""
        return 0.0

    def targets(self) -> list[Service]:
        """The Service that is attacked, with what stands behind it now; none for a name outside. Raises WorldError."""
        self._look_up_target()
        return [] if self._seen.service is None else [self._seen.service]

    def prepare(self, lifetime: float) -> None:
        """Nothing but the drill pods is needed."""
        del lifetime

    def remove(self) -> list[str]:
        """Nothing but the drill pods is there to be removed."""
        return []

    def warm_up(self) -> bool:
        """Whether the control succeeds at all, from the very pod that will make it; not counted."""
        judge = self._control_kind.judge()
        self._look_up_target()
        once = {"count": 1, "deadline": self._control.timeout + 1}
        for number in range(WARM_UPS):
            config = {**self._config("warm-up", self._control_kind, scale=1.0), **once}
            probe = self._probe(self._control, config, judge.control)
            probe.ready()
            probe.go()
            probe.wait(self._control.timeout + 2)
            probe.close()
            self._journal.write("warm-up", drill=self.name, outcomes=probe.outcomes(), error=probe.error)
            if any(one.outcome.kind is OutcomeKind.SUCCEEDED for one in probe.attempts()):
                self._shared = frozenset().union(*(dns.answers(one.attempt) for one in probe.attempts()))
                return True
            self._seen.control += probe.attempts()
            self._seen.control_error = probe.error
            if number < WARM_UPS - 1 and self._interrupt.stop.wait(WARM_UP_SECONDS):
                return False
        return False

    def run(self, begin: Callable[[], None], tell: Tell, stopped: Callable[[], bool]) -> None:
        """Both probes to their end, or until ``stopped``; ``begin`` is called when they are ready."""
        seen = self._seen
        seen.control.clear()
        self.look_before()
        attack, control = self.attacker(), self.controller()
        try:
            attack.ready()
            control.ready()
            begin()
            began = time.time() + START_TOGETHER
            seen.attack_began = began
            self._journal.write("attack", drill=self.name, attempts=self._injection.attempts)
            attack.go(began)
            control.go(began)
            while not (attack.over() and control.over()) and not stopped():
                attack.wait(TELL_SECONDS) and control.wait(TELL_SECONDS)
                tell("attack", attack, self._injection.attempts)
                tell("control", control, self._control.attempts)
        finally:
            attack.close()
            control.close()
            self.keep(attack, control)
            self._write("attack", attack)
            self._write("control", control)

    def gather(self) -> None:
        """Flows at once, because ring buffers forget; the counter once Prometheus has scraped it after the attack."""
        seen = self._seen
        told = (OutcomeKind.DENIED, OutcomeKind.POSSIBLY_REACHED)
        denied = [one.attempt for one in seen.attack if one.outcome.kind in told]
        if not denied or seen.attack_began is None:
            return
        clients = [(one.local_address, one.local_port) for one in denied]
        until = time.monotonic() + FLOWS_SECONDS
        while self._read_flows(seen.attack_began - 1, clients) and time.monotonic() < until:
            if self._interrupt.hurry.wait(TELL_SECONDS):
                break
        self._count(len(denied))
        self._look_up_name()
        if seen.flows is not None and seen.flows.count < len(clients):
            self._read_flows(seen.attack_began - 1, clients)  # an agent that was behind has them now
            self._note_lost()

    def _look_up_name(self) -> None:
        """Whether the name whose lookups were refused exists at all: on the nodes, or as a Service."""
        name, denied = self._kind.host, (one for one in self._seen.attack if one.outcome.kind is OutcomeKind.DENIED)
        if not any(one.attempt.phase == "resolve" for one in denied):
            return
        try:
            self._seen.nameless = vantage.nameless(self._target.cluster, name)
        except WorldError as error:
            self._seen.unasked.append(f"whether {name} has an address for anybody: {error}")

    def glance(self) -> None:
        """Flows so far, kept before the ring buffer of a busy agent forgets them. WorldError if they cannot be read."""
        began = time.time()
        since = self._glanced or self._seen.attack_began or began
        self._glances.append(self._target.cluster.hubble_flows(since - 1, self._proof.flow_filters))
        self._glanced = began

    def _read_flows(self, since: float, clients: Sequence[evidence.Client]) -> bool:
        """Whether flows are still missing."""
        try:
            senders = [
                word for address in sorted({one for one, _ in clients if one}) for word in ("--from-ip", address)
            ]
            latest = self._target.cluster.hubble_flows(
                max(since, self._glanced - 1), [*self._proof.flow_filters, *senders]
            )
            found = evidence.together([*self._glances, latest])
            restarted = self._agents != frozenset(self._target.cluster.agents())
        except WorldError as error:
            self._journal.write("note", drill=self.name, text=f"Hubble's flows could not be read: {error}")
            return False
        self._seen.flows = evidence.flow_evidence(found, clients, self._proof.shows, restarted=restarted)
        return self._seen.flows.count < len(clients)

    def _count(self, denials: int) -> None:
        seen = self._seen
        scrape = self._sources.prometheus.config().scrape_interval_ms / 1000
        until = time.time() + 2 * scrape + 1.0
        seen.counter_after = evidence.read_after(
            lambda: evidence.read(self._sources.prometheus, seen.counter),
            seen.counter_before,
            denials,
            lambda: time.time() < until and not self._interrupt.hurry.wait(0.1),
        )
        self._note_lost()

    def _note_lost(self) -> None:
        seen = self._seen
        before, after = seen.counter_before, seen.counter_after
        if seen.flows is not None and before is not None and after is not None and after.lost > before.lost:
            lost = max(seen.flows.lost, round(after.lost - before.lost))
            seen.flows = seen.flows.model_copy(update={"lost": lost, "partial": True})

    def look_before(self) -> None:
        """The target's pods, who guards them, and the numbers from which denials are counted."""
        seen, cluster = self._seen, self._target.cluster
        self._look_up_target()
        self._agents = frozenset(cluster.agents())
        seen.guard = self._guard()
        seen.counter = self._proof.counter
        seen.counter_before = evidence.read(self._sources.prometheus, seen.counter)

    def _look_up_target(self) -> None:
        named = self._kind.service
        self._seen.service = None if named is None else self._target.cluster.service(*named)

    def _guard(self) -> Guard:
        """Whether policy is in force at both ends."""
        actor, service = self._actors.of(self._injection.source), self._seen.service
        ends = [] if service is None else [(service.namespace, one.pod) for one in service.backends if one.pod]
        source = self._actors.guarded(actor.namespace, actor.pod)
        backends = [self._actors.guarded(*one) for one in ends]
        unknown = Guarded(f"{actor.namespace}/{actor.pod}", "")
        return guard(source or unknown, [one for one in backends if one is not None], self._audited())

    def _audited(self) -> list[str]:
        try:
            found = self._sources.prometheus.query(AUDITED)
        except WorldError:
            return []
        return [f"{one.value:g} endpoints are in {one.labels.get('enforcement')} mode" for one in found]

    def attacker(self, within: float = float("inf")) -> Probe:
        """The attack's probe; all of it is to be made ``within`` wall seconds."""
        service = self._seen.service
        judge = self._kind.judge(self._denied, backends=service is None or bool(service.backends), shared=self._shared)
        config = self._config(f"{self.name}-attack", self._kind, scale=self._target.time_lapse)
        return self._probe(self._injection, _squeezed(config, within), judge.attack)

    def controller(self, within: float = float("inf")) -> Probe:
        """The control's probe, likewise."""
        config = self._config(f"{self.name}-control", self._control_kind, scale=self._target.time_lapse)
        judge, limit = self._control_kind.judge(), self._control.max_latency

        def classify(attempt: Attempt) -> Outcome:
            return in_time(judge.control(attempt), attempt, limit)

        return self._probe(self._control, _squeezed(config, within), classify)

    def _config(self, name: str, kind: Kind, *, scale: float) -> dict[str, Any]:
        """To a Service's pods directly and in turn, so that each of them is judged; the name must resolve all the same.

        Attack and control go to the same addresses. They must not go by different ones to the same pods, either: where
        the Service's address is translated, its ports could clash with the others', and would be changed on the way.
        Never written down: it may carry a password.
        """
        secret = kind.secret
        password = None if secret is None else self._target.cluster.secret_value(secret.secret, secret.key)
        config = kind.config(name, scale=scale, password=password)
        service = self._seen.service
        if service is None or kind.service != self._kind.service or service.cluster_ip == "None":
            return config
        port = service.behind(kind.port)
        if port is None:
            return config
        return config | {"addresses": [one.address for one in service.backends], "port": port}

    def _probe(
        self, injection: ProbeInjection | Control, config: dict[str, Any], classify: Callable[[Attempt], Outcome]
    ) -> Probe:
        actor = self._actors.of(injection.source)
        return Probe(self._target.cluster, (actor.namespace, actor.pod), config, classify)

    def keep(self, attack: Probe, control: Probe) -> None:
        """What both found goes into what was seen."""
        seen = self._seen
        seen.attack, seen.control = attack.attempts(), control.attempts()
        seen.attack_error, seen.control_error = attack.error, control.error
        if seen.attack:
            seen.attack_began = min(one.attempt.at for one in seen.attack)
            seen.attack_ended = max(one.attempt.at for one in seen.attack)

    def _write(self, role: Role, probe: Probe) -> None:
        self._journal.write("attempts", drill=self.name, role=role, outcomes=probe.outcomes(), error=probe.error)
        if times := series(probe.attempts()):
            self._journal.write("series", drill=self.name, role=role, **times)


def _squeezed(config: dict[str, Any], within: float) -> dict[str, Any]:
    """The same attempts, a little faster if they would take longer than that."""
    return config | {"rate": max(config["rate"], config["count"] / within)}
