"""What a run showed, in sentences for whoever is on call: no word of the tool's own that is not explained by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from drills.engine.result import Alert, CaptureEvidence, Drill, Enforcement, Quiet
from drills.report.text import counts, plain, seconds, sentence

Tone = Literal["good", "bad", "doubt", "stop", "info"]
SILENCED: Final = "silenced by this run, as the playbook asks"


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence and whether it is good news."""

    tone: Tone
    text: str


def statements(drill: Drill) -> Iterator[Statement]:
    """What the drill showed, most important first."""
    if drill.verdict == "aborted":
        yield Statement("stop", f"Stopped before it could be judged: {'; '.join(map(sentence, drill.reasons))}.")
    yield of_enforcement(drill)
    yield from of_remarks(drill)
    for alert in drill.alerts:
        yield of_alert(alert)
        yield from of_paging(alert)
        yield from of_resolution(alert)
    for quiet in drill.quiet:
        yield of_quiet(quiet)
    yield from of_collateral(drill)
    yield of_recovery(drill)


def of_enforcement(drill: Drill) -> Statement:
    """Whether the policy held."""
    enforcement, control = drill.enforcement, drill.control
    captured = [one for one in enforcement.evidence if isinstance(one, CaptureEvidence)]
    if captured:
        looked = all(one.plaintext != "not-judged" for one in captured)
        return _of_fault(enforcement, "encryption" if looked else "path between the nodes")
    if enforcement.verdict == "held":
        return Statement(
            "good",
            f"The policy held{_under(drill)}: {_all(enforcement.denied, enforcement.attempts)} forbidden attempts were "
            f"denied{_proof(enforcement)}, while the allowed path answered {control.succeeded} of {control.attempts}.",
        )
    if enforcement.verdict == "breached" and enforcement.leaked:
        return Statement(
            "bad",
            f"The policy did not hold: {_all(enforcement.leaked, enforcement.attempts)} forbidden attempts got through "
            f"({counts(enforcement.outcomes)}).",
        )
    if enforcement.verdict == "breached":
        return Statement("bad", f"The policy did not hold: {sentence(enforcement.reason)}.")
    return Statement("doubt", f"Nothing is proven about the policy: {sentence(enforcement.reason)}.")


def _of_fault(enforcement: Enforcement, what: str) -> Statement:
    """The encryption is spoken of only where plaintext was looked for."""
    reason = sentence(enforcement.reason)
    match enforcement.verdict:
        case "inconclusive":
            return Statement("doubt", f"Nothing is proven about the {what}: {reason}.")
        case "held":
            fine = "held" if what == "encryption" else "was as expected"
            return Statement("good", f"The {what} {fine}: {reason}.")
    return Statement(
        "bad", f"The {what} {'did not hold' if what == 'encryption' else 'was not as expected'}: {reason}."
    )


def of_remarks(drill: Drill) -> Iterator[Statement]:
    """What was found beside a policy that held; any other verdict's reason says it."""
    if drill.enforcement.verdict == "held":
        for text in drill.enforcement.remarks:
            yield Statement("doubt", f"Found beside it: {sentence(text)}.")


def _under(drill: Drill) -> str:
    return "" if drill.flood is None else f" under {drill.flood.reached_per_second:g} requests a second"


def _all(some: int, every: int) -> str:
    return f"all {every}" if some == every else f"{some} of {every}"


def _proof(enforcement: Enforcement) -> str:
    kinds = {"counter": "counters", "flow": "flows"}
    shown = [text for kind, text in kinds.items() if any(one.kind == kind for one in enforcement.evidence)]
    return f" (seen in Cilium's {' and '.join(shown)})" if shown else ""


def of_paging(alert: Alert) -> Iterator[Statement]:
    """That somebody was told of an alert that was to be silenced; nothing where nobody was."""
    if "paged" in alert.flags:
        why = sentence(alert.reason) if alert.verdict == "detected" else "a receiver was told"
        yield Statement("doubt", f"{plain(alert.name)} was to wake nobody, and may have: {why}.")


def of_resolution(alert: Alert) -> Iterator[Statement]:
    """That an alert stayed for too long; nothing where it went in time, or where that was not judged."""
    if alert.resolution in {"too-late", "not-resolved"}:
        what = "resolved too late" if alert.resolution == "too-late" else "did not resolve"
        yield Statement("bad", f"{plain(alert.name)} {what} after the attack had ended.")


def of_collateral(drill: Drill) -> Iterator[Statement]:
    """Other alerts that became active meanwhile."""
    active = [one for one in drill.collateral if one.state != "resolved"]
    if active:
        names = ", ".join(sorted({plain(one.name) for one in active}))
        yield Statement("doubt", f"Also active while the drill ran, and not named by the drill: {names}.")


def of_alert(alert: Alert) -> Statement:
    """Whether anybody would have been told."""
    name = plain(alert.name)
    after = "" if alert.detection_seconds is None else f" {seconds(alert.detection_seconds)} after the first attempt"
    why = sentence(alert.reason)
    if alert.stopped_at is not None:
        why = f"{alert.stopped_at}: {why}" if why else alert.stopped_at
    match alert.verdict:
        case "detected":
            told = ", and its notification arrived" if alert.notified_at is not None else ""
            if alert.silenced_by:
                told = f" and reached Alertmanager, {SILENCED}"
            return Statement("good", f"{name} fired{after}{told}.")
        case "late":
            return Statement(
                "bad", f"{name} came too late: it fired{after}; allowed were {seconds(alert.within_seconds)}."
            )
        case "missed":
            return Statement("bad", f"Nobody would have been told: {name} never fired ({why}).")
        case "undelivered":
            return Statement("bad", f"Nobody was told: {name} fired{after}, but no notification arrived ({why}).")
        case "premature":
            return Statement("bad", f"{name} proves nothing: {why}.")
    return Statement("doubt", f"Nothing is proven about {name}: {why}.")


def of_quiet(quiet: Quiet) -> Statement:
    """Whether an alert that must not fire stayed quiet."""
    name = plain(quiet.name)
    if quiet.verdict == "quiet":
        return Statement("good", f"{name} stayed quiet, as it should.")
    if quiet.verdict == "noisy":
        return Statement("bad", f"{name} fired although it should not: {sentence(quiet.reason)}.")
    return Statement("doubt", f"Whether {name} stayed quiet is not known: {sentence(quiet.reason)}.")


def of_recovery(drill: Drill) -> Statement:
    """Whether everything was put back."""
    reason = f": {sentence(drill.recovery.reason)}" if drill.recovery.reason else ""
    match drill.recovery.verdict:
        case "restored":
            return Statement(
                "good", f"Everything that can be was put back{reason}." if reason else "Everything was put back."
            )
        case "self-healed":
            return Statement("good", f"Everything is as before; the cluster repaired it by itself{reason}.")
        case "not-restored":
            return Statement("bad", f"Something was left behind{reason}.")
    return Statement("doubt", f"Whether everything was put back is not known{reason}.")
