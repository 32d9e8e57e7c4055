"""From what a flood's drill saw to what may be said of it. Pure.

Every attack under the load is judged as it would be by itself, beside the one control. A leak is a leak, whatever the
load was; a load that did not reach its rate, or a control that it took down, leaves nothing proven.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from drills.engine import enforcing
from drills.engine.result import Control, During, Enforcement, EnforcementVerdict, Evidence, FloodLoad
from drills.engine.seen import LoadSeen, Seen, Under
from drills.inject.base import OutcomeKind

WORST: tuple[EnforcementVerdict, ...] = ("breached", "inconclusive", "held")


def during(seen: Seen, load: LoadSeen, beside: Control) -> list[During]:
    """What became of each attack under the load."""
    return [
        During(attack=one.title, enforcement=enforcing.enforcement(one.spec, _own(one, load.under, seen), beside))
        for one in load.under
    ]


def enforcement(seen: Seen, load: LoadSeen, found: Sequence[During]) -> Enforcement:
    """Of all together: the worst of them, and never *held* without the load."""
    each = [one.enforcement for one in found]
    verdict = next((word for word in WORST if any(one.verdict == word for one in each)), "inconclusive")
    reasons = [f"{one.attack}: {one.enforcement.reason}" for one in found if one.enforcement.verdict == verdict]
    if verdict != "breached" and load.shortfall is not None:
        verdict, reasons = "inconclusive", [seen.lack or load.shortfall]
    outcomes: Counter[str] = Counter()
    backends: dict[str, Counter[str]] = {}
    evidence: list[Evidence] = []
    for one in each:
        outcomes.update(one.outcomes)
        evidence += one.evidence
        for name, counts in one.backends.items():
            backends.setdefault(name, Counter()).update(counts)
    return Enforcement(
        verdict=verdict,
        reason="; ".join(reasons),
        remarks=list(dict.fromkeys(text for one in each for text in one.remarks)),
        attempts=sum(one.attempts for one in each),
        planned=sum(one.planned for one in each),
        denied=sum(one.denied for one in each),
        leaked=sum(one.leaked for one in each),
        outcomes=dict(sorted(outcomes.items())),
        backends={name: dict(sorted(counts.items())) for name, counts in sorted(backends.items())},
        evidence=evidence,
    )


def numbers(load: LoadSeen) -> FloodLoad:
    """The flood's own numbers, for the result."""
    last = load.numbers
    return FloodLoad(
        users=load.users,
        workers=load.workers,
        asked_per_second=load.asked,
        reached_per_second=round(load.reached, 1),
        requests=0 if last is None else last.requests,
        failures=0 if last is None else last.failures,
        statuses={} if last is None else dict(last.statuses),
        milliseconds={} if last is None else dict(last.milliseconds),
        reason=load.shortfall or "",
    )


def _own(one: Under, all_of_them: Sequence[Under], whole: Seen) -> Seen:
    """What was seen of one of them, with what all of them share; the counter without what the policy denied the others
    meanwhile.
    """
    seen = replace(
        one.seen,
        control=whole.control,
        lack=one.seen.lack or whole.lack,
        policies=whole.policies,
        policies_after=whole.policies_after,
    )
    after = seen.counter_after
    if after is None:
        return seen
    denied = sum(
        each.outcome.kind is OutcomeKind.DENIED
        for other in all_of_them
        if other is not one and other.seen.counter == seen.counter
        for each in other.seen.attack
    )
    return replace(seen, counter_after=replace(after, value=after.value - denied))
