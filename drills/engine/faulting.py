"""What may be said of a fault in the encryption between nodes. Pure.

Plaintext that was seen is a breach, whatever else is known. *Held* needs a fault that took effect and lasted, captures
that could have seen plaintext and saw none, a path as the playbook expects it, and everything as before afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from drills.engine.result import ControlVerdict
from drills.engine.verdict import Judgement
from drills.inject.base import SHORTEST_FAULT_SECONDS, Attempt, OutcomeKind
from drills.inject.plaintext import Plaintext, PlaintextVerdict
from drills.inject.wireguard import Effect, EffectState, Missing

SESSION_SECONDS: Final = 180.0  # WireGuard's REJECT_AFTER_TIME: no session lives longer without a new handshake
SETTLE_SECONDS: Final = 10.0  # two of WireGuard's tries for a handshake: a path that stays open may pause for so long
MOMENTS: Final = 3  # attempts in a row that show in which state the path is
OPEN: Final = 0.95  # of the attempts of an open path succeed

NOT_LOOKED: Final = "whether anything left in clear was not looked at"

Expectation = Literal["closed", "open"]


@dataclass(frozen=True, slots=True)
class PathAttempt:
    """An attempt across the path. ``at``: seconds since the fault took effect. ``passed`` None: it proves nothing."""

    at: float
    passed: bool | None


@dataclass(frozen=True, slots=True)
class FaultFacts:
    """All that the verdict rests on. ``plaintext`` None: the playbook does not ask. ``lack``: why no fault was made.

    ``attempts`` are those that began and ended while the fault lasted, in order. ``lasted``: in wall seconds.
    """

    control: ControlVerdict
    effect: Effect | None
    expected: Expectation | None
    attempts: Sequence[PathAttempt]
    plaintext: Plaintext | None
    missing: Missing
    lasted: float
    lack: str | None = None


def passed(attempt: Attempt, kind: OutcomeKind) -> bool | None:
    """Whether an attempt crossed the path: any answer from behind it says so, and only silence says that none can."""
    if kind is OutcomeKind.VOID or attempt.phase == "resolve":
        return None
    if attempt.connected or attempt.status is not None or attempt.error in ("refused", "reset"):
        return True
    return False if attempt.error in ("timeout", "unreachable") else None


def judge_fault(facts: FaultFacts) -> Judgement:  # noqa: PLR0911 - a list of rules, in order
    """The verdict on the encryption."""
    plaintext, effect = facts.plaintext, facts.effect
    if plaintext is not None and plaintext.verdict is PlaintextVerdict.SEEN:
        return Judgement(
            "breached", f"{sum(plaintext.packets.values())} packets of pods left in clear: {_why(plaintext)}"
        )
    if facts.lack is not None or effect is None:
        return Judgement("inconclusive", facts.lack or "no fault was made")
    if effect.state is not EffectState.EFFECTIVE:
        return Judgement("inconclusive", f"the fault was not there ({effect.state}): {effect.reason}")
    if facts.lasted < SHORTEST_FAULT_SECONDS:
        return Judgement(
            "inconclusive",
            f"the fault stood for {facts.lasted:.1f} s only; it takes {SHORTEST_FAULT_SECONDS:g} s on the wall",
        )
    if facts.control != "up":
        return Judgement("inconclusive", f"the control was {facts.control} without the fault: nothing follows from it")
    if plaintext is not None and plaintext.verdict is not PlaintextVerdict.NONE:
        return Judgement("inconclusive", f"that nothing left in clear is not proven: {_why(plaintext)}")
    path = judge_path(facts)
    if path is not None and path.verdict != "held":
        return path
    if facts.missing.lacking:
        return Judgement("inconclusive", f"not everything was as before afterwards: {'; '.join(facts.missing.lacking)}")
    if facts.missing.unknown:
        unknown = "; ".join(facts.missing.unknown)
        return Judgement("inconclusive", f"whether everything was as before afterwards is not known: {unknown}")
    clear = "no packet of a pod left in clear" if plaintext is not None else "the fault took effect"
    found = clear if path is None else f"{clear}, and {path.reason}"
    return Judgement("held", found if plaintext is not None else f"{found}; {NOT_LOOKED}")


def judge_path(facts: FaultFacts) -> Judgement | None:
    """Whether the path was as expected while the fault lasted; None where nothing is expected."""
    told = [one for one in facts.attempts if one.passed is not None]
    if facts.expected is None:
        return None
    if len(told) < MOMENTS:
        return Judgement("inconclusive", f"{len(told)} attempts cannot show whether the path was {facts.expected}")
    return _closed(told) if facts.expected == "closed" else _open(told)


def _closed(told: Sequence[PathAttempt]) -> Judgement:
    through = [one for one in told if one.passed]
    since = 0.0 if not through else through[-1].at
    silent = [one for one in told if one.at > since or not through]
    if len(silent) >= MOMENTS and len(silent) >= len(told) / 2:
        return Judgement("held", f"the path was closed ({len(silent)} of {len(told)} attempts went unanswered)")
    text = f"{len(through)} of {len(told)} attempts still crossed the path, the last {since:.0f} s after the fault"
    if since > SESSION_SECONDS:
        return Judgement("breached", f"{text}: no session that the nodes had before lives as long")
    return Judgement("inconclusive", f"{text}: a session from before it may live for {SESSION_SECONDS:g} s")


def _open(told: Sequence[PathAttempt]) -> Judgement:
    settled = [one for one in told if one.at >= SETTLE_SECONDS]
    judged = settled if len(settled) >= MOMENTS else told
    through = sum(one.passed is True for one in judged)
    text = f"{through} of {len(judged)} attempts crossed the path"
    if through >= OPEN * len(judged):
        return Judgement("held", f"the path was open ({text})")
    if through == 0 and judged is settled:
        return Judgement("breached", f"the path was closed: {text} from {SETTLE_SECONDS:g} s after the fault on")
    return Judgement("inconclusive", f"the path was neither open nor closed: {text}")


def _why(plaintext: Plaintext) -> str:
    return "; ".join(plaintext.reasons) or "nobody says why"
