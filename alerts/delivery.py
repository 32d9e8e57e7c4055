"""Why an alert that fired was not delivered: at Alertmanager, through its muting and routes, to the receiver.

`decide_delivery` and `decide_active` are pure; `gather_delivery` asks Prometheus and Alertmanager.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from alerts.alertmanager import Alertmanager, Deliveries, ManagedAlert
from alerts.prometheus import Prometheus
from alerts.receiver import Notification
from alerts.routing import Route, routes_of
from alerts.silences import Silence
from alerts.stopped import Stopped


@dataclass(frozen=True, slots=True)
class Tries:
    """Single tries to notify, of all receivers together that send by the same integrations. Not ``counted`` where
    Alertmanager did not tell.
    """

    made: float = 0
    failed: float = 0
    counted: bool = True


@dataclass(frozen=True, slots=True)
class DeliveryFacts:
    """What `decide_delivery` rests on.

    ``managed`` is the alert as Alertmanager had it last, None if it never had it; ``others`` are all its alerts, by
    fingerprint; ``tries`` are those since the attack began, by what its receivers send with; ``earlier`` are the
    notifications from before the alert fired; ``working`` are the receivers that took any notification since the attack
    began. ``receiver`` is the one that the playbook names, None for any.
    """

    alert: str
    labels: Mapping[str, str]
    alertmanagers: tuple[str, ...]
    managed: ManagedAlert | None
    receiver: str | None = None
    silences: tuple[Silence, ...] = ()
    others: Mapping[str, ManagedAlert] | None = None
    routes: tuple[Route, ...] = ()
    tries: Tries = Tries(counted=False)
    earlier: tuple[Notification, ...] = ()
    working: frozenset[str] = frozenset()


def decide_delivery(facts: DeliveryFacts) -> Stopped:
    """Where an alert that fired stopped on its way to the receiver."""
    if facts.managed is None:
        return _not_there(facts)
    stopped = _suppressed(facts, facts.managed) or _muted(facts, facts.managed) or _misrouted(facts, facts.managed)
    stopped = stopped or _failed(facts, facts.managed) or _deduplicated(facts, facts.managed)
    return stopped or _held_back(facts, facts.managed)


def decide_active(facts: DeliveryFacts) -> Stopped | None:
    """Why an alert that Alertmanager shows as active reaches nobody all the same; None where nothing says so. For where
    no receiver can be asked.
    """
    if facts.managed is None:
        return None
    stopped = _muted(facts, facts.managed) or _misrouted(facts, facts.managed)
    if stopped is None and facts.tries.counted and facts.tries.made == 0:
        return Stopped(
            "unknown",
            f"Alertmanager had it for {', '.join(facts.managed.receivers)}, and made no try to notify since the attack "
            "began: it was held back (group_wait, group_interval) until it was over",
        )
    if stopped is None and facts.tries.failed >= facts.tries.made:
        return _failed(facts, facts.managed)
    return stopped


def unsure_of_tries(facts: DeliveryFacts) -> str | None:
    """Why the tries to notify do not say whether this alert arrived: some failed and some did not."""
    tries = facts.tries
    if not 0 < tries.failed < tries.made:
        return None
    return (
        f"{tries.failed:g} of {tries.made:g} tries to notify failed since the attack began, and Alertmanager does not "
        "say which alerts they were for"
    )


def decide_silenced(
    facts: DeliveryFacts, ours: frozenset[str], sightings: Sequence[tuple[float, ManagedAlert]]
) -> Stopped | None:
    """Where an alert that ``ours``, silences of whoever asks, suppress would have stopped without them; None where
    nothing else was between it and its receiver once group_wait was over.

    ``sightings``: the alert at every poll that saw it at Alertmanager, with the poll's time, in order.
    """
    waits = max((route.group_wait_ms for route in _wanted(facts.routes, facts.receiver)), default=0) / 1000
    due = [one for at, one in sightings if at >= sightings[0][0] + waits]
    if not due:
        return Stopped(
            "unknown",
            f"Alertmanager had it for less than the group_wait of its route ({waits:g} s on Alertmanager's own clock): "
            "nobody would have been told",
        )
    stops = [_stopped_beside(facts, ours, one) for one in due]
    return None if None in stops else stops[-1]


def _stopped_beside(facts: DeliveryFacts, ours: frozenset[str], managed: ManagedAlert) -> Stopped | None:
    others = replace(managed, silenced_by=tuple(one for one in managed.silenced_by if one not in ours))
    return _suppressed(facts, others) or _muted(facts, others) or _misrouted(facts, others)


def gather_delivery(
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    alert: str,
    labels: Mapping[str, str],
    *,
    at: float,
    receiver: str | None = None,
    managed: ManagedAlert | None = None,
    others: Mapping[str, ManagedAlert] | None = None,
    before: tuple[Deliveries, ...] = (),
    earlier: tuple[Notification, ...] = (),
    later: tuple[Notification, ...] = (),
) -> DeliveryFacts:
    """Ask for the facts about an alert that fired and was not notified. Raises PrometheusError, AlertmanagerError.

    ``managed`` is what a poll saw of the alert while it was active (without it, what Alertmanager has now), ``others``
    what polls saw of all alerts; ``before`` are the deliveries as counted before the attack, ``earlier`` the
    notifications from before the alert fired, ``later`` those since; ``at`` is the time of firing.
    """
    current = alertmanager.alerts()
    wanted = {"alertname": alert, **labels}
    seen = managed or next((one for one in current if wanted.items() <= dict(one.labels).items()), None)
    routes = routes_of(alertmanager.status().config, seen.labels, at) if seen else ()
    return DeliveryFacts(
        alert=alert,
        labels=labels,
        alertmanagers=prometheus.alertmanagers(),
        managed=seen,
        receiver=receiver,
        silences=alertmanager.silences(),
        others={**(others or {}), **{one.fingerprint: one for one in current}},
        routes=routes,
        tries=tries_since(before, alertmanager.deliveries(), integrations_of(routes, receiver)),
        earlier=earlier,
        working=frozenset(one.receiver for one in later),
    )


def integrations_of(routes: Sequence[Route], receiver: str | None) -> frozenset[str]:
    """What the routes to a receiver (None: to any) send with."""
    return frozenset(name for route in _wanted(routes, receiver) for name in route.integrations)


def tries_since(
    before: tuple[Deliveries, ...], after: tuple[Deliveries, ...], integrations: Collection[str] = ()
) -> Tries:
    """Single tries to notify between two readings, by these integrations (none named: by all); none without a reading
    before. A restarted Alertmanager counts from 0.
    """
    if not (before and after):
        return Tries(counted=False)
    was = {one.integration: one for one in before}
    found = [
        _grown(was.get(one.integration), one) for one in after if not integrations or one.integration in integrations
    ]
    return Tries(sum(one.made for one in found), sum(one.failed for one in found))


def _grown(before: Deliveries | None, after: Deliveries) -> Tries:
    if before is None or after.requests < before.requests:
        return Tries(after.requests, after.requests_failed)
    return Tries(after.requests - before.requests, after.requests_failed - before.requests_failed)


def _wanted(routes: Sequence[Route], receiver: str | None) -> list[Route]:
    """The routes to a receiver, or all of them (None)."""
    return [route for route in routes if receiver in (None, route.receiver)]


def _not_there(facts: DeliveryFacts) -> Stopped:
    if not facts.alertmanagers:
        return Stopped(
            "not-at-alertmanager", "Prometheus knows no Alertmanager (alerting.alertmanagers): nothing is sent"
        )
    return Stopped(
        "not-at-alertmanager",
        f"Prometheus sends to {', '.join(facts.alertmanagers)}, but {facts.alert} was never seen at the Alertmanager "
        "that was asked: another one, alert_relabel_configs, or the way between them",
    )


def _suppressed(facts: DeliveryFacts, managed: ManagedAlert) -> Stopped | None:
    if managed.silenced_by:
        known = {silence.id: silence for silence in facts.silences}
        texts = [
            f'{one} by {known[one].created_by}: "{known[one].comment}"' if one in known else one
            for one in managed.silenced_by
        ]
        return Stopped("silenced", f"silenced by {'; '.join(texts)}")
    if managed.inhibited_by:
        others = facts.others or {}
        names = [others[one].name if one in others else one for one in managed.inhibited_by]
        return Stopped("inhibited", f"inhibited by {', '.join(names)}, which is firing as well (inhibit_rules)")
    return None


def _muted(facts: DeliveryFacts, managed: ManagedAlert) -> Stopped | None:
    wanted = _wanted(facts.routes, facts.receiver) or facts.routes
    names = managed.muted_by or tuple(name for route in wanted for name in route.muted_by)
    if names and all(route.muted_by for route in wanted):
        return Stopped("time-muted", f"its route is muted by time now: {', '.join(names)}")
    return None


def _misrouted(facts: DeliveryFacts, managed: ManagedAlert) -> Stopped | None:
    taken = ", ".join(managed.receivers) or "no receiver"
    if facts.receiver is not None and facts.receiver not in managed.receivers:
        return Stopped("wrong-receiver", f"it was routed to {taken}, not to {facts.receiver}")
    wanted = _wanted(facts.routes, facts.receiver)
    if wanted and not any(route.integrations for route in wanted):
        return Stopped(
            "wrong-receiver", f"it was routed to {taken}, which sends to nothing (a receiver without integrations)"
        )
    return None


def _failed(facts: DeliveryFacts, managed: ManagedAlert) -> Stopped | None:
    """Alertmanager counts failures of all receivers together: one that took another notification is not to blame."""
    if facts.tries.failed <= 0 or facts.working & set(managed.receivers):
        return None
    return Stopped(
        "receiver-failed",
        f"{facts.tries.failed:g} tries to notify failed since the attack began: the receiver's endpoint refuses or "
        "cannot be reached (Alertmanager's log says which)",
    )


def _deduplicated(facts: DeliveryFacts, managed: ManagedAlert) -> Stopped | None:
    if _last_told(facts.earlier, managed.labels) != "firing":
        return None
    return Stopped(
        "deduplicated",
        "the receiver had been told that this alert fires, and not yet that it had resolved: it is not told again "
        "before group_interval and repeat_interval",
    )


def _held_back(facts: DeliveryFacts, managed: ManagedAlert) -> Stopped:
    waits = max((route.group_wait_ms for route in facts.routes), default=0)
    again = max((route.group_interval_ms for route in facts.routes), default=0)
    return Stopped(
        "unknown",
        f"Alertmanager has it as {managed.state} for {', '.join(managed.receivers)}, and no notification was seen; "
        f"group_wait is {waits / 1000:g} s and group_interval {again / 1000:g} s (Alertmanager's own clock)",
    )


def _last_told(earlier: tuple[Notification, ...], labels: Mapping[str, str]) -> str | None:
    told = [alert.status for one in earlier for alert in one.alerts if dict(alert.labels) == dict(labels)]
    return told[-1] if told else None
