"""What the words of a verdict mean, for a reader who never saw the manual."""

from __future__ import annotations

from collections.abc import Iterator

from drills.engine.result import Result

WORDS = {
    "passed": "The policy was shown to hold, every expected alert came in time, and everything was put back.",
    "failed": "Something was shown to be wrong.",
    "inconclusive": "Nothing wrong was shown, but something that had to be shown was not.",
    "aborted": "A guard or a person stopped the drill; what it had changed was undone.",
    "held": "Every forbidden attempt was denied by the policy itself: Cilium's own counters or flows show it, and an "
    "allowed request to the same target succeeded meanwhile.",
    "breached": "At least one forbidden attempt was answered from behind the policy.",
    "up": "The allowed request, made beside the attack, succeeded at its start, in its middle and at its end.",
    "flapping": "The allowed request sometimes failed: a denial beside it may have had another cause.",
    "broken": "The allowed request did not work: a denial beside a dead path proves nothing.",
    "detected": "The alert was quiet before, fired because of the attack, within the time that the playbook allows.",
    "late": "The alert fired after the time that the playbook allows.",
    "missed": "The alert did not fire.",
    "premature": "The alert was active before the attack, and so proves nothing.",
    "undelivered": "The alert fired, but its notification did not reach whom it should.",
    "not-judged": "The conditions for a judgement were not met; the reason stands beside it.",
    "quiet": "An alert that must not fire did not.",
    "noisy": "An alert fired that must not.",
    "resolved": "The alert ended in time after the attack.",
    "too-late": "The alert ended, but later than the playbook allows.",
    "not-resolved": "The alert did not end while the drill watched.",
    "restored": "Everything that the drill changed was put back, and that was verified.",
    "self-healed": "The cluster itself repaired what the drill had changed.",
    "not-restored": "Something that the drill changed is not as it was before.",
    "not-verified": "It was not shown that everything is as it was before.",
}


def used(result: Result) -> list[tuple[str, str]]:
    """The words that a result uses, in the order of the list above."""
    found = set(_verdicts(result))
    return [(word, meaning) for word, meaning in WORDS.items() if word in found]


def _verdicts(result: Result) -> Iterator[str]:
    yield result.verdict
    for drill in result.drills:
        yield from (drill.verdict, drill.enforcement.verdict, drill.control.verdict, drill.recovery.verdict)
        yield from (word for alert in drill.alerts for word in (alert.verdict, alert.resolution))
        yield from (quiet.verdict for quiet in drill.quiet)
