"""What is said of an alert that must not fire: *quiet* only of one that could have fired, and had the time to."""

from __future__ import annotations

from collections.abc import Iterator

from alerts import bounds, life
from alerts.prometheus import LoadedRule, Prometheus
from drills.engine import lives
from drills.engine.detection import judge_quiet
from drills.engine.period import Period, at_replica, failed_scrapes, inputs
from drills.engine.polled import faults
from drills.engine.resolving import late
from drills.engine.result import Enforcement, Quiet
from drills.engine.seen import Expected, Seen
from drills.engine.verdict import ENOUGH
from drills.engine.watch import Sources
from drills.errors import WorldError


def judge_quietness(one: Expected, seen: Seen, enforcement: Enforcement, sources: Sources, period: Period) -> Quiet:
    """The verdict on an alert that must not fire, by all replicas of Prometheus together."""
    if not seen.attacked or seen.attack_began is None:
        lack = f"no attack was made: {seen.lack or 'it was stopped before'}"
        return judge_quiet(one.wanted.name, _before(one, seen), lack)
    found = [
        _by_replica(at_replica(one, number), seen.attack_began, each, period.of_replica(number))
        for number, each in enumerate(sources.each())
    ]
    noise = next((noise for noise, _ in found if noise is not None), None)
    lacks = dict.fromkeys([*cut_short(one, seen, enforcement, period), *(lack for _, some in found for lack in some)])
    return judge_quiet(one.wanted.name, _before(one, seen) or noise, "; ".join(lacks) or None)


def cut_short(one: Expected, seen: Seen, enforcement: Enforcement, period: Period) -> Iterator[str]:
    """Why the alert had no time to fire: the attack, or what was seen of the time after it, was too short."""
    if period.cut is not None:
        yield period.cut
    shortfall = _shortfall(seen, enforcement)
    if shortfall is not None:
        yield shortfall
    if one.watched is None or not period.snapshots:
        return  # that is said as a lack of its own
    needed = bounds.detection(one.watched.rule, one.watched.timing).worst
    watched = period.snapshots[-1].at - seen.attack_ended if seen.attack_ended is not None else 0.0
    if watched < needed:
        after, takes = max(0.0, watched) * period.time_lapse, needed * period.time_lapse
        yield (
            f"it was watched for {after:.0f} s after the attack, and {one.wanted.name} may take {takes:.0f} s to fire"
        )


def _shortfall(seen: Seen, enforcement: Enforcement) -> str | None:
    if seen.fault is not None:
        return seen.fault.shortfall
    if seen.load is not None:
        return seen.load.shortfall
    if enforcement.attempts < ENOUGH * enforcement.planned:
        return f"only {enforcement.attempts} of {enforcement.planned} planned attempts were made"
    return None


def _by_replica(one: Expected, began: float, sources: Sources, period: Period) -> tuple[str | None, list[str]]:
    """When it fired, and why that it did not proves nothing."""
    unread: list[str] = []
    try:
        stands_on = inputs(one, sources.prometheus, period)
        noise = _noise(one, one.rule, began, sources.prometheus, period)
        down = failed_scrapes(sources.prometheus, stands_on, period, sources.prometheus.now())
    except WorldError as error:
        stands_on, noise, down, unread = inputs(one, None, period), None, (), [str(error)]
    failed = [each.instance for each in down]
    lacks = list(faults(period.snapshots, stands_on, failed, period.until)) or unread
    if (broken := lives.rule_error(period.snapshots, one.wanted, one.behind, began)) is not None:
        lacks.append(broken)
    elif (missing := _lack(one, began, sources.prometheus)) is not None:
        lacks.append(missing)
    if one.rule is not None and any(
        late(each, one.wanted, one.rule.interval_ms / 1000) for each in period.snapshots if each.at >= began
    ):
        lacks.append(f"evaluations of {one.wanted.name} were missed during the drill")
    if noise is None and period.snapshots and period.snapshots[-1].active(one.wanted.name, {}):
        lacks.append(f"{one.wanted.name} is pending still, and may fire yet")
    return noise, lacks


def _lack(one: Expected, began: float, prometheus: Prometheus) -> str | None:
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
