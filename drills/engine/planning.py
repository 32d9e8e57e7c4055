"""What `drills plan` says: what a run would touch, in which order, with which rights, and what it would lack.

It asks and makes nothing. Without a target it says what the playbook alone tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import Field

import alerts
from alerts.inputs import starved
from alerts.prometheus import LoadedRule, Prometheus
from alerts.rule import load_rules
from drills.cilium.metrics import METRICS, Birth
from drills.engine import preflight, schedule, told
from drills.engine.conflicts import Until
from drills.engine.exposure import exposed
from drills.engine.feasible import Watched, everything_tried
from drills.engine.naming import key_of
from drills.engine.pinning import external
from drills.engine.publications import Where
from drills.engine.records import Records
from drills.engine.result import Model
from drills.engine.rights import needed, service_tried, sources_of
from drills.engine.run import Job
from drills.engine.schedule import Plan, Wait
from drills.engine.touched import Touched, objects
from drills.errors import WorldError
from drills.inject.kinds import kind_of
from drills.kube import Cluster
from drills.kube.holder import has_ended
from drills.kube.lease import LEASE, Holding
from drills.kube.references import read
from drills.kube.rights import Right, granted
from drills.kube.wireguard import WireGuard
from drills.playbook import AlertExpectation, Drill, FloodInjection, Playbook, WireguardInjection

SCHEMA: Final = "drills/plan/v1"
SHIPPED: Final = Path(alerts.__file__).parent / "rules" / "cilium-security.yaml"
UNTIL: Final = {Until.ATTACK: "once its attack is over", Until.END: "once its alerts have been judged"}
LOOKED_BACK: Final = 60.0  # wall seconds in which a metric must have been seen

Subject = Literal["right", "alert", "metric", "service", "node", "agent", "run", "answer"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class World:
    """What can be asked; ``prometheus`` None: nobody named one. ``addresses``: where alerts are read; ``alertmanager``:
    the one of them where silences are laid.
    """

    name: str
    cluster: Cluster
    prometheus: Prometheus | None
    time_lapse: float
    addresses: tuple[str, ...] = ()
    alertmanager: str | None = None


class PlannedRight(Model):
    """A right with its reason; ``granted`` None: nobody was asked."""

    group: str
    resource: str
    verb: str
    namespace: str | None
    name: str | None
    reason: str
    granted: bool | None
    text: str


class Scheduled(Model):
    """A drill in its place; playbook seconds since the run began. ``waits``: for which others, and why."""

    drill: str
    starts: float
    ends: float
    waits: list[str]
    does: dict[str, str]


class Lack(Model):
    """Something that must be there before a run can end well."""

    subject: Subject
    text: str


class PlanResult(Model):
    """One playbook's plan. ``seconds``: expected, of playbook time; ``chain``: the drills that decide it."""

    schema_: Literal["drills/plan/v1"] = Field(default=SCHEMA, alias="schema")
    playbook: str
    target: str | None
    time_lapse: float | None
    seconds: float
    seconds_one_by_one: float
    chain: list[str]
    schedule: list[Scheduled]
    objects: list[Touched]
    rights: list[PlannedRight]
    lacks: list[Lack]
    notes: list[str]

    @property
    def exit_status(self) -> int:
        """0 if all is there, 3 if something lacks."""
        return WorldError.exit_status if self.lacks else 0


def plan(job: Job, world: World | None, publish: Sequence[Where] = ()) -> PlanResult:
    """InputError for what a run would refuse: a target outside of the guards, times that cannot work."""
    drills = [drill for drill in job.playbook.drills if drill.name in job.drills()]
    if world is not None and world.prometheus is not None:
        for drill in drills:
            preflight.check_silence(drill, world.alertmanager)
    found = _Findings()
    rules = _Rules(found, world)
    for drill in drills:
        rules.look_at(drill)
    if world is None:
        found.notes.append("no target was named: nobody was asked for rights, alerts, metrics and Services")
    nodes = None if world is None else _look_around(job.playbook, drills, world, found)
    addresses, alertmanager = ((), None) if world is None else (world.addresses, world.alertmanager)
    order = schedule.plan(job.playbook, drills, rules.all(), 1.0 if world is None else world.time_lapse)
    return PlanResult(
        playbook=job.playbook.name,
        target=None if world is None else world.name,
        time_lapse=None if world is None else world.time_lapse,
        seconds=order.seconds * order.time_lapse,
        seconds_one_by_one=order.alone * order.time_lapse,
        chain=list(order.chain),
        schedule=timetable(job.playbook, drills, order),
        objects=objects(job.playbook, drills, nodes, publish, rules.loaded, rules.outside),
        rights=[
            _planned(right, world, found) for right in needed(job.playbook, drills, addresses, publish, alertmanager)
        ],
        lacks=found.lacks,
        notes=found.notes,
    )


class _Findings:
    """What is collected on the way."""

    def __init__(self) -> None:
        self.lacks: list[Lack] = []
        self.notes: list[str] = []

    def lack(self, subject: Subject, text: str) -> None:
        """Once each."""
        if (one := Lack(subject=subject, text=text)) not in self.lacks:
            self.lacks.append(one)

    def ask(self, question: Callable[[], T]) -> T | None:
        """The answer; None from who does not answer, which lacks."""
        try:
            return question()
        except WorldError as error:
            self.lack("answer", str(error))
            return None


# --- the cluster ------------------------------------------------------------------------------------------------------


def _look_around(playbook: Playbook, drills: Sequence[Drill], world: World, found: _Findings) -> list[str] | None:
    """What runs left, who stands behind the targets, who would be disturbed; the nodes where a drill needs them."""
    _look_at_runs(world.cluster, found)
    for source in {key_of(one): playbook.source_of(one) for one in sources_of(drills)}.values():
        if (why := found.ask(partial(exposed, world.cluster, source))) is not None:
            found.lack("service", why)
    tried = [service_tried(one) for drill in drills for one in everything_tried(drill)]
    for named in dict.fromkeys(one for one in tried if one is not None):
        found.ask(partial(_look_at_target, world.cluster, named, found))
    faults = [one.injection for one in drills if isinstance(one.injection, WireguardInjection)]
    return _look_at_nodes(world.cluster, faults, found) if faults else None


def _look_at_runs(cluster: Cluster, found: _Findings) -> None:
    for left in found.ask(Records(cluster).outstanding) or ():
        whose = f" of {left.playbook}" if left.playbook else ""
        found.lack("run", f"an earlier run{whose} left {left.what} undone: `drills recover` first")
    if (held := found.ask(partial(_held, cluster))) is not None:
        found.lack("run", held)
    if found.ask(cluster.agents) == []:
        found.lack("agent", "no Cilium agent runs in kube-system (label k8s-app=cilium): nobody proves who denied")


def _look_at_nodes(cluster: Cluster, faults: Sequence[WireguardInjection], found: _Findings) -> list[str] | None:
    nodes = found.ask(lambda: sorted(WireGuard(cluster).nodes()))
    for node in () if nodes is None else {fault.node for fault in faults} - set(nodes):
        found.lack("node", f"there is no CiliumNode {node}; there are {', '.join(nodes or ()) or 'none'}")
    return nodes


def _held(cluster: Cluster) -> str | None:
    lease = read(cluster, LEASE)
    if lease is None or (held := Holding.of(lease)).state(datetime.now(UTC), has_ended) != "held":
        return None
    return f"another run is at work: {held.holder} holds the Lease {LEASE.namespace}/{LEASE.name}"


def _look_at_target(cluster: Cluster, named: tuple[str, str], found: _Findings) -> None:
    service = cluster.service(*named)
    if service is None:
        found.lack("service", f"there is no Service {'/'.join(named)}, which the playbook tries")
    elif not service.backends:
        found.lack("service", f"no pod behind Service {'/'.join(named)} is ready: no attempt could be judged")


def _planned(right: Right, world: World | None, found: _Findings) -> PlannedRight:
    allowed = None if world is None else found.ask(partial(granted, world.cluster, right))
    if allowed is False:
        found.lack("right", f"may not {right} ({right.reason})")
    return PlannedRight(
        group=right.group,
        resource=right.resource,
        verb=right.verb,
        namespace=right.namespace,
        name=right.name,
        reason=right.reason,
        granted=allowed,
        text=str(right),
    )


# --- the alerts -------------------------------------------------------------------------------------------------------


class _Rules:
    """The rules that drills name, as Prometheus has them, and the series that they read."""

    def __init__(self, found: _Findings, world: World | None) -> None:
        self.watched: dict[str, list[Watched]] = {}  # by drill
        self._found = found
        self._world = world
        self._prometheus = None if world is None else world.prometheus
        self.loaded: list[LoadedRule] = []
        self.outside: dict[str, str] = {}  # labels that Prometheus adds to every alert
        self._scrape_ms = 0
        if self._prometheus is not None:
            found.ask(partial(self._load, self._prometheus))
        elif world is not None:
            found.notes.append("no --prometheus was named: alerts, rules and metrics were not looked at")

    def _load(self, prometheus: Prometheus) -> None:
        self.loaded = [rule for group in prometheus.rules() for rule in group.rules]
        config = prometheus.config()
        self._scrape_ms, self.outside = config.scrape_interval_ms, external([config.text])

    def all(self) -> list[Watched]:
        """Those that drills name; as they are shipped where nobody was asked."""
        if self._prometheus is None:
            return schedule.as_written(load_rules(SHIPPED), 1)
        return list({id(one): one for found in self.watched.values() for one in found}.values())

    def look_at(self, drill: Drill) -> None:
        """Every alert of a drill, and the counter that proves its denials."""
        if self._prometheus is None or not self._scrape_ms:
            return
        for expected in drill.expect.alerts:
            if (one := self._watch(drill, expected.name, expected.labels)) is not None:
                self._check_times(drill, expected, one)
        for name in drill.expect.quiet:
            self._watch(drill, name, {})
        if not isinstance(drill.injection, WireguardInjection | FloodInjection):
            counter = kind_of(drill.injection).proof(drill.expect.denied or ()).counter
            self._look_for(counter, f"the proof of denials of {drill.name}")

    def _check_times(self, drill: Drill, expected: AlertExpectation, one: Watched) -> None:
        preflight.check_times(drill, expected, one, 1.0 if self._world is None else self._world.time_lapse)

    def _watch(self, drill: Drill, name: str, labels: dict[str, str]) -> Watched | None:
        rule = preflight.rule_for(name, labels, self.loaded)
        if rule is None:
            self._found.lack("alert", f"no rule {name} is loaded in Prometheus, which {drill.name} names")
            return None
        if rule.health == "err":
            self._found.lack("alert", f"Prometheus cannot evaluate {name}: {rule.last_error}")
        self._look_for(rule.query, f"the alert {name}")
        one = preflight.watched(rule, self._scrape_ms)
        self.watched.setdefault(drill.name, []).append(one)
        return one

    def _look_for(self, expression: str, whose: str) -> None:
        assert self._prometheus is not None
        prometheus, now = self._prometheus, time.time()
        starving = self._found.ask(lambda: starved(prometheus, expression, since=now - LOOKED_BACK, until=now))
        if starving is None:
            return
        metric = METRICS.get(starving.selector.metric or "")
        if metric is not None and metric.birth is Birth.FIRST_EVENT:
            note = f"{whose} reads {metric.name}, whose series is born with the first event; there is none yet"
            if note not in self._found.notes:
                self._found.notes.append(note)
        else:
            self._found.lack("metric", f"{whose} has nothing to read: {starving.reason}")


# --- the schedule -----------------------------------------------------------------------------------------------------


def timetable(playbook: Playbook, drills: Sequence[Drill], plan: Plan) -> list[Scheduled]:
    """The drills in the order in which they begin, with what each waits for and why."""
    by_name = {drill.name: drill for drill in drills}
    return [
        Scheduled(
            drill=one.drill,
            starts=one.starts * plan.time_lapse,
            ends=one.ends * plan.time_lapse,
            waits=[in_words(wait) for wait in plan.direct(one.drill)],
            does=told.plan(by_name[one.drill], playbook),
        )
        for one in plan.drills
    ]


def in_words(wait: Wait) -> str:
    """What a drill waits for: ``admin-path, once its attack is over: both go to backend/http-api``."""
    first, *others = wait.conflict.reasons
    more = f" (and {len(others)} more)" if others else ""
    return f"{wait.drill}, {UNTIL[wait.conflict.until]}: {first}{more}"
