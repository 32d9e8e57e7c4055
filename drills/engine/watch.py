"""The one reader of rules and alerts: polls Prometheus, Alertmanager and the receiver, publishes immutable snapshots.

The poll is a hint for phases and progress; verdicts take their times from Prometheus's own samples afterwards. What
the poll does decide is whether the inputs were there all the time (`drills.engine.polled`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from alerts.alertmanager import Alertmanager, Deliveries, ManagedAlert
from alerts.prometheus import ActiveAlert, LoadedRecord, LoadedRule, Prometheus, RuleGroup, RuntimeInfo
from alerts.receiver import Notification, Receiver
from drills.errors import WorldError

POLL_SECONDS = 0.25  # on the wall
ANSWER_SECONDS = 1.0  # no blocking call is longer
GUARD_SECONDS = 5.0  # on the wall, that a guard's condition may be unknown

T = TypeVar("T")
Instance = tuple[str, str]  # job, instance


@dataclass(frozen=True, slots=True)
class Sources:
    """Where alerts are read from; one set per thread. ``replicas`` are the others of a highly available Prometheus."""

    prometheus: Prometheus
    alertmanager: Alertmanager | None
    receiver: Receiver | None
    replicas: tuple[Prometheus, ...] = ()

    def each(self) -> tuple[Sources, ...]:
        """One set for every replica, the first of them this one's own."""
        return tuple(replace(self, prometheus=one, replicas=()) for one in (self.prometheus, *self.replicas))


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Prometheus's clock minus ours, and by how much that may be wrong (half of what the question took); seconds."""

    offset: float
    error: float

    @property
    def certain(self) -> float:
        """The offset that there is at least."""
        return max(0.0, abs(self.offset) - self.error)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one poll saw. ``problems`` names each source that did not answer, with its sentence; ``others`` is what the
    replicas of Prometheus said.
    """

    at: float
    rules: tuple[LoadedRule, ...] = ()
    records: tuple[LoadedRecord, ...] = ()
    up: Mapping[Instance, bool] = field(default_factory=dict)
    clock: ClockReading | None = None
    process: RuntimeInfo | None = None
    managed: tuple[ManagedAlert, ...] = ()
    deliveries: tuple[Deliveries, ...] = ()
    notifications: tuple[Notification, ...] = ()
    aborting: tuple[str, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    others: tuple[Snapshot, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether every Prometheus did: without it, an alert that is not seen may be there all the same."""
        return "prometheus" not in self.problems and all(one.answered for one in self.others)

    def each(self) -> tuple[Snapshot, ...]:
        """One snapshot for every replica, the first that of Prometheus's own; Alertmanager's words are the same."""
        others = (
            replace(
                one,
                managed=self.managed,
                deliveries=self.deliveries,
                notifications=self.notifications,
                aborting=self.aborting,
            )
            for one in self.others
        )
        return (replace(self, others=()), *others)

    @property
    def unknown(self) -> str | None:
        """Why it is not known which alerts are active; None where Prometheus and Alertmanager both said."""
        return self.problems.get("prometheus") or self.problems.get("alertmanager")

    def rules_named(self, name: str) -> tuple[LoadedRule, ...]:
        """Every loaded alerting rule of that name."""
        return tuple(rule for rule in self.rules if rule.name == name)

    def active(self, name: str, labels: Mapping[str, str]) -> tuple[ActiveAlert, ...]:
        """Pending and firing alerts of a name that carry the labels, at any replica."""
        found = (alert for one in (self, *self.others) for rule in one.rules_named(name) for alert in rule.alerts)
        return tuple(alert for alert in found if carries(alert.labels, labels))

    def managed_alerts(self, name: str, labels: Mapping[str, str]) -> tuple[ManagedAlert, ...]:
        """The same at Alertmanager."""
        return tuple(one for one in self.managed if one.name == name and carries(one.labels, labels))


def carries(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a label set holds every wanted label: alerts are matched by a subset, never by name alone."""
    return all(labels.get(name) == value for name, value in wanted.items())


class Watch:
    """The poller's thread and the snapshots it has published."""

    def __init__(self, connect: Callable[[], Sources], abort_when: tuple[str, ...] = ()) -> None:
        """``connect`` makes the thread's own clients; ``abort_when`` are PromQL conditions that end the run."""
        self._connect = connect
        self._abort_when = abort_when
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._snapshots: list[Snapshot] = []
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to poll."""
        self._thread.start()

    def close(self) -> None:
        """Stop polling and wait for the thread (it never blocks longer than its answers may take)."""
        self._stop.set()
        self._thread.join(timeout=6 * ANSWER_SECONDS)

    def latest(self) -> Snapshot:
        """The newest snapshot; waits for the first."""
        with self._changed:
            self._changed.wait_for(lambda: self._snapshots, timeout=10 * ANSWER_SECONDS)
            return self._snapshots[-1] if self._snapshots else Snapshot(at=time.time())

    def wait(
        self, condition: Callable[[Snapshot], bool], until: float, stop: threading.Event | None = None
    ) -> Snapshot | None:
        """The first new snapshot that meets the condition, or None at the wall-clock time ``until`` or at ``stop``."""
        seen = 0.0
        while time.time() < until and not (stop is not None and stop.is_set()):
            with self._changed:
                self._changed.wait(timeout=POLL_SECONDS)
                newest = self._snapshots[-1] if self._snapshots else None
            if newest is not None and newest.at > seen:
                seen = newest.at
                if condition(newest):
                    return newest
        return None

    def between(self, since: float, until: float) -> tuple[Snapshot, ...]:
        """The snapshots of a period of wall-clock time."""
        with self._changed:
            return tuple(one for one in self._snapshots if since <= one.at <= until)

    def blind_guards(self) -> str | None:
        """Why the guards' conditions are not known: none was evaluated yet, or not for a while; None where they are."""
        with self._changed:
            polls = list(self._snapshots)
        last = next((one.at for one in reversed(polls) if "guard" not in one.problems), None)
        if not polls or polls[-1].at == last or (last is not None and polls[-1].at - last < GUARD_SECONDS):
            return None
        return polls[-1].problems["guard"]

    def _run(self) -> None:
        sources = self._connect()
        while not self._stop.is_set():
            began = time.monotonic()
            snapshot = take(sources, self._abort_when)
            with self._changed:
                self._snapshots.append(snapshot)
                self._changed.notify_all()
            self._stop.wait(max(0.0, POLL_SECONDS - (time.monotonic() - began)))


class _Asking:
    """Asks on, whoever does not answer: that becomes a problem with a name, and is not asked again."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def __call__(self, name: str, question: Callable[[], T], otherwise: T) -> T:
        if name in self.problems:
            return otherwise
        try:
            return question()
        except WorldError as error:
            self.problems[name] = str(error)
            return otherwise


def take(sources: Sources, abort_when: tuple[str, ...] = ()) -> Snapshot:
    """Ask every source once; a source that does not answer becomes a problem of the snapshot, not an exception."""
    ask = _Asking()
    prometheus, alertmanager, receiver = sources.prometheus, sources.alertmanager, sources.receiver
    none_managed: tuple[ManagedAlert, ...] = ()
    none_notified: tuple[Notification, ...] = ()
    none_delivered: tuple[Deliveries, ...] = ()
    return replace(
        _take_prometheus(prometheus, ask),
        aborting=ask("guard", lambda: tuple(one for one in abort_when if prometheus.query(one)), ()),
        managed=ask("alertmanager", alertmanager.alerts, none_managed) if alertmanager else (),
        deliveries=ask("alertmanager", alertmanager.deliveries, none_delivered) if alertmanager else (),
        notifications=ask("receiver", receiver.notifications, none_notified) if receiver else (),
        others=tuple(_take_prometheus(one, _Asking()) for one in sources.replicas),
    )


def _take_prometheus(prometheus: Prometheus, ask: _Asking) -> Snapshot:
    at = time.time()
    process = ask("prometheus", prometheus.runtimeinfo, None)  # first: what is loaded after it shows at the next poll
    nothing_up: tuple[dict[Instance, bool], ClockReading | None] = ({}, None)
    no_groups: tuple[RuleGroup, ...] = ()
    groups = ask("prometheus", prometheus.rules, no_groups)
    up, clock = ask("prometheus", lambda: _up(prometheus), nothing_up)
    return Snapshot(
        at=at,
        rules=tuple(rule for group in groups for rule in group.rules),
        records=tuple(record for group in groups for record in group.records),
        up=up,
        clock=clock,
        process=process,
        problems=ask.problems,
    )


def _up(prometheus: Prometheus) -> tuple[dict[Instance, bool], ClockReading | None]:
    before = time.time()
    samples = prometheus.query("up")
    took = time.time() - before
    clock = ClockReading(samples[0].time - (before + took / 2), took / 2) if samples else None
    up = {(one.labels.get("job", ""), one.labels.get("instance", "")): one.value == 1 for one in samples}
    return up, clock
