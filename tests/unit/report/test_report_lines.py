"""The plain console: what a log shows of a run, compared with texts that were read by people."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import report_factory as factory

from drills.engine.events import (
    AlertMoved,
    AttemptsMade,
    DrillFinished,
    Event,
    Note,
    PhaseStarted,
    RunFinished,
    RunStarted,
)
from drills.engine.result import FlowEvidence, Result
from drills.report.console import Console
from drills.report.html import page
from drills.report.junit import junit_xml
from drills.report.lines import Lines, verdict_lines
from drills.report.record import Record

GOLDEN = Path(__file__).parent / "golden"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_flows_say_what_holds_for_all_once_and_else_each_number() -> None:
    def told(**more: object) -> str:
        enforcement = factory.held().model_copy(update={"evidence": [FlowEvidence(count=9, lost=0, **more)]})  # type: ignore[arg-type]
        found = factory.result(factory.drill(enforcement=enforcement))
        return next(line for line in verdict_lines(found) if "flows 9" in line).partition("lost 0")[2]

    assert told() == ""
    assert told(verdicts={"DROPPED": 9}, reasons={"POLICY_DENIED": 9}, default_deny=9) == (
        "; DROPPED, POLICY_DENIED; no rule allowed them (default deny)"
    )
    mixed = told(
        verdicts={"DROPPED": 9}, reasons={"POLICY_DENIED": 4, "POLICY_DENY": 5}, default_deny=4, policies=["a/b"]
    )
    assert mixed == (
        "; DROPPED, POLICY_DENY: 5, POLICY_DENIED: 4; denied by a/b; no rule allowed 4 of them (default deny)"
    )


def a_run() -> list[tuple[float, Event]]:
    name, alert = "admin-path", "CiliumHTTPRequestsDenied"
    attempts = [
        (6.0 + 0.5 * step, AttemptsMade(name, "attack", 900, {"http-403": 37 * step, "timeout": 1 if step > 4 else 0}))
        for step in range(24)
    ]
    return [
        (0.0, RunStarted("20260301-ab12", "zero-trust", "lab default", 15, (name,))),
        (0.1, PhaseStarted(name, "prepare", "drill pods in frontend", None)),
        (2.0, PhaseStarted(name, "baseline", "until every alert is inactive", 32.4)),
        (2.0, AlertMoved(name, alert, "quiet")),
        (2.3, AlertMoved(name, alert, "quiet")),
        (6.0, PhaseStarted(name, "inject", "", 12)),
        *attempts[:10],
        (10.9, AlertMoved(name, alert, "pending")),
        *attempts[10:],
        (17.6, AlertMoved(name, alert, "firing")),
        (18.0, AttemptsMade(name, "attack", 900, {"http-403": 899, "timeout": 1})),
        (18.0, PhaseStarted(name, "observe", "", 48)),
        (18.1, AlertMoved(name, alert, "at Alertmanager")),
        (18.4, Note(name, "the notification took 0.3 s")),
        (18.5, AlertMoved(name, alert, "notified")),
        (40.0, AlertMoved(name, alert, "resolved")),
        (41.0, PhaseStarted(name, "recover", "", None)),
        (42.0, DrillFinished(factory.drill())),
        (43.0, RunFinished(factory.passed())),
    ]


def plainly(events: list[tuple[float, Event]]) -> str:
    stream, clock = io.StringIO(), Clock()
    with Console(stream, environ={}, clock=clock) as console:
        for at, event in events:
            clock.now = 100.0 + at
            console(event)
        console.files([Path("out/result.json"), Path("out/junit.xml")])
    return stream.getvalue()


def test_a_whole_run_as_a_log_shows_it() -> None:
    assert plainly(a_run()) == (GOLDEN / "run.txt").read_text()


@pytest.mark.parametrize(
    "make", [factory.passed, factory.breach, factory.inconclusive, factory.miss, factory.aborted, factory.hostile]
)
def test_verdict_block(make: Callable[[], Result]) -> None:
    text = "".join(line + "\n" for line in verdict_lines(make()))
    assert text == (GOLDEN / f"{make.__name__}.txt").read_text()


def test_no_control_character_reaches_a_log() -> None:
    events: list[tuple[float, Event]] = [
        (0, RunStarted(factory.HOSTILE, factory.HOSTILE, factory.HOSTILE, 1, (factory.HOSTILE,))),
        (1, PhaseStarted(factory.HOSTILE, "inject", factory.HOSTILE, None)),
        (2, AttemptsMade(factory.HOSTILE, "attack", 9, {factory.HOSTILE: 9})),
        (3, AlertMoved(factory.HOSTILE, factory.HOSTILE, "firing")),
        (4, Note(factory.HOSTILE, factory.HOSTILE)),
        (5, RunFinished(factory.hostile())),
    ]
    text = plainly(events)
    assert not CONTROL.search(text)
    assert not [line for line in text.splitlines() if line.startswith("admin-path: passed")]


def test_progress_is_throttled_and_a_new_outcome_is_not() -> None:
    lines = Lines()

    def told(now: float, **outcomes: int) -> list[str]:
        return lines.of(AttemptsMade("d", "attack", 100, {k.replace("_", "-"): v for k, v in outcomes.items()}), now)

    assert told(0, http_403=1) == ["[   0.0 s] d: attack 1 of 100 (http-403: 1)"]
    assert told(1, http_403=10) == []
    assert told(1, http_403=10, http_200=1) == ["[   1.0 s] d: attack 11 of 100 (http-403: 10, http-200: 1)"]
    assert told(2, http_403=20, http_200=1) == []
    assert told(6, http_403=60, http_200=1) == ["[   6.0 s] d: attack 61 of 100 (http-403: 60, http-200: 1)"]
    assert told(7, http_403=99, http_200=1) == ["[   7.0 s] d: attack 100 of 100 (http-403: 99, http-200: 1)"]
    assert told(20, http_403=99, http_200=1) == []


def test_numbers_that_were_held_back_are_told_before_the_next_phase() -> None:
    lines = Lines()
    lines.of(AttemptsMade("d", "control", 100, {"http-200": 1}), 0)
    assert lines.of(AttemptsMade("d", "control", 100, {"http-200": 7}), 1) == []
    assert lines.of(PhaseStarted("d", "observe", "", None), 2) == [
        "[   2.0 s] d: control 7 of 100 (http-200: 7)",
        "[   2.0 s] d: observe",
    ]


def test_a_reader_that_has_gone_does_not_disturb_the_run() -> None:
    stream = io.StringIO()
    console = Console(stream, environ={})
    stream.close()
    console(Note("d", "nobody reads this"))
    console(RunFinished(factory.passed()))
    console.close()


def test_an_encoding_that_lacks_a_letter_does_not_lose_the_verdict() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    console = Console(stream, environ={})
    console(Note("d", "größer"))
    console.close()
    assert raw.getvalue() == b"[   0.0 s] d: gr\\xf6\\xdfer\n"


class Interrupted(io.StringIO):
    """A stream that is interrupted in the middle of its first write, as by a signal whose handler speaks."""

    speak: Callable[[], None] | None = None

    def write(self, text: str) -> int:
        speak, self.speak = self.speak, None
        if speak is not None:
            speak()
        return super().write(text)


def test_a_signal_handler_may_speak_while_the_console_writes() -> None:
    stream = Interrupted()
    console = Console(stream, environ={})
    stream.speak = lambda: console.say("Stopping the attack.")
    console(Note("d", "a note"))
    assert stream.getvalue() == "[   0.0 s] d: a note\nStopping the attack.\n"


def test_many_threads_may_tell_at_once() -> None:
    stream = io.StringIO()
    console = Console(stream, environ={})
    names = [f"drill-{number}" for number in range(8)]

    def tell(name: str) -> None:
        for number in range(50):
            console(Note(name, f"note {number}"))

    threads = [threading.Thread(target=tell, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    console.close()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 400
    for name in names:
        assert [line.split(": ")[1] for line in lines if f" {name}: " in line] == [f"note {n}" for n in range(50)]


def silenced(**change: object) -> Result:
    alert = factory.detected().model_copy(update={"notified_at": None, "silenced_by": ["s1"], **change})
    return factory.result(factory.drill(alerts=[alert]))


def test_a_silenced_alert_is_said_to_be_silenced_in_every_report() -> None:
    text = "\n".join(verdict_lines(silenced()))
    assert "reached Alertmanager, silenced by this run, as the playbook asks." in text
    assert "notified" not in text
    assert "silenced by this run, as the playbook asks" in junit_xml(silenced())
    assert "silenced by this run, as the playbook asks" in page(silenced(), Record())


def test_an_alert_that_woke_somebody_in_spite_of_its_silence_is_no_good_news() -> None:
    woke = silenced(flags=["paged"], silenced_by=[], reason="a receiver was notified")
    text = "\n".join(verdict_lines(woke))
    assert "CiliumHTTPRequestsDenied was to wake nobody, and may have: a receiver was notified." in text
    assert "alert_relabel_configs" in text
    assert "was to wake nobody" in page(woke, Record())
