"""The verdict block: what the console prints at the end, as data, so that a terminal and a log show the same words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drills.engine.result import (
    Alert,
    CaptureEvidence,
    CounterEvidence,
    Drill,
    FloodLoad,
    FlowEvidence,
    Result,
    TargetSummary,
    Verdict,
)
from drills.report.look import hints
from drills.report.proven import SILENCED, Statement, Tone, statements
from drills.report.text import clock, counts, plain, seconds

VERDICT_TONE: dict[Verdict, Tone] = {"passed": "good", "failed": "bad", "inconclusive": "doubt", "aborted": "stop"}
_TONES: dict[str, Tone] = {
    **dict(VERDICT_TONE.items()),
    **dict.fromkeys(("held", "up", "detected", "quiet", "restored", "self-healed", "resolved"), "good"),
    **dict.fromkeys(
        ("breached", "broken", "missed", "late", "premature", "undelivered", "noisy", "not-restored"), "bad"
    ),
    **dict.fromkeys(("too-late", "not-resolved"), "bad"),
    **dict.fromkeys(("flapping", "not-judged", "not-verified"), "doubt"),
}


def tone_of(word: str) -> Tone:
    """How a verdict's word is coloured, whatever it is the verdict of."""
    return _TONES.get(word, "info")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a drill: what is judged, the verdict's word, the numbers behind it."""

    label: str
    word: str
    text: str

    @property
    def tone(self) -> Tone:
        """How the word is coloured."""
        return tone_of(self.word)


@dataclass(frozen=True, slots=True)
class DrillSummary:
    """A drill's sentences, lines and what to look at."""

    name: str
    verdict: Verdict
    statements: tuple[Statement, ...]
    rows: tuple[Row, ...]
    look: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """The whole block."""

    verdict: Verdict
    title: str
    drills: tuple[DrillSummary, ...]


def summarise(result: Result) -> Summary:
    """The verdict block of a run; every text in it is safe to print."""
    took = (result.finished_at - result.started_at).total_seconds()
    number = "1 drill" if len(result.drills) == 1 else f"{len(result.drills)} drills"
    title = f"{plain(result.playbook)}: {number} in {seconds(took)} on {target(result.target)}"
    return Summary(verdict=result.verdict, title=title, drills=tuple(map(_drill, result.drills)))


def target(summary: TargetSummary) -> str:
    """Where the run took place, and in which time."""
    name = f"{summary.kind} {plain(summary.name)}".rstrip()
    return f"the {name}, {pace(summary.time_lapse)}"


def pace(time_lapse: float) -> str:
    """Which time the run was in; seconds in the report are always the playbook's."""
    if time_lapse == 1:
        return "in real time"
    return f"time-lapse {time_lapse:g} (1 s on the wall is {time_lapse:g} s of the playbook)"


def _drill(drill: Drill) -> DrillSummary:
    return DrillSummary(
        name=plain(drill.name),
        verdict=drill.verdict,
        statements=tuple(statements(drill)),
        rows=tuple(_rows(drill)),
        look=tuple(hints(drill)),
    )


def _rows(drill: Drill) -> Iterator[Row]:
    yield from _enforcement(drill)
    control = drill.control
    other = f" ({counts(control.outcomes)})" if control.outcomes else ""
    text = f"{control.succeeded} of {control.attempts} attempts succeeded{other}"
    yield Row("control", control.verdict, text + _why(control.verdict == "flapping", control.reason))
    yield from _flood(drill)
    for alert in drill.alerts:
        yield from _alert(alert)
    for quiet in drill.quiet:
        yield Row("quiet", quiet.verdict, plain(quiet.name) + _why(True, quiet.reason))
    for one in drill.collateral:
        labels = ", ".join(f"{plain(key)}={plain(value)}" for key, value in sorted(one.labels.items()))
        yield Row("collateral", one.state, f"{plain(one.name)} {{{labels}}}")
    recovery = drill.recovery
    took = "" if recovery.seconds is None else f"in {seconds(recovery.seconds)}"
    yield Row("recovery", recovery.verdict, (took + _why(True, recovery.reason)).removeprefix("; "))


def _why(show: bool, reason: str) -> str:
    return f"; {plain(reason)}" if show and reason else ""


def _enforcement(drill: Drill) -> Iterator[Row]:
    judged = drill.enforcement
    numbers = f"{judged.attempts} of {judged.planned} attempts made, {judged.denied} denied, {judged.leaked} leaked"
    outcomes = f" ({counts(judged.outcomes)})" if judged.outcomes else ""
    yield Row(
        "enforcement",
        judged.verdict,
        numbers + outcomes + _why(judged.verdict != "held" and not judged.leaked, judged.reason),
    )
    for evidence in judged.evidence:
        yield Row("", "", _evidence(evidence))


def _flood(drill: Drill) -> Iterator[Row]:
    """The load's own numbers, and each of several attacks under it."""
    if drill.flood is None:
        return
    yield Row("load", "", load(drill.flood))
    if len(drill.during) > 1:
        for one in drill.during:
            judged = one.enforcement
            numbers = f"{judged.denied} of {judged.attempts} denied, {judged.leaked} leaked"
            yield Row("meanwhile", judged.verdict, f"{plain(one.attack)}: {numbers}")


def load(flood: FloodLoad) -> str:
    """``159.2 of 160 requests a second; 28800 requests, 3 failed (...); answered in 7 ms (p50), ...``"""
    rate = f"{flood.reached_per_second:g} of {flood.asked_per_second:g} requests a second"
    made = f"{flood.requests} requests, {flood.failures} failed" + (
        f" ({counts(flood.statuses)})" if flood.statuses else ""
    )
    times = ", ".join(f"{value:g} ms ({plain(name)})" for name, value in flood.milliseconds.items())
    by = f"{flood.users} users on {flood.workers} {'worker' if flood.workers == 1 else 'workers'}"
    return "; ".join([rate, made, *([f"answered in {times}"] if times else []), by])


def _evidence(evidence: CounterEvidence | FlowEvidence | CaptureEvidence) -> str:
    if isinstance(evidence, CaptureEvidence):
        packets = f" ({counts(evidence.packets)})" if any(evidence.packets.values()) else ""
        return f"captures: plaintext {evidence.plaintext}{packets}" + _why(
            bool(evidence.reasons), "; ".join(evidence.reasons)
        )
    if isinstance(evidence, CounterEvidence):
        text = f"counter {evidence.before:g} -> {evidence.after:g}: {plain(evidence.query)}"
    else:
        backends = f" ({counts(evidence.backends)})" if evidence.backends else ""
        text = "; ".join([f"flows {evidence.count}, lost {evidence.lost}{backends}", *_denials(evidence)])
    return text + ("; partial: events were lost or an agent restarted" if evidence.partial else "")


def _denials(evidence: FlowEvidence) -> Iterator[str]:
    """What the flows say of who denied: ``DROPPED, POLICY_DENIED; no rule allowed them (default deny)``."""
    if words := [_of_all(one, evidence.count) for one in (evidence.verdicts, evidence.reasons) if one]:
        yield ", ".join(words)
    if evidence.policies:
        yield f"denied by {', '.join(map(plain, evidence.policies))}"
    if evidence.default_deny:
        them = "them" if evidence.default_deny == evidence.count else f"{evidence.default_deny} of them"
        yield f"no rule allowed {them} (default deny)"


def _of_all(numbers: dict[str, int], every: int) -> str:
    """The one word that holds for all, or each with its number."""
    (word, number), *others = numbers.items()
    return plain(word) if number == every and not others else counts(numbers)


def _alert(alert: Alert) -> Iterator[Row]:
    yield Row("alert", alert.verdict, "; ".join(_alert_parts(alert)))
    life = _life(alert)
    if life:
        yield Row("", "", f"{life} (UTC)")
    if alert.stopped_at is not None:
        yield Row("", "", f"stopped at {alert.stopped_at}" + (f": {plain(alert.reason)}" if alert.reason else ""))
    if alert.resolution != "not-judged":
        yield Row("", alert.resolution, _allowed(alert.resolves_within_seconds))


def _allowed(within: float | None) -> str:
    return "" if within is None else f"allowed {seconds(within)} after the attack"


def _alert_parts(alert: Alert) -> Iterator[str]:
    yield plain(alert.name) + (f" [{', '.join(alert.flags)}]" if alert.flags else "")
    if alert.detection_seconds is not None:
        yield f"fired after {seconds(alert.detection_seconds)}"
    if alert.silenced_by:
        yield SILENCED
    yield f"allowed {seconds(alert.within_seconds)}"
    if alert.bound_seconds is not None:
        yield f"its rule can fire after {alert.bound_seconds.best:g} to {alert.bound_seconds.worst:g} s"
    if alert.reason and alert.stopped_at is None:
        yield plain(alert.reason)


def _life(alert: Alert) -> str:
    stages = (
        ("pending", alert.pending_at),
        ("firing", alert.firing_at),
        ("at Alertmanager", alert.at_alertmanager_at),
        ("notified", alert.notified_at),
        ("resolved", alert.resolved_at),
    )
    return " -> ".join(f"{name} {clock(moment)}" for name, moment in stages if moment is not None)
