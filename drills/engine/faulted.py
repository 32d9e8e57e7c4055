"""From what a fault's drill saw to the results that `faulting` decides. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from drills.engine.faulting import FaultFacts, PathAttempt, judge_fault, passed
from drills.engine.result import CaptureEvidence, Control, Enforcement, Recovery, RecoveryVerdict
from drills.engine.seen import FaultSeen, Seen
from drills.engine.undone import of_error, worst
from drills.errors import DrillsError
from drills.inject.plaintext import Plaintext
from drills.playbook import Drill as Spec

NOT_ASKED = "the playbook does not expect `plaintext: none`, so no captures were made"


def enforcement(spec: Spec, seen: Seen, fault: FaultSeen, beside: Control) -> Enforcement:
    """Whether the encryption held. ``attempts`` are those across the path while the fault stood."""
    began = fault.effective_at or 0.0
    lasted = 0.0 if fault.effective_at is None or fault.undo_began is None else fault.undo_began - fault.effective_at
    attempts = [PathAttempt(one.attempt.at - began, passed(one.attempt, one.outcome.kind)) for one in fault.during]
    facts = FaultFacts(
        control=beside.verdict,
        effect=fault.effect,
        expected=spec.expect.path,
        attempts=attempts,
        plaintext=fault.plaintext,
        missing=fault.missing,
        lasted=lasted,
        lack=seen.lack,
    )
    found = judge_fault(facts)
    closed = spec.expect.path == "closed"
    return Enforcement(
        verdict=found.verdict,
        reason=found.reason,
        attempts=len(attempts),
        planned=len(attempts),
        denied=sum(one.passed is False for one in attempts),
        leaked=sum(one.passed is True for one in attempts) if closed and found.verdict == "breached" else 0,
        outcomes=dict(sorted(Counter(one.outcome.name for one in fault.during).items())),
        evidence=list(_evidence(spec, fault.plaintext)),
    )


def _evidence(spec: Spec, found: Plaintext | None) -> Iterator[CaptureEvidence]:
    if not spec.captures:
        yield CaptureEvidence(plaintext="not-judged", reasons=[NOT_ASKED])
    elif found is not None:
        yield CaptureEvidence(plaintext=found.verdict.value, packets=dict(found.packets), reasons=list(found.reasons))


def recovery(pods: Recovery, fault: FaultSeen, problems: Sequence[DrillsError]) -> Recovery:
    """Of everything together: the drill pods, the captures' pods (``problems`` with them), and what the fault had
    changed, with what became of each change: an object that was made again has another uid. What nobody could find out
    is not verified, and not said to be wrong.
    """
    verdicts: list[RecoveryVerdict] = [
        pods.verdict,
        *(one.verdict for one in fault.undone),
        *(of_error(one) for one in problems),
        *(("not-restored",) if fault.missing.lacking else ()),
        *(("not-verified",) if fault.missing.unknown else ()),
    ]
    reasons = [pods.reason, *map(str, problems), *(f"{one.what}: {one.text}" for one in fault.undone)]
    reasons += (*fault.missing.lacking, *fault.missing.unknown)
    verdict = worst(verdicts)
    seconds = round((pods.seconds or 0.0) + fault.repair_seconds, 1)
    return Recovery(verdict=verdict, seconds=seconds, reason="; ".join(one for one in reasons if one))
