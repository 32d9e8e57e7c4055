"""What a run did not judge, and why, in one list for whoever audits it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from drills.engine.result import Alert, CaptureEvidence, Drill


def of(drill: Drill) -> list[str]:
    """A sentence for everything of a drill on which the result gives no judgement."""
    return [f"{drill.name}: {text}" for text in _parts(drill)]


def _parts(drill: Drill) -> Iterator[str]:
    if drill.enforcement.verdict == "inconclusive":
        yield f"enforcement: {drill.enforcement.reason or 'no reason was noted'}"
    for one in drill.enforcement.evidence:
        if isinstance(one, CaptureEvidence) and one.plaintext == "not-judged":
            yield f"plaintext: {'; '.join(one.reasons)}"
    for alert in drill.alerts:
        yield from _of_alert(alert)
    yield from (f"quietness of {one.name}: {one.reason}" for one in drill.quiet if one.verdict == "not-judged")
    if drill.recovery.verdict == "not-verified":
        yield f"recovery: {drill.recovery.reason}"


def _of_alert(alert: Alert) -> Iterator[str]:
    if alert.verdict == "not-judged":
        yield f"detection by {alert.name}: {alert.reason}"
    elif alert.resolution == "not-judged" and alert.firing_at is not None:
        unasked = "the playbook sets no resolvesWithin" if alert.resolves_within_seconds is None else ""
        yield f"resolution of {alert.name}: {alert.reason or unasked}"
