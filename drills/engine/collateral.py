"""Alerts that changed while a drill ran and that it does not name: for whoever reads the result, not for the verdict.

Prometheus's own samples of ``ALERTS`` show those that fired between two polls; polls show when an alert became active,
and that one has ended. All replicas of Prometheus are asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from alerts.life import life
from alerts.prometheus import ActiveAlert, LoadedRule, Prometheus, Series
from drills.engine.period import Period
from drills.engine.result import Collateral
from drills.engine.seen import Expected, Seen
from drills.engine.watch import Snapshot, Sources, carries
from drills.errors import WorldError

State = Literal["pending", "firing", "resolved"]
WORST: tuple[State, ...] = ("firing", "pending", "resolved")
EVERY_MS = 60_000  # Prometheus's own interval, where no rule is known
Key = tuple[tuple[str, str], ...]  # an alert's labels


@dataclass(frozen=True, slots=True)
class Change:
    """What an alert became. ``rule`` is that of its name and labels, None where none was loaded."""

    labels: Mapping[str, str]
    active_at: float
    state: State
    rule: LoadedRule | None

    @property
    def key(self) -> Key:
        """Its labels."""
        return key_of(self.labels)


def key_of(labels: Mapping[str, str]) -> Key:
    """An alert's labels, to tell it from others."""
    return tuple(sorted(labels.items()))


def collateral(named: Sequence[Expected], seen: Seen, sources: Sources, period: Period) -> list[Collateral]:
    """Every other alert that became active, fired or ended after the attack began, and that is no other drill's."""
    began = seen.attack_began
    if began is None:
        return []
    found: dict[Key, Change] = {}
    for number, each in enumerate(sources.each()):
        snapshots = period.of_replica(number).snapshots
        polled = list(by_polls(snapshots, began))
        for one in (*polled, *_by_samples(each.prometheus, snapshots, began)):
            known = found.get(one.key)
            if known is None or WORST.index(one.state) < WORST.index(known.state):
                found[one.key] = one
    wanted = [one.wanted for one in named]
    return [
        Collateral(name=one.labels.get("alertname", ""), labels=dict(one.labels), state=one.state)
        for one in found.values()
        if not any(each.name == one.labels.get("alertname") and carries(one.labels, each.labels) for each in wanted)
        and not _foreign(one, period)
    ]


def _foreign(one: Change, period: Period) -> bool:
    state: Literal["pending", "firing"] = "pending" if one.state == "pending" else "firing"
    alert = ActiveAlert(one.labels, {}, state, one.active_at, math.nan)
    return one.rule is not None and period.foreign(alert, one.rule)


def by_polls(snapshots: Sequence[Snapshot], began: float) -> Iterator[Change]:
    """What the polls saw change since the attack began; one has ended where the last poll shows its rule without it."""
    before: dict[Key, ActiveAlert] = {}
    for snapshot in snapshots:
        for rule in snapshot.rules:
            for alert in rule.alerts:
                old = before.get(key_of(alert.labels))
                if snapshot.at < began:
                    before[key_of(alert.labels)] = alert
                elif alert.active_at >= began or (old and (old.state, alert.state) == ("pending", "firing")):
                    yield Change(alert.labels, alert.active_at, alert.state, rule)
    yield from _ended(before, snapshots, began)


def _ended(before: Mapping[Key, ActiveAlert], snapshots: Sequence[Snapshot], began: float) -> Iterator[Change]:
    """Of the alerts of the last poll before the attack, those that the last poll shows no more."""
    asked = [one for one in snapshots if "prometheus" not in one.problems]
    last = [one for one in asked if one.at < began][-1:]
    if not last or asked[-1] is last[0]:
        return
    there = {key_of(alert.labels) for rule in last[0].rules for alert in rule.alerts}
    healthy = [rule for rule in asked[-1].rules if rule.health == "ok"]
    still = {key_of(alert.labels) for rule in asked[-1].rules for alert in rule.alerts}
    for key, alert in before.items():
        rule = _rule_of(alert.labels, healthy)
        if key in there - still and rule is not None:
            yield Change(alert.labels, alert.active_at, "resolved", rule)


def _by_samples(prometheus: Prometheus, snapshots: Sequence[Snapshot], began: float) -> Iterator[Change]:
    rules = [rule for snapshot in snapshots for rule in snapshot.rules]
    every = max((rule.interval_ms for rule in rules), default=EVERY_MS)
    try:
        until = prometheus.now()
        series = prometheus.samples("ALERTS", until, until - began + 3 * every / 1000)
    except WorldError:
        return  # what the polls saw is all that is known
    yield from by_samples(series, snapshots, began, until)


def by_samples(series: Sequence[Series], snapshots: Sequence[Snapshot], began: float, until: float) -> Iterator[Change]:
    """What raw samples of ``ALERTS`` show to have become active or to have fired since the attack began.

    An alert that a poll knows to be older only looks as if it had begun again where samples are missing.
    """
    rules = list(
        {(rule.group, rule.query, key_of(rule.labels)): rule for one in snapshots for rule in one.rules}.values()
    )
    old = {
        key_of(alert.labels): snapshot.at
        for snapshot in snapshots
        for rule in snapshot.rules
        for alert in rule.alerts
        if alert.active_at < began
    }
    for name in {one.labels.get("alertname", "") for one in series}:
        of_name = [one for one in series if one.labels.get("alertname", "") == name]
        every = max((rule.interval_ms for rule in rules if rule.name == name), default=EVERY_MS)
        for spell in life(of_name, since=began, until=until, interval_ms=every).spells:
            fired = spell.firing_at is not None and spell.firing_at >= began
            if (spell.active_at >= began or fired) and spell.active_at > old.get(key_of(spell.labels), 0.0):
                state: State = "pending" if spell.firing_at is None else "firing"
                yield Change(spell.labels, spell.active_at, state, _rule_of(spell.labels, rules))


def _rule_of(labels: Mapping[str, str], rules: Iterable[LoadedRule]) -> LoadedRule | None:
    name = labels.get("alertname")
    return next((rule for rule in rules if rule.name == name and rule.may_carry(labels)), None)
