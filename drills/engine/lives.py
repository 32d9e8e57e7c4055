"""Gathers, after the attack, what the verdict on each alert rests on: its life, its delivery, and whether its inputs
were there all the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts import life
from alerts.inputs import starved
from alerts.prometheus import LoadedRecord, LoadedRule, Prometheus, Series
from alerts.promql import PromqlError
from alerts.receiver import Notification
from alerts.recorded import leaves
from alerts.routing import longest_wait
from drills.engine.detection import Times
from drills.engine.events import Stage
from drills.engine.watch import Instance, Snapshot, Sources, carries
from drills.errors import WorldError

SILENT = "it says no more"
NOTHING: frozenset[Instance] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An alert that a playbook names: expected (with a receiver, perhaps) or to stay quiet."""

    name: str
    labels: Mapping[str, str]
    receiver: str | None = None


def stage(snapshot: Snapshot, wanted: Wanted, since: float) -> Stage:
    """How far the alert has come, by the poll: for the console and for ending a wait, never for a verdict."""
    active = snapshot.active(wanted.name, wanted.labels)
    if notified_at(snapshot.notifications, wanted, since) is not None:
        return "notified" if active else "resolved"
    if any(one.state == "firing" for one in active):
        return "at Alertmanager" if snapshot.managed_alerts(wanted.name, wanted.labels) else "firing"
    return "pending" if active else "quiet"


def notified_at(notifications: Sequence[Notification], wanted: Wanted, since: float) -> float | None:
    """When the receiver first heard that the alert fires, after ``since``; None if it never did."""
    return min(
        (
            one.received_at
            for one in notifications
            if one.received_at >= since
            and wanted.receiver in (None, one.receiver)
            and any(
                alert.status == "firing"
                and alert.labels.get("alertname") == wanted.name
                and carries(alert.labels, wanted.labels)
                for alert in one.alerts
            )
        ),
        default=None,
    )


def told(snapshots: Sequence[Snapshot]) -> tuple[Notification, ...]:
    """Every notification of the receiver, as it last answered."""
    return next((one.notifications for one in reversed(snapshots) if "receiver" not in one.problems), ())


def unasked(snapshots: Sequence[Snapshot], source: str, since: float) -> str | None:
    """Why it is not known what a source would have said since a time: it did not answer the last poll, or none; None
    where it did.
    """
    polls = [one for one in snapshots if one.at >= since]
    return polls[-1].problems.get(source) if polls else "it was not asked"


def managed_at(snapshots: Sequence[Snapshot], wanted: Wanted, since: float) -> float | None:
    """When Alertmanager first had the alert, by its own clock (``updatedAt``); None if it never did."""
    for snapshot in snapshots:
        found = [one for one in snapshot.managed_alerts(wanted.name, wanted.labels) if one.starts_at >= since]
        if found:
            return min(one.updated_at or one.starts_at for one in found)
    return None


def handed_over(snapshots: Sequence[Snapshot], wanted: Wanted, since: float) -> bool:
    """Whether Alertmanager had the alert for the wanted receiver with nothing muting it: all that can be known where no
    receiver can be asked.
    """
    return any(
        managed.state == "active"
        and managed.starts_at >= since
        and not (managed.silenced_by or managed.inhibited_by or managed.muted_by)
        and (wanted.receiver is None or wanted.receiver in managed.receivers)
        for snapshot in snapshots
        for managed in snapshot.managed_alerts(wanted.name, wanted.labels)
    )


def times(
    prometheus: Prometheus, rule: LoadedRule, wanted: Wanted, snapshots: Sequence[Snapshot], since: float
) -> tuple[Times, life.Life]:
    """The alert's life from ``since`` (the first attempt) to the newest snapshot; WorldError if it cannot be read."""
    found = life.read(
        prometheus, wanted.name, wanted.labels, since=since, until=prometheus.now(), interval_ms=rule.interval_ms
    )
    newest = told(snapshots)
    lived = Times(
        pending=found.active_at,
        firing=found.firing_at,
        at_alertmanager=managed_at(snapshots, wanted, since),
        notified=notified_at(newest, wanted, since),
        resolved=found.resolved_at,
    )
    return lived, found


def series_sources(
    prometheus: Prometheus, rule: LoadedRule | None, behind: Sequence[LoadedRecord] = ()
) -> frozenset[Instance]:
    """The scrape targets that a rule's series come from (empty where it has none), through the recording rules that
    it stands on; WorldError if it cannot be asked.
    """
    if rule is None:
        return NOTHING
    found: set[Instance] = set()
    for selector in leaves(rule.query, behind):
        for sample in prometheus.query(f"count by (job, instance) ({selector})"):
            if "instance" in sample.labels:
                found.add((sample.labels.get("job", ""), sample.labels["instance"]))
    return frozenset(found)


def sources_since(
    prometheus: Prometheus,
    rule: LoadedRule,
    behind: Sequence[LoadedRecord],
    known: frozenset[Instance],
    period: tuple[float, float],
) -> tuple[frozenset[Instance], bool]:
    """The targets of a rule's series with those of the series that were born since, and whether some of its selectors
    never had any.
    """
    since, until = period
    found, blind, window = set(known), False, max(1, round((until - since) * 1000))
    for selector in leaves(rule.query, behind):
        samples = prometheus.query(f"count by (job, instance) (last_over_time({selector}[{window}ms]))", until)
        found |= {(one.labels.get("job", ""), one.labels["instance"]) for one in samples if "instance" in one.labels}
        blind = blind or not samples
    return frozenset(found), blind


@dataclass(frozen=True, slots=True)
class Down:
    """A scrape that failed: when, and of which target."""

    at: float
    instance: Instance


def failed_scrapes(
    prometheus: Prometheus, sources: frozenset[Instance], since: float, until: float
) -> tuple[Down, ...]:
    """Scrapes of these targets that failed between two times, by Prometheus's own samples: one is over before the next
    poll, and may have made or unmade an alert. WorldError if it cannot be asked.
    """
    return downs(prometheus.samples("up", until, until - since), sources)


def downs(up: Sequence[Series], sources: frozenset[Instance]) -> tuple[Down, ...]:
    """See `failed_scrapes`; ``up`` are raw samples."""
    found = (
        Down(moment, instance)
        for series in up
        if (instance := (series.labels.get("job", ""), series.labels.get("instance", ""))) in sources
        for moment, value in series.points
        if value != 1
    )
    return tuple(sorted(found, key=lambda one: one.at))


def delivery_allowance(sources: Sources, wanted: Wanted, rule: LoadedRule | None) -> float | None:
    """How long (wall seconds) Alertmanager may hold the alert back by its own configuration; 0 where there is none to
    wait for, None where it did not say.
    """
    if sources.alertmanager is None or rule is None:
        return 0.0
    try:
        config = sources.alertmanager.status().config
    except WorldError:
        return None
    labels = {"alertname": wanted.name, **rule.labels, **wanted.labels}
    return longest_wait(config, labels, sources.prometheus.now(), wanted.receiver)


def rule_error(
    snapshots: Sequence[Snapshot], wanted: Wanted, behind: Sequence[LoadedRecord], since: float
) -> str | None:
    """What Prometheus said when it could not evaluate the rule, or one behind it, at some time since ``since``."""
    names = {one.name for one in behind}
    for snapshot in snapshots:
        if snapshot.at < since:
            continue
        for rule in snapshot.rules_named(wanted.name):
            if rule.health == "err" and rule.may_carry(wanted.labels):
                return f"evaluating {wanted.name} fails: {rule.last_error or SILENT}"
        for record in snapshot.records:
            if record.health == "err" and record.name in names:
                read = f"the recording rule {record.name}, which {wanted.name} reads,"
                return f"evaluating {read} fails: {record.last_error or SILENT}"
    return None


def quiet_lack(
    prometheus: Prometheus, rule: LoadedRule | None, behind: Sequence[LoadedRecord], name: str, since: float
) -> str | None:
    """Why an alert could not have fired since a time, so that its silence proves nothing; None if it could have."""
    if rule is None:
        return f"the rule {name} is not loaded"
    if rule.health != "ok":
        return f"the rule {name} is not healthy: {rule.last_error or rule.health}"
    ill = next((one for one in behind if one.health != "ok"), None)
    if ill is not None:
        return f"the recording rule {ill.name}, which {name} reads, is not healthy: {ill.last_error or ill.health}"
    try:
        lack = starved(prometheus, rule.query, since=since, until=prometheus.now(), behind=behind)
    except PromqlError:
        return None  # valid for Prometheus, unknown to the parser
    except WorldError as error:
        return str(error)
    return None if lack is None else f"{name} has nothing to fire on: {lack.reason}"
