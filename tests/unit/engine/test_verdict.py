"""The rules of judgement, one table for each, in the contract's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drills.engine.result import (
    Alert,
    AlertVerdict,
    Control,
    ControlVerdict,
    Enforcement,
    EnforcementVerdict,
    Quiet,
    QuietVerdict,
    Recovery,
    RecoveryVerdict,
    Resolution,
    Verdict,
)
from drills.engine.verdict import (
    EXIT_STATUS,
    ControlTally,
    Proof,
    Tally,
    judge_control,
    judge_drill,
    judge_enforcement,
    run_verdict,
    worst,
)

HELD = Tally(planned=900, attempts=900, denied=900, leaked=0, possibly_reached=0, unrecognised=0, answered=900)
PROVEN = Proof(counted=900, counter_partial=False, flows=900, flows_partial=False)


def tally(**changes: int) -> Tally:
    return replace(HELD, **changes)


def proof(counted: float | None, flows: int | None, *, partial: str = "") -> Proof:
    """``partial`` names the sources that lost something: ``c``, ``f``, ``cf``."""
    return Proof(counted=counted, counter_partial="c" in partial, flows=flows, flows_partial="f" in partial)


@pytest.mark.parametrize(
    ("case", "control", "evidence", "verdict", "reason"),
    [
        (HELD, "up", PROVEN, "held", "900 of 900 attempts denied"),
        # A leak is a breach, whatever else is true.
        (tally(denied=899, leaked=1), "up", PROVEN, "breached", "1 of 900 attempts got through"),
        (tally(denied=899, leaked=1), "broken", PROVEN, "breached", "1 of 900"),
        (tally(attempts=1, denied=0, leaked=1), "flapping", proof(None, None), "breached", "1 of 1"),
        (tally(denied=0, leaked=100, unrecognised=800), "up", PROVEN, "breached", "100 of 900"),
        # Then the control.
        (HELD, "broken", PROVEN, "inconclusive", "the control was broken"),
        (HELD, "flapping", PROVEN, "inconclusive", "the control was flapping"),
        (tally(attempts=0, denied=0), "broken", PROVEN, "inconclusive", "the control was broken"),
        # Then the number of attempts.
        (tally(attempts=0, denied=0), "up", PROVEN, "inconclusive", "only 0 of 900"),
        (tally(planned=0, attempts=0, denied=0), "up", proof(0, 0), "inconclusive", "only 0 of 0"),
        (tally(attempts=809, denied=809), "up", PROVEN, "inconclusive", "only 809 of 900"),
        (tally(attempts=810, denied=810), "up", PROVEN, "held", "810 of 810"),
        # Then attempts that failed in no recognised way, and those that nobody accounts for.
        (tally(denied=809, unrecognised=91), "up", PROVEN, "inconclusive", "91 of 900 attempts failed in no recog"),
        (tally(denied=810, unrecognised=90), "up", PROVEN, "held", "810 of 900"),
        (tally(denied=809), "up", PROVEN, "inconclusive", "91 of 900 attempts failed in no recognised way"),
        (tally(denied=0), "up", proof(0, 0), "inconclusive", "900 of 900 attempts failed in no recognised way"),
        # A failure after the request was sent needs its proof as well.
        (tally(denied=880, possibly_reached=20), "up", PROVEN, "held", "20 cut off after the request was sent"),
        (tally(denied=880, answered=880, possibly_reached=20), "up", proof(900, None), "inconclusive", "flows alone"),
        (tally(denied=880, possibly_reached=20), "up", proof(880, 880), "inconclusive", "the 900 denials"),
        (tally(denied=0, possibly_reached=900), "up", proof(0, 0), "inconclusive", "the 900 denials"),
        # The proof: counters and flows.
        (HELD, "up", proof(None, None), "inconclusive", "no counter, no flows"),
        (HELD, "up", proof(900, None), "held", ""),
        (HELD, "up", proof(None, 900), "held", ""),
        (HELD, "up", proof(5000, 900), "held", ""),
        (HELD, "up", proof(900, 0, partial="f"), "held", ""),
        (HELD, "up", proof(0, 900, partial="c"), "held", ""),
        # A counter is everybody's: alone it speaks for the attempts only where they carry the policy's own mark, it
        # missed nothing, and hardly any others are in it.
        (HELD, "up", proof(900, None, partial="c"), "inconclusive", "900 by counter"),
        (HELD, "up", proof(900, 0, partial="cf"), "inconclusive", "900 by counter"),
        (HELD, "up", proof(900, 900, partial="c"), "held", ""),
        (HELD, "up", proof(990, None), "held", ""),
        (HELD, "up", proof(991, None), "inconclusive", "991 by counter"),
        (HELD, "up", proof(5000, 0, partial="f"), "inconclusive", "5000 by counter"),
        (HELD, "up", proof(899, None), "inconclusive", "899 by counter"),
        (HELD, "up", proof(None, 899), "inconclusive", "899 by flow"),
        (HELD, "up", proof(0, 0, partial="cf"), "inconclusive", "neither counters nor flows"),
        (HELD, "up", proof(None, 0, partial="f"), "inconclusive", ""),
        (HELD, "up", proof(0, None, partial="c"), "inconclusive", ""),
        # Somebody behind the policy answers like it: complete sources show too few.
        (HELD, "up", proof(0, 0), "breached", "something behind the policy answered the rest"),
        (HELD, "up", proof(0, None), "breached", ""),
        # Silence has no maker: a black hole on the path, beside as many drops of somebody else's, looks the same.
        (tally(answered=0), "up", proof(0, 0), "inconclusive", "neither counters nor flows"),
        (tally(answered=0), "up", proof(900, None), "inconclusive", "silence is proven by flows alone"),
        (tally(answered=0), "up", proof(900, 0, partial="f"), "inconclusive", "silence is proven by flows alone"),
        (tally(answered=0), "up", proof(900, 0, partial="cf"), "inconclusive", "silence is proven by flows alone"),
        (tally(answered=899), "up", proof(900, 899, partial="f"), "inconclusive", "silence is proven by flows alone"),
        (tally(answered=0), "up", proof(900, 900), "held", ""),
        (tally(answered=0), "up", proof(2700, 900), "held", ""),
        (tally(answered=0), "up", proof(None, 900), "held", ""),
        (HELD, "up", proof(None, 0), "breached", ""),
        (HELD, "up", proof(450, 450), "breached", "450 by counter, 450 by flow"),
        (HELD, "up", proof(900, 450), "breached", "others' denials cannot stand in for missing flows"),
        # Sources that contradict one another prove nothing.
        (HELD, "up", proof(0, 900), "inconclusive", "0 by counter, 900 by flow"),
        (HELD, "up", proof(450, 900), "inconclusive", "the same drop counted twice"),
        (HELD, "up", proof(900, 850), "inconclusive", ""),
    ],
)
def test_enforcement(
    case: Tally, control: ControlVerdict, evidence: Proof, verdict: EnforcementVerdict, reason: str
) -> None:
    judged = judge_enforcement(case, control, evidence)
    assert judged.verdict == verdict, reason
    explained_only_here = reason in {"others' denials cannot stand in for missing flows", "the same drop counted twice"}
    assert explained_only_here or reason in judged.reason


COUNTS = st.integers(0, 60)
TALLIES = st.builds(
    Tally,
    planned=COUNTS,
    attempts=COUNTS,
    denied=COUNTS,
    leaked=st.one_of(st.just(0), COUNTS),
    possibly_reached=COUNTS,
    unrecognised=COUNTS,
    answered=COUNTS,
)
PROOFS = st.builds(
    Proof,
    counted=st.none() | st.floats(-10, 130) | st.just(float("nan")),
    counter_partial=st.booleans(),
    flows=st.none() | st.integers(0, 130),
    flows_partial=st.booleans(),
)
CONTROLS = st.sampled_from(get_args(ControlVerdict))


@given(TALLIES, CONTROLS, PROOFS)
@example(HELD, "up", PROVEN)
def test_held_is_never_said_without_its_grounds(case: Tally, control: ControlVerdict, evidence: Proof) -> None:
    if judge_enforcement(case, control, evidence).verdict != "held":
        return
    assert case.leaked == 0
    assert control == "up"
    assert case.attempts > 0
    assert case.attempts >= 0.9 * case.planned
    assert case.denied + case.possibly_reached >= 0.9 * case.attempts
    denials = case.denied + case.possibly_reached
    by_flow = evidence.flows is not None and evidence.flows >= denials
    counted = -1.0 if evidence.counted is None or evidence.counter_partial else evidence.counted
    assert by_flow or (case.answered == denials and denials <= counted <= 1.1 * denials)
    assert by_flow or evidence.flows is None or evidence.flows_partial
    assert evidence.counted is None or evidence.counter_partial or evidence.counted >= denials


@given(TALLIES, CONTROLS, PROOFS)
def test_a_leak_is_always_a_breach_and_every_judgement_has_its_reason(
    case: Tally, control: ControlVerdict, evidence: Proof
) -> None:
    judged = judge_enforcement(case, control, evidence)
    assert judged.reason
    if case.leaked:
        assert judged.verdict == "breached"


@given(TALLIES, CONTROLS, PROOFS)
def test_losing_events_never_turns_a_doubt_into_a_breach(case: Tally, control: ControlVerdict, evidence: Proof) -> None:
    partial = replace(evidence, counter_partial=True, flows_partial=True)
    if judge_enforcement(case, control, partial).verdict == "breached":
        assert case.leaked


@pytest.mark.parametrize(
    ("case", "evidence", "verdict"),
    [
        (HELD, PROVEN, "inconclusive"),
        (tally(leaked=1, denied=899), PROVEN, "breached"),
        (HELD, proof(0, 0), "breached"),
    ],
)
def test_a_doubt_prevents_held_and_hides_no_breach(case: Tally, evidence: Proof, verdict: EnforcementVerdict) -> None:
    assert judge_enforcement(case, "up", evidence, "the policy changed").verdict == verdict


def made(pattern: str) -> list[bool]:
    """``+`` succeeded, ``-`` failed; a number repeats what follows: ``171+ 9-``."""
    return [sign == "+" for part in pattern.split() for sign in part.lstrip("0123456789") * int(part[:-1] or 1)]


@pytest.mark.parametrize(
    ("pattern", "planned", "verdict"),
    [
        ("", 180, "broken"),
        ("", 0, "broken"),
        ("180+", 180, "up"),
        ("180-", 180, "broken"),
        ("89+ 91-", 180, "broken"),
        ("90+ 90-", 180, "flapping"),
        ("60- 120+", 180, "flapping"),
        ("60+ 60- 60+", 180, "flapping"),
        ("120+ 60-", 180, "flapping"),
        ("170+ 10-", 180, "flapping"),
        # Within the five per cent that may fail, but dead at the start, in the middle or at the end.
        ("9- 171+", 180, "flapping"),
        ("85+ 9- 86+", 180, "flapping"),
        ("171+ 9-", 180, "flapping"),
        # Single failures are nobody's fault.
        ("1- 179+", 180, "up"),
        ("179+ 1-", 180, "up"),
        ("19+ 1-", 20, "up"),
        ("50+ 3- 50+ 3- 74+", 180, "up"),
        # A control that stopped early was not interleaved.
        ("162+", 180, "up"),
        ("161+", 180, "flapping"),
        ("1+", 180, "flapping"),
        ("90+", 0, "up"),
        # Fewer than three attempts cannot show start, middle and end.
        ("1+", 1, "flapping"),
        ("2+", 2, "flapping"),
        ("3+", 3, "up"),
        ("2+ 1-", 3, "flapping"),
        ("1+ 1- 1+", 3, "flapping"),
    ],
)
def test_control(pattern: str, planned: int, verdict: ControlVerdict) -> None:
    judged, reason = judge_control(ControlTally(made(pattern), planned))
    assert (judged, bool(reason)) == (verdict, True)


@given(st.lists(st.booleans(), max_size=200), st.integers(0, 200))
def test_up_means_alive_throughout(succeeded: Sequence[bool], planned: int) -> None:
    verdict, _ = judge_control(ControlTally(succeeded, planned))
    if verdict != "up":
        return
    size = max(1, len(succeeded) // 3)
    thirds = (succeeded[:size], succeeded[size:-size], succeeded[-size:])
    assert all(any(third) for third in thirds)
    assert sum(succeeded) >= 0.95 * len(succeeded)
    assert len(succeeded) >= max(3, 0.9 * planned)


def enforcement(verdict: EnforcementVerdict = "held") -> Enforcement:
    return Enforcement(verdict=verdict, reason="E", attempts=9, planned=9, denied=9, leaked=0, outcomes={})


def control(verdict: ControlVerdict = "up") -> Control:
    return Control(verdict=verdict, reason="C", attempts=9, succeeded=9)


def alert(
    verdict: AlertVerdict = "detected", resolution: Resolution = "not-judged", resolves: float | None = None
) -> Alert:
    return Alert(
        name="A",
        verdict=verdict,
        reason="R",
        within_seconds=9,
        resolution=resolution,
        resolves_within_seconds=resolves,
    )


def quiet(verdict: QuietVerdict = "quiet") -> Quiet:
    return Quiet(name="Q", verdict=verdict, reason="N")


def recovery(verdict: RecoveryVerdict = "restored") -> Recovery:
    return Recovery(verdict=verdict, seconds=1, reason="X")


def judged(  # each part alone is what a test changes
    e: Enforcement | None = None,
    c: Control | None = None,
    a: Alert | None = None,
    q: Quiet | None = None,
    r: Recovery | None = None,
    aborted: str | None = None,
) -> tuple[Verdict, list[str]]:
    parts = (e or enforcement(), c or control(), [a or alert()], [q or quiet()], r or recovery(), aborted)
    return judge_drill(*parts)


def test_a_drill_passes_when_nothing_speaks_against_it() -> None:
    assert judged() == ("passed", [])
    assert judge_drill(enforcement(), control(), [], [], recovery(), None) == ("passed", [])


EXPECTED: dict[str, dict[str, Verdict]] = {
    "enforcement": {"held": "passed", "breached": "failed", "inconclusive": "inconclusive"},
    "control": {"up": "passed", "broken": "inconclusive", "flapping": "inconclusive"},
    "alert": {
        "detected": "passed",
        "late": "failed",
        "missed": "failed",
        "premature": "failed",
        "undelivered": "failed",
        "not-judged": "inconclusive",
    },
    "resolution": {"resolved": "passed", "too-late": "failed", "not-resolved": "failed", "not-judged": "passed"},
    "quiet": {"quiet": "passed", "noisy": "failed", "not-judged": "inconclusive"},
    "recovery": {
        "restored": "passed",
        "self-healed": "passed",
        "not-restored": "failed",
        "not-verified": "inconclusive",
    },
}


def test_every_word_of_the_contract_is_judged() -> None:
    words = (EnforcementVerdict, ControlVerdict, AlertVerdict, Resolution, QuietVerdict, RecoveryVerdict)
    assert [set(expected) for expected in EXPECTED.values()] == [set(get_args(literal)) for literal in words]


@pytest.mark.parametrize(
    ("part", "word", "verdict"),
    [(part, word, verdict) for part in EXPECTED for word, verdict in EXPECTED[part].items()],
)
def test_each_part_alone_decides_a_drill(part: str, word: str, verdict: Verdict) -> None:
    one = {
        "enforcement": lambda: judged(e=enforcement(word)),  # type: ignore[arg-type]
        "control": lambda: judged(c=control(word)),  # type: ignore[arg-type]
        "alert": lambda: judged(a=alert(word)),  # type: ignore[arg-type]
        "resolution": lambda: judged(a=alert(resolution=word)),  # type: ignore[arg-type]
        "quiet": lambda: judged(q=quiet(word)),  # type: ignore[arg-type]
        "recovery": lambda: judged(r=recovery(word)),  # type: ignore[arg-type]
    }[part]()
    assert one[0] == verdict
    assert bool(one[1]) == (verdict != "passed")


def test_a_resolution_that_was_asked_for_and_not_judged_is_a_doubt() -> None:
    assert judged(a=alert(resolves=60)) == ("inconclusive", ["A resolution not judged"])
    assert judged(a=alert(resolution="resolved", resolves=60)) == ("passed", [])


def test_a_failure_wins_over_an_abort_and_that_over_a_doubt() -> None:
    assert judged(e=enforcement("breached"), aborted="SIGINT", c=control("broken"))[0] == "failed"
    assert judged(e=enforcement("inconclusive"), aborted="SIGINT") == ("aborted", ["SIGINT"])
    assert judged(aborted="SIGINT") == ("aborted", ["SIGINT"])
    assert judged(r=recovery("not-restored"), aborted="SIGINT")[0] == "failed"


def test_every_failure_is_named() -> None:
    verdict, reasons = judged(
        e=enforcement("breached"), a=alert("missed", "too-late"), q=quiet("noisy"), r=recovery("not-restored")
    )
    assert verdict == "failed"
    assert reasons == ["enforcement breached: E", "A missed: R", "A too-late", "Q noisy: N", "not restored: X"]


def test_worst_orders_the_verdicts() -> None:
    best_last: tuple[Verdict, ...] = ("failed", "aborted", "inconclusive", "passed")
    for at, verdict in enumerate(best_last):
        for some in permutations(best_last[at:]):
            assert worst(some) == verdict
    assert worst([]) == "inconclusive"
    assert worst(["passed"]) == "passed"


def test_exit_status_is_the_contract() -> None:
    assert EXIT_STATUS == {"passed": 0, "failed": 1, "inconclusive": 3, "aborted": 4}
    assert set(EXIT_STATUS) == set(get_args(Verdict))


def test_a_run_that_was_cut_short_never_passed() -> None:
    assert run_verdict([], cut_short=True) == "aborted"
    assert worst(["passed", "aborted"]) == "aborted"
    assert worst(["failed", "aborted"]) == "failed"
