"""From what a drill saw to its result: asks Prometheus and Alertmanager, once, for what the verdicts still need.

The verdicts themselves are pure (`verdict`, `detection`). What can no longer be asked is *not judged*; it is
never a failure and never a success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from alerts import whynot
from alerts.delivery import DeliveryFacts, decide_delivery
from alerts.life import Life
from alerts.routing import routes_of
from drills.engine import evidence, lives, preflight
from drills.engine.attempts import Classified, tally
from drills.engine.detection import AlertFacts, Stop, Times, judge_alert, judge_quiet
from drills.engine.result import Alert, Collateral, Control, Drill, Enforcement, Quiet, Recovery
from drills.engine.seen import Expected, Seen
from drills.engine.verdict import ENOUGH, ControlTally, judge_control, judge_drill, judge_enforcement
from drills.engine.watch import Snapshot, Sources, faults
from drills.errors import DrillsError, WorldError
from drills.inject.base import OutcomeKind
from drills.playbook import Drill as Spec

PATIENCE_EVALUATIONS = 2  # how long Prometheus may be silent before nothing is judged


@dataclass(frozen=True, slots=True)
class Period:
    """What was polled from the baseline's begin to now, on which clock, and whether something cut it short."""

    snapshots: tuple[Snapshot, ...]
    time_lapse: float
    aborted: str | None


def judge(
    spec: Spec, seen: Seen, expected: Sequence[Expected], quiet: Sequence[Expected], sources: Sources, period: Period
) -> Drill:
    """The drill's result."""
    control = _control(spec, seen)
    enforcement = _enforcement(spec, seen, control)
    alerts = [_alert(one, seen, enforcement, sources, period) for one in expected]
    quiets = [_quiet(one, seen, sources, period) for one in quiet]
    recovery = seen.recovery or Recovery(verdict="not-verified", seconds=None, reason="the undo did not run")
    verdict, reasons = judge_drill(enforcement, control, alerts, quiets, recovery, period.aborted)
    return Drill(
        name=spec.name,
        verdict=verdict,
        reasons=reasons,
        started_at=_instant(seen.started),
        first_attempt_at=_instant(seen.attack_began) if seen.attack else None,
        last_attempt_at=_instant(seen.attack_ended),
        finished_at=_instant(seen.observed_until),
        enforcement=enforcement,
        control=control,
        alerts=alerts,
        quiet=quiets,
        collateral=_collateral([*expected, *quiet], seen, period),
        recovery=recovery,
    )


# --- enforcement and control ------------------------------------------------------------------------------------------


def _control(spec: Spec, seen: Seen) -> Control:
    made = [one for one in seen.control if one.outcome.kind is not OutcomeKind.VOID]
    succeeded = [one.outcome.kind is OutcomeKind.SUCCEEDED for one in made]
    planned = 0 if spec.control is None else spec.control.attempts
    verdict, reason = judge_control(ControlTally(succeeded, planned))
    return Control(
        verdict=verdict,
        reason=seen.control_error or reason,
        attempts=len(made),
        succeeded=sum(succeeded),
        outcomes=_outcomes(seen.control),
    )


def _enforcement(spec: Spec, seen: Seen, control: Control) -> Enforcement:
    counts = tally(preflight.http_of(spec).attempts, seen.attack)
    counter = evidence.counter_evidence(evidence.HTTP_DENIED, seen.counter_before, seen.counter_after)
    found = judge_enforcement(counts, control.verdict, evidence.proof(counter, seen.flows))
    reason = found.reason
    if found.verdict == "inconclusive" and (seen.lack or seen.attack_error):
        reason = seen.lack or f"the probe failed: {seen.attack_error}"
    return Enforcement(
        verdict=found.verdict,
        reason=reason,
        attempts=counts.attempts,
        planned=counts.planned,
        denied=counts.denied,
        leaked=counts.leaked,
        outcomes=_outcomes(seen.attack),
        evidence=[one for one in (counter, seen.flows) if one is not None],
    )


def _outcomes(attempts: Sequence[Classified]) -> dict[str, int]:
    return dict(sorted(Counter(one.outcome.name for one in attempts).items()))


# --- alerts -----------------------------------------------------------------------------------------------------------


def _alert(one: Expected, seen: Seen, enforcement: Enforcement, sources: Sources, period: Period) -> Alert:
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
        unjudged=_unjudged(one, seen, enforcement, period),
        stop=None,
        expects_notice=sources.receiver is not None,
    )
    if seen.attack_began is None or not seen.attack:
        return judge_alert(facts)
    try:
        return judge_alert(_lived(facts, one, seen.attack_began, sources, period))
    except WorldError as error:
        return judge_alert(replace(facts, unjudged=facts.unjudged or str(error)))


def _unjudged(one: Expected, seen: Seen, enforcement: Enforcement, period: Period) -> str | None:
    """Why the alert cannot be judged: no attack, an attack that was not denied, or inputs that were not there."""
    if not seen.attack:
        return f"no attack was made: {seen.lack or 'it was stopped before'}"
    if enforcement.verdict == "inconclusive":
        return f"the attack itself is inconclusive: {enforcement.reason}"
    if enforcement.denied < ENOUGH * enforcement.attempts:
        return f"only {enforcement.denied} of {enforcement.attempts} attempts were denied, and the alert counts denials"
    if period.aborted is not None:
        return f"the drill was stopped: {period.aborted}"
    found = faults(period.snapshots, one.wanted.name if one.rule else None, one.sources, _patience(one))
    return "; ".join(found) or None


def _patience(one: Expected) -> float:
    return 1.0 if one.rule is None else max(1.0, PATIENCE_EVALUATIONS * one.rule.interval_ms / 1000)


def _lived(facts: AlertFacts, one: Expected, began: float, sources: Sources, period: Period) -> AlertFacts:
    """The facts with the alert's life in them, and with the reason why it ended early if it did."""
    prometheus, until = sources.prometheus, sources.prometheus.now()
    if one.rule is None:
        lived, found = Times(), Life()
    else:
        lived, found = lives.times(prometheus, one.rule, one.wanted, period.snapshots, began)
    facts = replace(facts, times=lived, active_before=facts.active_before or found.active_before)
    if facts.unjudged is not None or facts.active_before:
        return facts
    if lived.firing is None:
        gathered = whynot.gather(
            prometheus, one.wanted.name, one.wanted.labels, found, since=began, until=until, k=period.time_lapse
        )
        stopped = whynot.decide(gathered)
        return replace(facts, stop=Stop(stopped.at, stopped.reason))
    if facts.expects_notice and lived.notified is None:
        return replace(facts, stop=_undelivered(one, began, sources, period))
    return facts


def _undelivered(one: Expected, began: float, sources: Sources, period: Period) -> Stop:
    if sources.alertmanager is None:
        return Stop("unknown", "no Alertmanager was named, so it cannot be asked why nothing was notified")
    try:
        return _ask_alertmanager(one, began, sources, period)
    except DrillsError as error:
        return Stop("not-at-alertmanager", str(error))


def _ask_alertmanager(one: Expected, began: float, sources: Sources, period: Period) -> Stop:
    assert sources.alertmanager is not None
    managed = [
        alert
        for snapshot in period.snapshots
        for alert in snapshot.managed_alerts(one.wanted.name, one.wanted.labels)
        if alert.starts_at >= began
    ]
    newest = period.snapshots[-1]
    labels = managed[-1].labels if managed else {"alertname": one.wanted.name, **one.wanted.labels}
    stopped = decide_delivery(
        DeliveryFacts(
            alert=one.wanted.name,
            labels=labels,
            alertmanagers=sources.prometheus.alertmanagers(),
            managed=managed[-1] if managed else None,
            receiver=one.wanted.receiver,
            silences=sources.alertmanager.silences(),
            others={alert.fingerprint: alert for alert in newest.managed},
            routes=routes_of(sources.alertmanager.status().config, labels, newest.at),
            failed_requests=sum(one.requests_failed for one in sources.alertmanager.deliveries()),
            earlier=tuple(notice for notice in newest.notifications if notice.received_at < began),
        )
    )
    return Stop(stopped.at, stopped.reason)


def _quiet(one: Expected, seen: Seen, sources: Sources, period: Period) -> Quiet:
    fired = any(
        alert.state == "firing"
        for snapshot in period.snapshots
        for alert in snapshot.active(one.wanted.name, one.wanted.labels)
    )
    lacks = list(faults(period.snapshots, one.wanted.name if one.rule else None, one.sources, _patience(one)))
    if not seen.attack:
        lacks.append(f"no attack was made: {seen.lack or 'it was stopped before'}")
    elif (lack := lives.quiet_lack(sources.prometheus, one.rule, one.wanted.name)) is not None:
        lacks.append(lack)
    return judge_quiet(one.wanted.name, fired, "; ".join(lacks) or None)


def _collateral(named: Sequence[Expected], seen: Seen, period: Period) -> list[Collateral]:
    """Every other alert that became active after the attack began."""
    if seen.attack_began is None:
        return []
    known = {one.wanted.name for one in named}
    found: dict[tuple[tuple[str, str], ...], Collateral] = {}
    for snapshot in period.snapshots:
        for alert in snapshot.everything_active():
            if alert.name in known or alert.active_at < seen.attack_began:
                continue
            key = tuple(sorted(alert.labels.items()))
            if key not in found or alert.state == "firing":
                found[key] = Collateral(name=alert.name, labels=dict(alert.labels), state=alert.state)
    return list(found.values())


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
