"""Was the attack noticed: pure judgement of an expected alert, and of one that must stay quiet.

What is judged comes from Prometheus's samples (pending, firing, resolved), Alertmanager (has it) and the receiver
(notified). An alert is judged only if the attack was really denied and the rule's inputs were there all the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from alerts.stopped import Stopped
from drills.engine.result import Alert, AlertVerdict, BoundSeconds, Flag, Quiet, Resolution


@dataclass(frozen=True, slots=True)
class Times:
    """When the alert reached each stage: seconds since the epoch, None where it did not."""

    pending: float | None = None
    firing: float | None = None
    at_alertmanager: float | None = None
    notified: float | None = None
    resolved: float | None = None


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """All that a verdict on one expected alert rests on. Durations are playbook seconds, instants wall clock.

    ``unjudged`` says why the alert cannot be judged (None: it can). ``active_before`` is an alert that was active when
    the attack began. ``expects_notice`` is False where no receiver can be asked; ``handed_over`` then says whether
    Alertmanager had it for the receiver, unmuted (None: nobody was asked). ``gaps`` says that scrapes or evaluations
    were missed (None: none), which makes an alert late that is not to blame; ``stopped_by_gaps``, that they may be why
    it never fired. ``silenced_by``: silences of this run's own, but for which the receiver would have been told;
    ``undelivered``: something else would have kept it from that; ``told``: that somebody was told in spite of them.
    """

    name: str
    within: float
    resolves_within: float | None
    attack_began: float | None
    attack_ended: float | None
    time_lapse: float
    times: Times
    bounds: BoundSeconds | None
    active_before: bool
    unjudged: str | None
    stop: Stopped | None
    expects_notice: bool
    handed_over: bool | None = None
    resolution_unjudged: str | None = None
    gaps: str | None = None
    stopped_by_gaps: bool = False
    flags: tuple[Flag, ...] = field(default_factory=tuple)
    silenced_by: tuple[str, ...] = ()
    undelivered: bool = False
    told: str | None = None


def merged(found: Sequence[AlertFacts]) -> AlertFacts:
    """What the replicas of one Prometheus say together: it fired when the first did, it is resolved when none has it.

    A replica that cannot be judged may have fired, so nothing is missed beside it; and may still have the alert, so
    nothing is resolved beside it. One replica alone is what it is.
    """
    before = any(one.active_before for one in found)
    lacks = [one.unjudged for one in found if one.unjudged is not None]
    fired = [one for one in found if one.unjudged is None and one.times.firing is not None]
    if not fired:
        starved = next((one for one in found if one.stopped_by_gaps), found[0])
        return replace(starved, active_before=before, unjudged="; ".join(dict.fromkeys(lacks)) or None)
    first = min(fired, key=lambda one: one.times.firing or 0.0)
    ends = [one.times.resolved for one in fired]
    open_still = [*lacks, *(one.resolution_unjudged for one in fired if one.resolution_unjudged is not None)]
    return replace(
        first,
        times=replace(first.times, resolved=None if None in ends else max(end for end in ends if end is not None)),
        active_before=before,
        resolution_unjudged="; ".join(dict.fromkeys(open_still)) or None,
    )


def judge_alert(facts: AlertFacts) -> Alert:
    """The verdict on an expected alert, with its whole life."""
    verdict, stop = _verdict(facts)
    return Alert(
        name=facts.name,
        verdict=verdict,
        flags=[*facts.flags, *(["paged"] if facts.told else [])],
        pending_at=_instant(facts.times.pending),
        firing_at=_instant(facts.times.firing),
        at_alertmanager_at=_instant(facts.times.at_alertmanager),
        notified_at=_instant(facts.times.notified),
        resolved_at=None if facts.unjudged or facts.resolution_unjudged else _instant(facts.times.resolved),
        detection_seconds=_detection(facts),
        within_seconds=facts.within,
        bound_seconds=facts.bounds,
        resolves_within_seconds=facts.resolves_within,
        resolution=_resolution(facts, verdict),
        stopped_at=None if stop is None else stop.at,
        silenced_by=list(facts.silenced_by) if verdict in ("detected", "late") else [],
        reason=_reason(facts, verdict, stop),
    )


def _verdict(facts: AlertFacts) -> tuple[AlertVerdict, Stopped | None]:
    if facts.unjudged is not None:
        return "not-judged", None
    if facts.active_before:
        return "premature", None
    if facts.gaps is not None and _is_by_gaps(facts):
        return "not-judged", None
    detection = _detection(facts)
    if detection is None:
        return "missed", facts.stop or Stopped("unknown", "the alert never fired, and no single cause was found")
    if _is_undelivered(facts):
        return "undelivered", facts.stop or Stopped("unknown", "the alert fired, and no notification was seen")
    return ("late" if detection > facts.within else "detected"), None


def _is_undelivered(facts: AlertFacts) -> bool:
    if facts.silenced_by:
        return False
    return facts.undelivered or (facts.expects_notice and facts.times.notified is None) or facts.handed_over is False


def _is_by_gaps(facts: AlertFacts) -> bool:
    """Whether missed scrapes or evaluations alone may be why it came late, or never."""
    detection = _detection(facts)
    return facts.stopped_by_gaps if detection is None else detection > facts.within


def _detection(facts: AlertFacts) -> float | None:
    if facts.times.firing is None or facts.attack_began is None:
        return None
    return round((facts.times.firing - facts.attack_began) * facts.time_lapse, 1)


def _reason(facts: AlertFacts, verdict: AlertVerdict, stop: Stopped | None) -> str:
    if stop is not None:
        return stop.reason
    if verdict == "not-judged":
        return facts.unjudged or facts.gaps or ""
    if verdict == "premature":
        return "the alert was already active when the attack began, so its firing proves nothing"
    if verdict == "late":
        return f"fired {_detection(facts):g} s after the first attempt, later than the {facts.within:g} s allowed"
    doubt = facts.resolution_unjudged if facts.times.firing is not None else None
    return facts.told or ("" if doubt is None else f"whether it resolved cannot be judged: {doubt}")


def _resolution(facts: AlertFacts, verdict: AlertVerdict) -> Resolution:
    if facts.times.firing is None or facts.resolution_unjudged is not None or verdict == "not-judged":
        return "not-judged"
    if facts.times.resolved is None:
        return "not-judged" if facts.resolves_within is None else "not-resolved"
    if facts.resolves_within is None or facts.attack_ended is None:
        return "resolved"
    took = (facts.times.resolved - facts.attack_ended) * facts.time_lapse
    return "resolved" if took <= facts.resolves_within else "too-late"


def judge_quiet(name: str, noise: str | None, unjudged: str | None) -> Quiet:
    """An alert that must not fire: *noisy* with the sentence that says when it did, *quiet* only if it could have."""
    if noise is not None:
        return Quiet(name=name, verdict="noisy", reason=noise)
    if unjudged is not None:
        return Quiet(name=name, verdict="not-judged", reason=unjudged)
    return Quiet(name=name, verdict="quiet")


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, tz=UTC)
