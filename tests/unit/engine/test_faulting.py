"""What may be said of a fault in the encryption, rule by rule; and of its repair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drills.engine.faulted import recovery
from drills.engine.faulting import FaultFacts, PathAttempt, judge_fault, passed
from drills.engine.result import Recovery
from drills.engine.seen import FaultSeen
from drills.engine.undone import Undone
from drills.errors import DrillsError, WorldError
from drills.inject.base import Attempt, OutcomeKind
from drills.inject.plaintext import Plaintext, PlaintextVerdict
from drills.inject.wireguard import Effect, EffectState, Missing
from drills.kube import KubeError


def attempts(*spans: tuple[float, float, bool | None]) -> list[PathAttempt]:
    """Two a second in each span: from, until, whether they passed."""
    return [PathAttempt(a + i / 2, ok) for a, until, ok in spans for i in range(int(2 * (until - a)))]


CLOSED, OPEN = attempts((0, 20, False)), attempts((0, 20, True))
NONE = Plaintext(PlaintextVerdict.NONE)
SEEN = Plaintext(PlaintextVerdict.SEEN, {"a": 3, "b": 1}, ("a: TCP in clear",))
GOOD = FaultFacts(
    control="up",
    effect=Effect(EffectState.EFFECTIVE),
    expected="closed",
    attempts=CLOSED,
    plaintext=NONE,
    missing=Missing(),
    lasted=20.0,
)


@pytest.mark.parametrize(
    ("change", "verdict", "said"),
    [
        ({}, "held", "no packet of a pod left in clear, and the path was closed"),
        ({"plaintext": SEEN}, "breached", "4 packets"),
        ({"plaintext": SEEN, "control": "broken", "lack": "stopped"}, "breached", "TCP in clear"),
        ({"plaintext": Plaintext(PlaintextVerdict.NOT_PROVEN, {}, ("a: blind",))}, "inconclusive", "a: blind"),
        ({"plaintext": None}, "held", "left in clear was not looked at"),
        ({"plaintext": NONE, "expected": None}, "held", "no packet"),
        ({"lack": "the path was not open before the fault"}, "inconclusive", "not open before"),
        ({"effect": None}, "inconclusive", "no fault was made"),
        ({"effect": Effect(EffectState.PENDING, "not on b")}, "inconclusive", "not on b"),
        ({"effect": Effect(EffectState.HEALED, "its own key again")}, "inconclusive", "healed"),
        ({"lasted": 14.9}, "inconclusive", "14.9 s only"),
        ({"control": "broken"}, "inconclusive", "control was broken"),
        ({"control": "flapping"}, "inconclusive", "control was flapping"),
        ({"attempts": CLOSED[:2]}, "inconclusive", "2 attempts cannot show"),
        ({"attempts": attempts((0, 20, None))}, "inconclusive", "0 attempts cannot show"),
        ({"attempts": OPEN}, "inconclusive", "may live for 180 s"),
        ({"attempts": attempts((0, 4, True), (4, 20, False))}, "held", "the path was closed (32 of 40"),
        ({"attempts": attempts((0, 15, True), (15, 20, False))}, "inconclusive", "still crossed"),
        ({"attempts": attempts((0, 19, False), (19, 20, True))}, "inconclusive", "still crossed"),
        ({"attempts": attempts((0, 300, True)), "lasted": 300.0}, "breached", "lives as long"),
        ({"attempts": attempts((0, 170, True), (170, 180, False))}, "inconclusive", "may live"),
        ({"expected": "open", "attempts": OPEN}, "held", "the path was open"),
        ({"expected": "open", "attempts": attempts((0, 8, False), (8, 20, True))}, "held", "the path was open"),
        ({"expected": "open", "attempts": CLOSED}, "breached", "the path was closed"),
        ({"expected": "open", "attempts": attempts((0, 15, True), (15, 20, False))}, "inconclusive", "neither"),
        ({"expected": "open", "attempts": attempts((0, 5, False))}, "inconclusive", "neither"),
        ({"missing": Missing(("a has no device",))}, "inconclusive", "not everything was as before afterwards: a has"),
        ({"missing": Missing((), ("a is silent",))}, "inconclusive", "as before afterwards is not known: a is silent"),
    ],
)
def test_verdict(change: dict[str, Any], verdict: str, said: str) -> None:
    found = judge_fault(replace(GOOD, **change))
    assert found.verdict == verdict, found.reason
    assert said in found.reason


@pytest.mark.parametrize(
    ("kind", "phase", "error", "crossed"),
    [
        (OutcomeKind.SUCCEEDED, "done", None, True),
        (OutcomeKind.BROKEN, "connect", "timeout", False),
        (OutcomeKind.BROKEN, "connect", "unreachable", False),
        (OutcomeKind.BROKEN, "connect", "refused", True),
        (OutcomeKind.BROKEN, "connect", "reset", True),
        (OutcomeKind.BROKEN, "receive", "timeout", True),
        (OutcomeKind.BROKEN, "resolve", "timeout", None),
        (OutcomeKind.BROKEN, "connect", "no-ports", None),
        (OutcomeKind.VOID, "connect", "timeout", None),
    ],
)
def test_only_silence_shows_that_nothing_crosses(
    kind: OutcomeKind, phase: str, error: str | None, crossed: bool | None
) -> None:
    attempt = Attempt(0, 0.0, 0.0, "10.0.0.1", 80, None, None, phase, error)
    assert passed(attempt, kind) is crossed


HANDSHAKE = Missing(("no handshake since the undo",))


def undone(verdict: Any) -> Undone:
    return Undone("a change", verdict, f"it is {verdict}", finished=True)


@pytest.mark.parametrize(
    ("pods", "changes", "missing", "problems", "verdict"),
    [
        ("restored", ["restored"], Missing(), [], "restored"),
        ("restored", ["self-healed"], Missing(), [], "self-healed"),
        ("self-healed", ["restored"], Missing(), [], "self-healed"),
        ("restored", ["not-restored"], Missing(), [], "not-restored"),
        ("restored", ["restored"], HANDSHAKE, [], "not-restored"),
        ("restored", ["restored"], HANDSHAKE.unawaited(), [], "not-verified"),
        ("restored", ["restored"], Missing((), ("the API does not answer",)), [], "not-verified"),
        ("restored", ["restored"], Missing(("a",), ("b",)), [], "not-restored"),
        ("restored", ["not-restored"], Missing((), ("b",)), [], "not-restored"),
        ("restored", ["restored"], Missing(), [WorldError("a capture's pod is still there")], "not-restored"),
        ("restored", ["restored"], Missing(), [KubeError("the API does not answer")], "not-verified"),
        ("restored", ["restored"], Missing(), [KubeError("forbidden", 403), KubeError("no answer")], "not-restored"),
        ("not-restored", ["self-healed"], Missing(), [], "not-restored"),
        ("restored", ["not-verified", "self-healed"], Missing(), [], "not-verified"),
    ],
)
def test_recovery_is_as_good_as_its_worst_part(
    pods: Any, changes: list[str], missing: Missing, problems: list[DrillsError], verdict: str
) -> None:
    fault = FaultSeen(undone=[undone(one) for one in changes], missing=missing, repair_seconds=30.0)
    found = recovery(Recovery(verdict=pods, seconds=1.5), fault, problems)
    assert (found.verdict, found.seconds) == (verdict, 31.5)
    told = (*missing.lacking, *missing.unknown, *map(str, problems), *(f"a change: it is {one}" for one in changes))
    assert all(text in found.reason for text in told)
