"""Verdicts: pure functions from what was seen to what may be said of it.

The order is the contract's (README, "How a drill is judged"): a leak makes enforcement *breached* whatever the control
did; then everything that keeps us from knowing makes it *inconclusive*; only what is left, and is proven by its
maker, is *held*. Nothing here reads a clock or a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drills.engine.result import (
    Alert,
    Control,
    ControlVerdict,
    Drill,
    Enforcement,
    EnforcementVerdict,
    Quiet,
    Recovery,
    Verdict,
)

ENOUGH = 0.9  # of the planned attempts must have been made
OTHERS = 1.1  # of the denials: what a counter may hold of others' and still speak for the attempts
UNRECOGNISED = 0.1  # of the attempts may have failed in no recognised way
CONTROL_UP = 0.95  # of the control's attempts succeed
CONTROL_DEAD = 0.5
CONTROL_MOMENTS = 3  # start, middle and end: fewer attempts cannot show them


@dataclass(frozen=True, slots=True)
class Tally:
    """The attempts of an injection, counted by what they prove."""

    planned: int
    attempts: int
    denied: int
    leaked: int
    possibly_reached: int
    unrecognised: int
    answered: int = 0  # of the denied: with the mark of the policy's proxies, not by silence

    @property
    def unexplained(self) -> int:
        """Attempts that prove nothing: unrecognised ones, and any that no other count accounts for."""
        accounted = self.denied + self.leaked + self.possibly_reached
        return max(self.unrecognised, self.attempts - accounted)

    @property
    def denials(self) -> int:
        """What must be proven: the denied, and those that were cut off after the request was sent."""
        return self.denied + self.possibly_reached

    @property
    def marked(self) -> bool:
        """Whether every denial carries the mark of its maker, so that only how many there were is to be proven."""
        return self.answered == self.denials


@dataclass(frozen=True, slots=True)
class Proof:
    """What counters and flows say of the denials, beside what the client saw.

    ``counted`` and ``flows`` are the denials that each shows (None: could not be read). ``partial`` says that the
    source lost events or was restarted, so that a number that is too low proves nothing.
    """

    counted: float | None
    counter_partial: bool
    flows: int | None
    flows_partial: bool

    def shows(self, tally: Tally) -> bool:
        """At least one source shows every denial, and none that missed nothing shows fewer.

        A counter is everybody's: it tells how many denials there were, never whose. Alone it is enough only where each
        attempt was answered with the policy's own mark, it missed nothing, and hardly any others' are in it. Silence
        has no mark: a path that broke beside somebody else's drops looks the same, and only flows tell them apart.
        """
        denials = tally.denials
        complete = self.counted is not None and not self.counter_partial
        by_counter = tally.marked and complete and denials <= (self.counted or 0.0) <= OTHERS * denials
        by_flow = self.flows is not None and self.flows >= denials
        counter_agrees = self.counted is None or self.counter_partial or self.counted >= denials
        flows_agree = by_flow or self.flows is None or self.flows_partial
        return (by_counter and flows_agree) or (by_flow and counter_agrees)

    def refutes(self, denials: int) -> bool:
        """A source that missed nothing shows far fewer denials than the client saw, and no other source shows them
        by pod pair: somebody else denied the rest. Flows that show every denial beside a counter that does not are a
        contradiction, which proves neither.
        """
        enough = ENOUGH * denials
        by_counter = self.counted is not None and not self.counter_partial and self.counted < enough
        by_flow = self.flows is not None and not self.flows_partial and self.flows < enough
        return by_flow or (by_counter and not (self.flows is not None and self.flows >= denials))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with the sentence that explains it."""

    verdict: EnforcementVerdict
    reason: str


def judge_enforcement(  # noqa: PLR0911 - a list of rules, in the contract's order
    tally: Tally, control: ControlVerdict, proof: Proof, doubt: str | None = None
) -> Judgement:
    """Held only where every attempt was denied by the policy, beside a control that was up.

    ``doubt``: why denials prove nothing even so, such as a policy that changed meanwhile.
    """
    if tally.leaked:
        return Judgement("breached", f"{tally.leaked} of {tally.attempts} attempts got through")
    if control != "up":
        return Judgement("inconclusive", f"the control was {control}: a denial beside a dead path proves nothing")
    if tally.attempts == 0 or tally.attempts < ENOUGH * tally.planned:
        return Judgement("inconclusive", f"only {tally.attempts} of {tally.planned} planned attempts were made")
    if tally.unexplained > UNRECOGNISED * tally.attempts:
        return Judgement(
            "inconclusive", f"{tally.unexplained} of {tally.attempts} attempts failed in no recognised way"
        )
    if proof.refutes(tally.denied) and tally.answered > 0:
        return Judgement(
            "breached",
            f"the client saw {tally.denied} denials, but the policy made only {_shown(proof)}: "
            "something behind the policy answered the rest",
        )
    if doubt is not None:
        return Judgement("inconclusive", doubt)
    if not proof.shows(tally):
        return Judgement("inconclusive", _unproven(tally, proof))
    return Judgement("held", f"{_denied(tally)}, and the policy counted them")


def _unproven(tally: Tally, proof: Proof) -> str:
    text = f"neither counters nor flows prove the {tally.denials} denials ({_shown(proof)})"
    if not tally.marked and proof.counted is not None and proof.counted >= tally.denials:
        text += ": a counter does not tell whose drops it counts, and silence is proven by flows alone"
    return text


def _denied(tally: Tally) -> str:
    parts = [f"{tally.denied} of {tally.attempts} attempts denied"]
    if tally.possibly_reached:
        parts.append(f"{tally.possibly_reached} cut off after the request was sent")
    return ", ".join(parts)


def _shown(proof: Proof) -> str:
    counted = "no counter" if proof.counted is None else f"{proof.counted:g} by counter"
    flows = "no flows" if proof.flows is None else f"{proof.flows} by flow"
    return f"{counted}, {flows}"


@dataclass(frozen=True, slots=True)
class ControlTally:
    """The control's attempts in the order in which they were made, and how many were to be made (0: not known)."""

    succeeded: Sequence[bool]
    planned: int = 0


def judge_control(tally: ControlTally) -> tuple[ControlVerdict, str]:
    """Up at the start, in the middle and at the end; broken when mostly dead; flapping in between."""
    made = len(tally.succeeded)
    good = sum(tally.succeeded)
    if made == 0:
        return "broken", "no control attempt was made"
    if good < CONTROL_DEAD * made:
        return "broken", f"only {good} of {made} control attempts succeeded"
    if made < ENOUGH * tally.planned:
        return "flapping", f"only {made} of {tally.planned} planned control attempts were made"
    if made < CONTROL_MOMENTS:
        return "flapping", f"{made} control attempts cannot show that the path was up at the start, middle and end"
    if good < CONTROL_UP * made or not all(any(part) for part in _moments(tally.succeeded)):
        return "flapping", f"{good} of {made} control attempts succeeded, not at the start, middle and end alike"
    return "up", f"{good} of {made} control attempts succeeded"


def _moments(values: Sequence[bool]) -> Iterable[Sequence[bool]]:
    """A twentieth at the start, in the middle and at the end: a path that died within CONTROL_UP is seen here only."""
    size = max(2, len(values) // 20)
    return (values[:size], values[(len(values) - size) // 2 :][:size], values[-size:])


FAILED_ALERTS = {"missed", "late", "premature", "undelivered"}
FAILED_RESOLUTIONS = {"too-late", "not-resolved"}
PROBLEM_FIRST: tuple[Verdict, ...] = ("failed", "aborted", "inconclusive", "passed")
EXIT_STATUS: dict[Verdict, int] = {"passed": 0, "failed": 1, "inconclusive": 3, "aborted": 4}


def judge_drill(
    enforcement: Enforcement,
    control: Control,
    alerts: Sequence[Alert],
    quiet: Sequence[Quiet],
    recovery: Recovery,
    aborted: str | None,
) -> tuple[Verdict, list[str]]:
    """The drill's verdict and every reason why it is not *passed*: a judged failure wins over an abort, that over
    what could not be judged.
    """
    failures = [*_failures(enforcement, alerts, quiet, recovery)]
    if failures:
        return "failed", failures
    if aborted is not None:
        return "aborted", [aborted]
    doubts = [*_doubts(enforcement, control, alerts, quiet, recovery)]
    return ("inconclusive", doubts) if doubts else ("passed", [])


def _failures(
    enforcement: Enforcement, alerts: Sequence[Alert], quiet: Sequence[Quiet], recovery: Recovery
) -> Iterable[str]:
    if enforcement.verdict == "breached":
        yield f"enforcement breached: {enforcement.reason}"
    for alert in alerts:
        if alert.verdict in FAILED_ALERTS:
            yield f"{alert.name} {alert.verdict}: {alert.reason}"
        if alert.resolution in FAILED_RESOLUTIONS:
            yield f"{alert.name} {alert.resolution}"
    for one in quiet:
        if one.verdict == "noisy":
            yield f"{one.name} noisy: {one.reason}"
    if recovery.verdict == "not-restored":
        yield f"not restored: {recovery.reason}"


def _doubts(
    enforcement: Enforcement, control: Control, alerts: Sequence[Alert], quiet: Sequence[Quiet], recovery: Recovery
) -> Iterable[str]:
    if enforcement.verdict == "inconclusive":
        yield f"enforcement inconclusive: {enforcement.reason}"
    elif control.verdict != "up":
        yield f"control {control.verdict}: {control.reason}"
    for alert in alerts:
        if alert.verdict == "not-judged":
            yield f"{alert.name} not judged: {alert.reason}"
        elif alert.resolution == "not-judged" and alert.resolves_within_seconds is not None:
            yield f"{alert.name} resolution not judged"
    for one in quiet:
        if one.verdict == "not-judged":
            yield f"{one.name} not judged: {one.reason}"
    if recovery.verdict == "not-verified":
        yield f"recovery not verified: {recovery.reason}"


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """A run is as good as its worst drill; a run without drills proved nothing."""
    seen = set(verdicts) or {"inconclusive"}
    return next(verdict for verdict in PROBLEM_FIRST if verdict in seen)


def run_verdict(drills: Sequence[Drill], *, cut_short: bool = False) -> Verdict:
    """The verdict of a run from those of its drills; one that was ``cut_short`` before its last drill never passed."""
    made: list[Verdict] = [drill.verdict for drill in drills]
    return worst([*made, "aborted"] if cut_short else made)
