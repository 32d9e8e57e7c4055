"""What is said of each alert: asks Prometheus and Alertmanager, once, for what the verdicts still need.

Detection is judged by what was there until the alert was notified, resolution by what was there afterwards. What can
no longer be asked is *not judged*; it is never a failure and never a success.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alerts import life, whynot
from alerts.alertmanager import ManagedAlert
from alerts.delivery import DeliveryFacts, decide_delivery, gather_delivery
from alerts.life import Life
from alerts.prometheus import ActiveAlert, LoadedRule, Prometheus
from alerts.silences import OwnSilence
from alerts.stopped import Stopped
from drills.engine import flags, lives, preflight, silenced
from drills.engine.detection import AlertFacts, Times, judge_alert, judge_quiet, merged
from drills.engine.lives import Down
from drills.engine.result import Alert, Collateral, Enforcement, Quiet
from drills.engine.seen import Expected, FaultSeen, Seen
from drills.engine.verdict import ENOUGH
from drills.engine.watch import Inputs, Snapshot, Sources, faults
from drills.errors import DrillsError, WorldError
from drills.inject.wireguard import EffectState


@dataclass(frozen=True, slots=True)
class Period:
    """What was polled from the baseline's begin to now, on which clock, whether something cut it short, and which
    alerts belong to other drills that ran meanwhile.
    """

    snapshots: tuple[Snapshot, ...]
    time_lapse: float
    aborted: str | None
    foreign: Callable[[ActiveAlert, LoadedRule], bool] = field(default=lambda *_: False)  # another drill's alert

    def of_replica(self, number: int) -> Period:
        """The same as one replica of Prometheus saw it; 0 is the first."""
        return replace(self, snapshots=tuple(one.each()[number] for one in self.snapshots))


def judge(one: Expected, seen: Seen, enforcement: Enforcement, sources: Sources, period: Period) -> Alert:
    """The verdict on an expected alert, by all replicas of Prometheus together."""
    found = [
        _by_replica(_at_replica(one, number), seen, enforcement, each, period.of_replica(number))
        for number, each in enumerate(sources.each())
    ]
    if len(found) > 1:
        found = [_signed(facts, each.prometheus.url) for facts, each in zip(found, sources.each(), strict=True)]
    return judge_alert(merged(found))


def _at_replica(one: Expected, number: int) -> Expected:
    """The targets that were known before the attack are the first replica's: another may call them otherwise."""
    return one if number == 0 else replace(one, sources=lives.NOTHING)


def _signed(facts: AlertFacts, url: str) -> AlertFacts:
    """Its doubts with the replica that they come from."""
    unjudged, resolution = facts.unjudged, facts.resolution_unjudged
    return replace(
        facts,
        unjudged=None if unjudged is None else f"{url}: {unjudged}",
        resolution_unjudged=None if resolution is None else f"{url}: {resolution}",
    )


def _by_replica(one: Expected, seen: Seen, enforcement: Enforcement, sources: Sources, period: Period) -> AlertFacts:
    facts = AlertFacts(
        name=one.wanted.name,
        within=one.spec.within,
        resolves_within=one.spec.resolves_within,
        attack_began=seen.attack_began,
        attack_ended=seen.attack_ended,
        time_lapse=period.time_lapse,
        times=Times(),
        bounds=None if one.watched is None else preflight.bound_seconds(one.watched, period.time_lapse),
        active_before=one.wanted.name in seen.active_before,
        unjudged=_unjudged(seen, enforcement, period),
        stop=None,
        expects_notice=sources.receiver is not None and one.silence is None,
    )
    if seen.attack_began is None or not seen.attacked:
        return facts
    try:
        return _lived(facts, one, seen, sources, period)
    except WorldError as error:
        found = faults(period.snapshots, _inputs(one, None, period))
        known = (facts.unjudged,) if facts.unjudged else ()
        return replace(facts, unjudged="; ".join((*known, *(found or (str(error),)))))


def _unjudged(seen: Seen, enforcement: Enforcement, period: Period) -> str | None:
    """Why no alert can be judged: no attack, or one that was not denied."""
    if not seen.attacked:
        return f"no attack was made: {seen.lack or 'it was stopped before'}"
    if seen.fault is not None:  # it was there, whatever is known of the encryption
        return _unlasting(seen.fault, period)
    return _undenied(seen, enforcement) or (
        None if period.aborted is None else f"the drill was stopped: {period.aborted}"
    )


def _undenied(seen: Seen, enforcement: Enforcement) -> str | None:
    if seen.load is not None:  # the alert tells of the load, not of what was denied meanwhile
        return seen.load.shortfall
    if enforcement.verdict == "inconclusive":
        return f"the attack itself is inconclusive: {enforcement.reason}"
    if enforcement.denied < ENOUGH * enforcement.attempts:
        return f"only {enforcement.denied} of {enforcement.attempts} attempts were denied, and the alert counts denials"
    return None


def _unlasting(fault: FaultSeen, period: Period) -> str | None:
    if fault.effect is not None and fault.effect.state is not EffectState.EFFECTIVE:
        return f"the fault did not last: {fault.effect.reason}"
    return None if period.aborted is None else f"the drill was stopped: {period.aborted}"


def _inputs(one: Expected, prometheus: Prometheus | None, period: Period) -> Inputs:
    """What the alert stands on; without a Prometheus, what is known from before the attack. Raises WorldError."""
    if one.rule is None:
        return Inputs(None, lives.NOTHING, 0.5)
    sources, blind = one.sources, False
    if prometheus is not None and period.snapshots:
        until = prometheus.now()
        since = period.snapshots[0].at
        sources, blind = lives.sources_since(prometheus, one.rule, one.behind, sources, (since, until))
    records = frozenset(record.name for record in one.behind)
    return Inputs(one.wanted.name, sources, one.rule.interval_ms / 1000, blind, records)


def _lived(facts: AlertFacts, one: Expected, seen: Seen, sources: Sources, period: Period) -> AlertFacts:
    """The facts with the alert's life in them, and with the reason why it ended early if it did."""
    prometheus, began = sources.prometheus, seen.attack_began or 0.0
    until = prometheus.now()
    if one.rule is None:
        times, found = Times(), Life()
    else:
        times, found = lives.times(prometheus, one.rule, one.wanted, period.snapshots, began)
    facts = replace(facts, times=times, active_before=facts.active_before or found.active_before)
    inputs = _inputs(one, prometheus, period)
    facts = _with_faults(facts, inputs, period, _failed_scrapes(prometheus, inputs, period, until))
    if facts.unjudged is not None or facts.active_before:
        return facts
    if one.rule is not None:
        window = (began, times.firing or until)
        facts = replace(
            facts,
            gaps=lives.gaps(prometheus, one.rule, inputs.sources, found, period.snapshots, window),
            flags=flags.of(prometheus, one.rule, one.behind, seen, (began, until), fired=times.firing is not None),
        )
    if times.firing is None:
        return replace(facts, stop=_why_not(one, found, (began, until), prometheus, period))
    return _with_delivery(facts, one, (began, times.firing), sources, period)


def _with_delivery(
    facts: AlertFacts, one: Expected, window: tuple[float, float], sources: Sources, period: Period
) -> AlertFacts:
    """The facts of an alert that fired, with the reason why it did not arrive if it did not."""
    if one.silence is not None:
        facts = _silenced(facts, one, one.silence, window, sources, period)
    else:
        facts = _notified(facts, one, window, sources, period)
    stop = facts.stop
    if stop is not None and stop.at == "not-at-alertmanager" and (reloaded := _reloaded(period.snapshots)):
        return replace(facts, unjudged=f"{reloaded}; {stop.reason}")
    return facts


def _notified(
    facts: AlertFacts, one: Expected, window: tuple[float, float], sources: Sources, period: Period
) -> AlertFacts:
    """Of an alert of which somebody is to be told."""
    began, firing = window
    if sources.receiver is None and sources.alertmanager is not None:
        facts = replace(facts, handed_over=lives.handed_over(period.snapshots, one.wanted, began))
    if (facts.expects_notice and facts.times.notified is None) or facts.handed_over is False:
        if (silent := _unasked(one, sources, firing, period)) is not None:
            return replace(facts, unjudged=f"whether it was delivered cannot be said: {silent}")
        return replace(facts, stop=_undelivered(one, window, sources, period))
    return facts


def _silenced(
    facts: AlertFacts,
    one: Expected,
    silence: OwnSilence,
    window: tuple[float, float],
    sources: Sources,
    period: Period,
) -> AlertFacts:
    """Of an alert that the drill silenced."""
    began, firing = window
    lack = lives.unasked(period.snapshots, "alertmanager", firing)
    found = None
    try:
        found = None if lack else _gathered(one, window, sources, period)
    except WorldError as error:
        lack = str(error)
    if found is None:
        return replace(facts, unjudged=f"whether it would have been delivered cannot be said: {lack}")
    anybody = lives.notified_at(lives.told(period.snapshots), replace(one.wanted, receiver=None), began)
    handed_over = sources.receiver is None and lives.handed_over(period.snapshots, one.wanted, began)
    return silenced.judged(
        facts,
        silence,
        found,
        _sightings(one, began, period),
        notified=anybody is not None,
        reached=facts.times.notified is not None or handed_over,
    )


def _sightings(one: Expected, began: float, period: Period) -> list[tuple[float, ManagedAlert]]:
    """The alert at every poll that saw it at Alertmanager, with the poll's time."""
    return [
        (snapshot.at, alert)
        for snapshot in period.snapshots
        for alert in snapshot.managed_alerts(one.wanted.name, one.wanted.labels)
        if alert.starts_at >= began
    ]


def _unasked(one: Expected, sources: Sources, firing: float, period: Period) -> str | None:
    """Why it is not known whether the alert was delivered; None where silence says that it was not."""
    if one.delivery is None:
        return "Alertmanager did not say how long it may hold the alert back"
    source = "alertmanager" if sources.receiver is None else "receiver"
    return lives.unasked(period.snapshots, source, firing)


def _reloaded(snapshots: Sequence[Snapshot]) -> str | None:
    """A Prometheus that reads its configuration again has no Alertmanager until discovery tells (5 s, 2.42)."""
    loaded = {one.process.last_config_time for one in snapshots if one.process is not None}
    return "Prometheus loaded its configuration again during the drill" if len(loaded) > 1 else None


def _failed_scrapes(prometheus: Prometheus, inputs: Inputs, period: Period, until: float) -> tuple[Down, ...]:
    if not period.snapshots:
        return ()
    return lives.failed_scrapes(prometheus, inputs.sources, period.snapshots[0].at, until)


def _with_faults(facts: AlertFacts, inputs: Inputs, period: Period, down: Sequence[Down]) -> AlertFacts:
    """What went wrong until the alert was told makes it unjudged; what went wrong later, only its resolution."""
    found = faults(period.snapshots, inputs, [one.instance for one in down])
    if found and facts.unjudged is not None:
        return replace(facts, unjudged="; ".join((facts.unjudged, *found)))
    told = facts.times.notified if facts.expects_notice else facts.times.firing
    if not found:
        return facts
    if told is not None:
        before = [one.instance for one in down if one.at <= told]
        early = faults(tuple(one for one in period.snapshots if one.at <= told), inputs, before)
        if not early:
            return replace(facts, resolution_unjudged="; ".join(found))
        found = early
    return replace(facts, unjudged="; ".join(found))


def _why_not(
    one: Expected, found: Life, window: tuple[float, float], prometheus: Prometheus, period: Period
) -> Stopped:
    began, until = window
    error = lives.rule_error(period.snapshots, one.wanted, one.behind, began)
    if error is not None:
        return Stopped("rule-error", error)
    gathered = whynot.gather(
        prometheus,
        one.wanted.name,
        one.wanted.labels,
        found,
        since=began,
        until=until,
        k=period.time_lapse,
        written=one.written,
    )
    return whynot.decide(gathered)


def _undelivered(one: Expected, window: tuple[float, float], sources: Sources, period: Period) -> Stopped:
    if sources.alertmanager is None:
        return Stopped("unknown", "no Alertmanager was named, so it cannot be asked why nothing was notified")
    try:
        return decide_delivery(_gathered(one, window, sources, period))
    except DrillsError as error:
        return Stopped("not-at-alertmanager", str(error))


def _gathered(one: Expected, window: tuple[float, float], sources: Sources, period: Period) -> DeliveryFacts:
    """What the delivery of an alert that fired is judged by. Raises PrometheusError, AlertmanagerError."""
    assert sources.alertmanager is not None
    began, firing = window
    notifications = lives.told(period.snapshots)
    before = [snapshot.deliveries for snapshot in period.snapshots if snapshot.at < began and snapshot.deliveries]
    return gather_delivery(
        sources.prometheus,
        sources.alertmanager,
        one.wanted.name,
        one.wanted.labels,
        at=firing,
        receiver=one.wanted.receiver,
        managed=_telling([alert for _, alert in _sightings(one, began, period)]),
        others=_everyone(period.snapshots),
        before=before[-1] if before else (),
        earlier=tuple(notice for notice in notifications if notice.received_at < began),
        later=tuple(notice for notice in notifications if notice.received_at >= began),
    )


def _telling(managed: Sequence[ManagedAlert]) -> ManagedAlert | None:
    """Of what the polls saw of an alert: the last time that something suppressed it, else the last time."""
    suppressed = [one for one in managed if one.silenced_by or one.inhibited_by]
    return next(reversed(suppressed or managed), None)


def _everyone(snapshots: Sequence[Snapshot]) -> Mapping[str, ManagedAlert]:
    return {one.fingerprint: one for snapshot in snapshots for one in snapshot.managed}


def judge_quietness(one: Expected, seen: Seen, sources: Sources, period: Period) -> Quiet:
    """The verdict on an alert that must not fire."""
    if not seen.attacked or seen.attack_began is None:
        lack = f"no attack was made: {seen.lack or 'it was stopped before'}"
        return judge_quiet(one.wanted.name, _before(one, seen), lack)
    found = [
        _quietness_by_replica(_at_replica(one, number), seen.attack_began, each, period.of_replica(number))
        for number, each in enumerate(sources.each())
    ]
    noise = next((noise for noise, _ in found if noise is not None), None)
    lacks = dict.fromkeys(lack for _, some in found for lack in some)
    return judge_quiet(one.wanted.name, _before(one, seen) or noise, "; ".join(lacks) or None)


def _quietness_by_replica(
    one: Expected, began: float, sources: Sources, period: Period
) -> tuple[str | None, list[str]]:
    """When it fired, and why that it did not proves nothing."""
    unread: list[str] = []
    try:
        inputs = _inputs(one, sources.prometheus, period)
        noise = _noise(one, one.rule, began, sources.prometheus, period)
        down = _failed_scrapes(sources.prometheus, inputs, period, sources.prometheus.now())
    except WorldError as error:
        inputs, noise, down, unread = _inputs(one, None, period), None, (), [str(error)]
    lacks = list(faults(period.snapshots, inputs, [each.instance for each in down])) or unread
    if (broken := lives.rule_error(period.snapshots, one.wanted, one.behind, began)) is not None:
        lacks.append(broken)
    elif (missing := _quiet_lack(one, began, sources.prometheus)) is not None:
        lacks.append(missing)
    if noise is None and period.snapshots and period.snapshots[-1].active(one.wanted.name, {}):
        lacks.append(f"{one.wanted.name} is pending still, and may fire yet")
    return noise, lacks


def _quiet_lack(one: Expected, began: float, prometheus: Prometheus) -> str | None:
    return lives.quiet_lack(prometheus, one.rule, one.behind, one.wanted.name, began)


def _before(one: Expected, seen: Seen) -> str | None:
    if one.wanted.name not in seen.active_before:
        return None
    return "it was active before the attack, and still after the longest that the rule alone could keep it so"


def _noise(one: Expected, rule: LoadedRule | None, began: float, prometheus: Prometheus, period: Period) -> str | None:
    """When it fired since the attack began, by Prometheus's samples: a poll may miss a short firing."""
    if rule is None:
        return None
    found = life.read(
        prometheus, one.wanted.name, {}, since=began, until=prometheus.now(), interval_ms=rule.interval_ms
    )
    fired = [spell.firing_at for spell in found.spells if spell.firing_at is not None]
    if not fired:
        return None
    after = max(0.0, min(fired) - began) * period.time_lapse
    return f"it fired {after:.0f} s after the first attempt, though the playbook expects it to stay quiet"


def collateral(named: Sequence[Expected], seen: Seen, period: Period) -> list[Collateral]:
    """Every other alert that became active after the attack began, and that is no other drill's."""
    if seen.attack_began is None:
        return []
    known = {one.wanted.name for one in named}
    found: dict[tuple[tuple[str, str], ...], Collateral] = {}
    for snapshot in period.snapshots:
        for rule in snapshot.rules:
            for alert in rule.alerts:
                if alert.name in known or alert.active_at < seen.attack_began or period.foreign(alert, rule):
                    continue
                key = tuple(sorted(alert.labels.items()))
                if key not in found or alert.state == "firing":
                    found[key] = Collateral(name=alert.name, labels=dict(alert.labels), state=alert.state)
    return list(found.values())
