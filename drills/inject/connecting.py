"""What attempts of every kind share up to the connection: how a connection that did not come about is judged."""

from __future__ import annotations

from collections.abc import Sequence

from drills.inject.base import Attempt, Outcome, OutcomeKind, failure_name
from drills.playbook import Denied

CONNECTED = "connected"


def silences(denied: Sequence[Denied]) -> frozenset[str]:
    """The errors of the phase ``connect`` that count as denials; none named and nothing else either: a timeout."""
    return frozenset(one.connect for one in denied if one.connect is not None) if denied else frozenset({"timeout"})


def expects_no_connection(denied: Sequence[Denied]) -> bool:
    """Whether a connection that stands is a leak, whatever follows."""
    return bool(denied) and all(one.connect is not None for one in denied)


def not_connected(attempt: Attempt, denied: Sequence[Denied], *, backends: bool) -> Outcome:
    """Only the phase ``connect`` counts: a name that does not resolve denies nothing.

    A refused connection where silence is expected is the reset of a pod (``backends``), which passed the policy.
    """
    named = silences(denied)
    if attempt.phase == "connect" and attempt.error in named:
        return Outcome(OutcomeKind.DENIED, failure_name(attempt))
    if attempt.phase == "connect" and attempt.error == "refused" and "timeout" in named and backends:
        return Outcome(OutcomeKind.LEAKED, failure_name(attempt))
    return Outcome(OutcomeKind.BROKEN, failure_name(attempt))
