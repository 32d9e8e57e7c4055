"""The log: JSON lines for machines, words for people, secrets for nobody."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from drills.engine.events import AttemptsMade, Note, PhaseStarted, RunStarted
from drills.report import logging as log


class Terminal(io.StringIO):
    """Something that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def logged(stream: io.StringIO, **fields: object) -> str:
    log.configure(stream, environ={"NO_COLOR": "1"})
    structlog.get_logger().info("drill pod runs", **fields)
    return stream.getvalue()


def test_a_machine_reads_one_object_a_line() -> None:
    text = logged(io.StringIO(), pod="frontend/x", label="two\nlines\x1b[2J", count=3)
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "drill pod runs",
        "level": "info",
        "pod": "frontend/x",
        "label": "two\nlines\x1b[2J",
        "count": 3,
    }


def test_a_person_reads_words_without_control_characters() -> None:
    text = logged(Terminal(), label="two\nlines\x1b[2J")
    assert "drill pod runs" in text
    assert "two lines" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_no_secret_is_written(stream: type[io.StringIO]) -> None:
    text = logged(
        stream(),
        password="hunter2",
        headers={"Authorization": "Bearer hunter2", "Cookie": "hunter2", "nested": [{"api_key": "hunter2"}]},
        url="http://user:hunter2@prometheus:9090/",
        error="401 for Authorization: Bearer hunter2, password=hunter2",
        token_file="hunter2",
    )
    assert "hunter2" not in text
    assert "prometheus:9090" in text


def test_an_exception_keeps_its_traceback_and_loses_its_secrets() -> None:
    text = failed(io.StringIO())
    assert "ValueError: token=[hidden] was \x1b[2Jrefused" in json.loads(text)["exception"]


def test_a_traceback_on_a_terminal_keeps_its_lines_and_nothing_that_acts() -> None:
    text = failed(Terminal())
    assert "\nTraceback (most recent call last):\n  File " in text
    assert "ValueError: token=[hidden] was \\x1b[2Jrefused" in text


def failed(stream: io.StringIO) -> str:
    log.configure(stream, environ={"NO_COLOR": "1"})
    try:
        refuse("token=hunter2 was \x1b[2Jrefused")
    except ValueError:
        structlog.get_logger().exception("failed")
    return stream.getvalue()


def refuse(why: str) -> None:
    raise ValueError(why)


def test_debug_lines_are_shown_on_request_only() -> None:
    stream = io.StringIO()
    log.configure(stream)
    structlog.get_logger().debug("one")
    log.configure(stream, verbose=True)
    structlog.get_logger().debug("two")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["two"]


def test_a_run_leaves_lines_for_machines_and_none_for_each_attempt() -> None:
    stream = io.StringIO()
    log.configure(stream, environ={})
    log.log_event(RunStarted("r1", "p", "lab", 15.0, ("d",)))
    log.log_event(PhaseStarted("d", "inject", "GET http://x/", 12.0))
    log.log_event(AttemptsMade("d", "attack", 900, {"http-403": 1}))
    log.log_event(Note("d", "the password=hunter2 is wrong"))

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert [line["event"] for line in lines] == ["run started", "phase", "note"]
    assert lines[1]["phase"] == "inject"
    assert "hunter2" not in stream.getvalue()


def test_the_port_of_an_address_is_no_password() -> None:
    event = {"event": "at http://127.0.0.1:9090/x, not at http://user:hunter2@127.0.0.1:9090"}
    assert log.hide_secrets(None, "info", event)["event"] == (
        f"at http://127.0.0.1:9090/x, not at http://user:{log.HIDDEN}@127.0.0.1:9090"
    )
