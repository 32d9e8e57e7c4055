"""What is said of each alert: asks Prometheus and Alertmanager, once, for what the verdicts still need.

Detection is judged by what was there until the alert was notified, resolution by what was there afterwards. What can
no longer be asked is *not judged*; it is never a failure and never a success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alerts import whynot
from alerts.alertmanager import Alertmanager, ManagedAlert
from alerts.delivery import DeliveryFacts, decide_active, decide_delivery, gather_delivery, unsure_of_tries
from alerts.life import Life
from alerts.prometheus import LoadedRule, Prometheus
from alerts.silences import OwnSilence
from alerts.stopped import Stopped
from drills.engine import flags, lives, missed, preflight, resolving, silenced
from drills.engine.detection import AlertFacts, Times, judge_alert, merged
from drills.engine.lives import Down
from drills.engine.missed import Missed
from drills.engine.period import Period, at_replica, failed_scrapes, inputs
from drills.engine.polled import Inputs, faults
from drills.engine.result import Alert, Enforcement
from drills.engine.seen import Expected, Seen
from drills.engine.verdict import ENOUGH
from drills.engine.watch import Snapshot, Sources
from drills.errors import DrillsError, WorldError

UNSURE = "whether it was delivered cannot be said"


def judge(one: Expected, seen: Seen, enforcement: Enforcement, sources: Sources, period: Period) -> Alert:
    """The verdict on an expected alert, by all replicas of Prometheus together."""
    found = [
        _by_replica(at_replica(one, number), seen, enforcement, each, period.of_replica(number))
        for number, each in enumerate(sources.each())
    ]
    if len(found) > 1:
        found = [_signed(facts, each.prometheus.url) for facts, each in zip(found, sources.each(), strict=True)]
    return judge_alert(merged(found))


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
        found = faults(period.snapshots, inputs(one, None, period), until=period.until)
        known = (facts.unjudged,) if facts.unjudged else ()
        return replace(facts, unjudged="; ".join((*known, *(found or (str(error),)))))


def _unjudged(seen: Seen, enforcement: Enforcement, period: Period) -> str | None:
    """Why no alert can be judged: no attack, or one that was not denied."""
    if not seen.attacked:
        return f"no attack was made: {seen.lack or 'it was stopped before'}"
    if seen.fault is not None:  # it was there, whatever is known of the encryption
        return seen.fault.shortfall or period.cut
    return _undenied(seen, enforcement) or period.cut


def _undenied(seen: Seen, enforcement: Enforcement) -> str | None:
    if seen.load is not None:  # the alert tells of the load, not of what was denied meanwhile
        return seen.load.shortfall
    if enforcement.verdict == "inconclusive":
        return f"the attack itself is inconclusive: {enforcement.reason}"
    if enforcement.denied < ENOUGH * enforcement.attempts:
        return f"only {enforcement.denied} of {enforcement.attempts} attempts were denied, and the alert counts denials"
    return None


def _lived(facts: AlertFacts, one: Expected, seen: Seen, sources: Sources, period: Period) -> AlertFacts:
    """The facts with the alert's life in them, and with the reason why it ended early if it did."""
    prometheus, began = sources.prometheus, seen.attack_began or 0.0
    until = prometheus.now()
    if one.rule is None:
        times, found = Times(), Life()
    else:
        times, found = lives.times(prometheus, one.rule, one.wanted, period.snapshots, began)
    facts = replace(facts, times=times, active_before=facts.active_before or found.active_before)
    stands_on = inputs(one, prometheus, period)
    facts = _with_faults(facts, stands_on, period, failed_scrapes(prometheus, stands_on, period, until))
    if facts.unjudged is not None or facts.active_before:
        return facts
    if one.rule is None:
        return _stopped(facts, one, None, _asked_why(one, found, (began, until), prometheus, period), period)
    lost = missed.gather(
        prometheus, one.rule, stands_on.sources, found, period.snapshots, (began, times.firing or until)
    )
    facts = replace(
        facts,
        gaps=lost.text,
        flags=flags.of(
            prometheus,
            one.rule,
            one.behind,
            seen,
            (began, until),
            labels=one.wanted.labels,
            fired=times.firing is not None,
        ),
    )
    if times.firing is None:
        return _stopped(facts, one, lost, _asked_why(one, found, (began, until), prometheus, period), period)
    facts = _with_end(facts, one, one.rule, times.firing, period)
    return _with_delivery(facts, one, (began, times.firing), sources, period)


def _stopped(facts: AlertFacts, one: Expected, lost: Missed | None, why: whynot.Facts, period: Period) -> AlertFacts:
    """The facts of an alert that never fired, with where it stopped."""
    error = lives.rule_error(period.snapshots, one.wanted, one.behind, facts.attack_began or 0.0)
    stop = whynot.decide(why) if error is None else Stopped("rule-error", error)
    return replace(facts, stop=stop, stopped_by_gaps=lost is not None and missed.may_be_why(lost, stop, why))


def _with_delivery(
    facts: AlertFacts, one: Expected, window: tuple[float, float], sources: Sources, period: Period
) -> AlertFacts:
    """The facts of an alert that fired, with where it stopped on its way to the receiver."""
    if one.silence is not None:
        facts = _silenced(facts, one, one.silence, window, sources, period)
    else:
        facts = _told(facts, one, window, sources, period)
    stop = facts.stop
    if stop is not None and stop.at == "not-at-alertmanager" and (reloaded := _reloaded(period.snapshots)):
        return replace(facts, unjudged=f"{reloaded}; {stop.reason}")
    return facts


def _told(
    facts: AlertFacts, one: Expected, window: tuple[float, float], sources: Sources, period: Period
) -> AlertFacts:
    """Of an alert of which somebody is to be told."""
    began, firing = window
    if sources.receiver is None and sources.alertmanager is not None:
        facts = replace(facts, handed_over=lives.handed_over(period.snapshots, one.wanted, began))
        if facts.handed_over:
            return _believed(facts, one, window, sources, sources.alertmanager, period)
    if (facts.expects_notice and facts.times.notified is None) or facts.handed_over is False:
        if (silent := _unasked(one, sources, firing, period)) is not None:
            return replace(facts, unjudged=f"{UNSURE}: {silent}")
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
    assert sources.alertmanager is not None
    lack = lives.unasked(period.snapshots, "alertmanager", firing)
    found = None
    try:
        found = None if lack else _delivery(one, window, sources, sources.alertmanager, period)
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


def _with_faults(facts: AlertFacts, stands_on: Inputs, period: Period, down: Sequence[Down]) -> AlertFacts:
    """What went wrong until the alert was told makes it unjudged; what went wrong later, only its resolution."""
    found = faults(period.snapshots, stands_on, [one.instance for one in down], period.until)
    if found and facts.unjudged is not None:
        return replace(facts, unjudged="; ".join((facts.unjudged, *found)))
    told = facts.times.notified if facts.expects_notice else facts.times.firing
    if not found:
        return facts
    if told is not None:
        before = [one.instance for one in down if one.at <= told]
        early = faults(tuple(one for one in period.snapshots if one.at <= told), stands_on, before, told)
        if not early:
            return replace(facts, resolution_unjudged="; ".join(found))
        found = early
    return replace(facts, unjudged="; ".join(found))


def _with_end(facts: AlertFacts, one: Expected, rule: LoadedRule, fired: float, period: Period) -> AlertFacts:
    doubt = resolving.unended(
        period.snapshots, rule, one.behind, one.wanted, fired=fired, resolved=facts.times.resolved
    )
    doubts = [text for text in (facts.resolution_unjudged, doubt) if text is not None]
    return replace(facts, resolution_unjudged="; ".join(doubts) or None)


def _asked_why(
    one: Expected, found: Life, window: tuple[float, float], prometheus: Prometheus, period: Period
) -> whynot.Facts:
    since, until = window
    return whynot.gather(
        prometheus,
        one.wanted.name,
        one.wanted.labels,
        found,
        since=since,
        until=until,
        k=period.time_lapse,
        written=one.written,
    )


def _believed(
    facts: AlertFacts,
    one: Expected,
    window: tuple[float, float],
    sources: Sources,
    alertmanager: Alertmanager,
    period: Period,
) -> AlertFacts:
    """That Alertmanager shows it as active is believed only where nothing says that it reaches nobody all the same."""
    try:
        found = _delivery(one, window, sources, alertmanager, period)
    except DrillsError as error:
        return replace(facts, unjudged=f"{UNSURE}: {error}")
    if (stop := decide_active(found)) is not None:
        return replace(facts, handed_over=False, stop=stop)
    unsure = unsure_of_tries(found)
    return facts if unsure is None else replace(facts, unjudged=f"{UNSURE}: {unsure}")


def _undelivered(one: Expected, window: tuple[float, float], sources: Sources, period: Period) -> Stopped:
    if sources.alertmanager is None:
        return Stopped("unknown", "no Alertmanager was named, so it cannot be asked why nothing was notified")
    try:
        return decide_delivery(_delivery(one, window, sources, sources.alertmanager, period))
    except DrillsError as error:
        return Stopped("not-at-alertmanager", str(error))


def _delivery(
    one: Expected, window: tuple[float, float], sources: Sources, alertmanager: Alertmanager, period: Period
) -> DeliveryFacts:
    """What is known of its way from Alertmanager on. Raises DrillsError."""
    began, firing = window
    notifications = lives.told(period.snapshots)
    before = [snapshot.deliveries for snapshot in period.snapshots if snapshot.at < began and snapshot.deliveries]
    return gather_delivery(
        sources.prometheus,
        alertmanager,
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
