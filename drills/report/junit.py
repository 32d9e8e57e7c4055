"""The run as JUnit XML, for the test view of a CI: a suite for each drill, a case for each thing that was judged.

A judged failure is a *failure*, what could not be known is an *error*, what was left unjudged is *skipped*.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite
from junitparser.junitparser import FinalResult

from drills.engine.result import Alert, Drill, Result
from drills.report.proven import SILENCED
from drills.report.summary import target
from drills.report.text import plain

Mapped = Literal["ok", "failure", "error", "skipped"]
_MAPPED: dict[str, Mapped] = {
    **dict.fromkeys(("held", "up", "detected", "quiet", "restored", "self-healed"), "ok"),
    **dict.fromkeys(
        ("breached", "missed", "late", "premature", "undelivered", "noisy", "not-restored", "too-late", "not-resolved"),
        "failure",
    ),
    **dict.fromkeys(("inconclusive", "broken", "flapping", "not-verified", "aborted"), "error"),
    "not-judged": "skipped",
}


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing that was judged; ``seconds`` is what it took on the wall."""

    name: str
    verdict: str
    reason: str
    seconds: float | None = None


def junit_xml(result: Result) -> str:
    """The text of ``junit.xml``."""
    xml = JUnitXml(plain(result.playbook))
    for drill in result.drills:
        xml.add_testsuite(_suite(result, drill))
    xml.update_statistics()  # type: ignore[no-untyped-call]
    xml.time = (result.finished_at - result.started_at).total_seconds()
    written: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return written.decode("utf-8") + "\n"


def _suite(result: Result, drill: Drill) -> TestSuite:
    suite = TestSuite(plain(drill.name))
    if drill.started_at is not None:
        suite.timestamp = drill.started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")  # no offset, as its XSD says
    suite.add_property("run", plain(result.run))
    suite.add_property("verdict", drill.verdict)
    suite.add_property("target", target(result.target))
    for aspect in aspects(drill, result.target.time_lapse):
        suite.add_testcase(_case(aspect, f"{plain(result.playbook)}.{plain(drill.name)}"))
    return suite


def _case(aspect: Aspect, classname: str) -> TestCase:
    case = TestCase(plain(aspect.name), classname=classname, time=aspect.seconds)
    kinds: dict[Mapped, type[FinalResult]] = {"failure": Failure, "error": Error, "skipped": Skipped}
    kind = kinds.get(_MAPPED[aspect.verdict])
    text = plain(aspect.verdict + (f": {aspect.reason}" if aspect.reason else ""))
    if kind is not None:
        case.result = [kind(text, aspect.verdict)]
    else:
        case.system_out = text
    return case


def aspects(drill: Drill, time_lapse: float) -> Iterator[Aspect]:
    """Everything that was judged of a drill."""
    enforcement, control = drill.enforcement, drill.control
    attack = _between(drill.first_attempt_at, drill.last_attempt_at)
    counted = f"{enforcement.denied} of {enforcement.attempts} attempts denied, {enforcement.leaked} leaked"
    yield Aspect("enforcement", enforcement.verdict, enforcement.reason or counted, attack)
    succeeded = f"{control.succeeded} of {control.attempts} attempts succeeded"
    yield Aspect("control", control.verdict, control.reason or succeeded, attack)
    for alert in drill.alerts:
        yield _alert(drill, alert)
    for quiet in drill.quiet:
        yield Aspect(f"quiet {quiet.name}", quiet.verdict, quiet.reason)
    recovery = drill.recovery
    took = None if recovery.seconds is None else round(recovery.seconds / time_lapse, 3)
    yield Aspect("recovery", recovery.verdict, recovery.reason, took)
    if drill.verdict == "aborted":
        yield Aspect("run", "aborted", "; ".join(drill.reasons))


def _alert(drill: Drill, alert: Alert) -> Aspect:
    """The alert's verdict; a resolution that failed makes a detected alert fail, with both words in the message."""
    reason = f"{alert.stopped_at}: {alert.reason}" if alert.stopped_at is not None else alert.reason
    if not reason and alert.detection_seconds is not None:
        reason = f"fired {alert.detection_seconds:g} s after the first attempt (playbook time)"
    if alert.silenced_by:
        reason += f"; {SILENCED}" if reason else SILENCED
    verdict: str = alert.verdict
    if alert.resolution in {"too-late", "not-resolved"}:
        worse = verdict if _MAPPED[verdict] == "failure" else alert.resolution
        verdict, reason = worse, f"{alert.verdict}, {alert.resolution}; {reason}"
    return Aspect(f"alert {alert.name}", verdict, reason, _between(drill.first_attempt_at, alert.firing_at))


def _between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, (end - start).total_seconds()), 3)
