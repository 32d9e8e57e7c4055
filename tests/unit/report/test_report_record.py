"""The journal as the report reads it: whole, cut off, foreign or hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import report_factory as factory
import report_journal as journals

from drills.report import record


def parse(*entries: dict[str, Any] | str) -> record.Record:
    return record.parse(one.encode() if isinstance(one, str) else json.dumps(one).encode() for one in entries)


def entry(event: str, second: int = 0, **fields: Any) -> dict[str, Any]:
    return {"at": f"2026-03-01T20:48:{second:02d}.000Z", "event": event, **fields}


def test_a_whole_journal(tmp_path: Path) -> None:
    run = factory.game_day()
    found = record.read(journals.write(tmp_path / "journal.jsonl", journals.lines(run, journals.ATTACKS)))
    assert (found.run, found.unreadable, len(found.digest)) == (run.run, 0, 64)
    drill = found.of("one-leak")
    assert [one.phase for one in drill.phases] == ["prepare", "baseline", "inject", "recover"]
    assert sum(drill.series["attack"].outcomes["http-200"].counts) == 1
    assert drill.plan is not None
    assert drill.plan.expected == "HTTP 403 from the policy"
    assert [(one.what, one.undone) for one in drill.changes] == [("pod frontend/drill-frontend-1", None)]


def test_no_journal_is_an_empty_record(tmp_path: Path) -> None:
    assert record.read(tmp_path) == record.Record()


def test_a_change_is_closed_by_its_own_undo() -> None:
    found = parse(
        entry("change", 1, what="pod a"),
        entry("change", 2, what="pod a"),
        entry("undone", 3, what="pod a"),
        entry("undone", 4, what="pod b"),
    ).of("x", alone=True)
    assert [(one.made.second, one.undone and one.undone.second) for one in found.changes] == [(1, 3), (2, None)]


def test_lines_without_a_drill_belong_to_a_drill_that_is_alone() -> None:
    found = parse(entry("change", what="pod a"))
    assert found.of("x", alone=True).changes
    assert not found.of("x").changes


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        json.dumps({"event": "phase"}),
        json.dumps(entry("phase", phase=7)),
        json.dumps({"at": "yesterday", "event": "phase", "phase": "inject"}),
        json.dumps(entry("series", role="attack", began="2026-03-01T20:48:00Z", step=0, outcomes={})),
        json.dumps(
            entry(
                "series",
                role="attack",
                began="2026-03-01T20:48:00Z",
                step=1,
                outcomes={"a": {"kind": "denied", "counts": [-1]}},
            )
        ),
    ],
)
def test_what_cannot_be_read_is_counted_and_left_out(line: str) -> None:
    found = parse(entry("run", run="r"), line, entry("note", drill="x", text="later"))
    assert (found.run, found.unreadable) == ("r", 1)
    assert [one.text for one in found.of("x").notes] == ["later"]


def test_events_of_another_version_are_no_fault() -> None:
    assert parse(entry("invented", drill="x"), entry("run", run="r", more=1)).unreadable == 0
