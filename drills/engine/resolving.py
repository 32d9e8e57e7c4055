"""Whether an alert that lost its samples has ended: Prometheus writes none either while it cannot evaluate the rule,
and keeps the alert firing (rules/manager.go, 2.42). An end counts only where a poll showed it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alerts.life import GAP
from alerts.prometheus import LoadedRecord, LoadedRule
from drills.engine.lives import Wanted, rule_error
from drills.engine.watch import Snapshot


def unended(
    snapshots: Sequence[Snapshot],
    rule: LoadedRule,
    behind: Sequence[LoadedRecord],
    wanted: Wanted,
    *,
    fired: float,
    resolved: float | None,
) -> str | None:
    """Why it cannot be said when an alert ended that fired at ``fired``; None where it can.

    ``resolved`` is the first evaluation without a sample, None while there are samples. From the firing until a poll
    shows the alert gone, the rule and all behind it must have been evaluated without an error, and at its end in time.
    """
    shown = _first_without(snapshots, rule, wanted, resolved)
    until = shown.at if shown is not None else None
    polls = [one for one in snapshots if one.at >= fired and (until is None or one.at <= until)]
    if (broken := rule_error(polls, wanted, behind, fired)) is not None:
        return broken
    if resolved is None:
        return None
    interval = rule.interval_ms / 1000
    if any(late(one, wanted, interval) for one in polls if one.at > resolved):
        return f"{wanted.name} was not evaluated in time when its samples ended"
    return None if shown is not None else f"no poll showed {wanted.name} evaluated and inactive after its last sample"


def late(snapshot: Snapshot, wanted: Wanted, interval: float) -> bool:
    """Whether a poll found the rule's last evaluation too long ago; ``interval`` is that of its evaluation."""
    return any(
        one.last_evaluation is not None and snapshot.at - one.last_evaluation > GAP * interval
        for one in _fitting(snapshot, wanted)
    )


def _first_without(
    snapshots: Sequence[Snapshot], rule: LoadedRule, wanted: Wanted, resolved: float | None
) -> Snapshot | None:
    """The first poll that shows the rule evaluated without the alert; half an interval is room for a late evaluation's
    sample, which bears the time at which it was due.
    """
    if resolved is None:
        return None
    since = resolved - rule.interval_ms / 2000
    return next(
        (
            one
            for one in snapshots
            if not one.active(wanted.name, wanted.labels)
            and (rules := list(_fitting(one, wanted)))
            and all(each.health == "ok" and (each.last_evaluation or 0.0) >= since for each in rules)
        ),
        None,
    )


def _fitting(snapshot: Snapshot, wanted: Wanted) -> Iterator[LoadedRule]:
    return (one for one in snapshot.rules_named(wanted.name) if one.may_carry(wanted.labels))
