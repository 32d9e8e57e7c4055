"""The files of a run: their names, their keys, and that nobody ever sees half of one."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import report_factory as factory

from drills.engine.result import Result
from drills.errors import InputError, WorldError
from drills.report import files

MAKERS = [
    factory.passed,
    factory.breach,
    factory.inconclusive,
    factory.miss,
    factory.aborted,
    factory.hostile,
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_result_reads_back_as_it_was_written(make: Callable[[], Result], tmp_path: Path) -> None:
    written = files.write(make(), tmp_path / "new" / "out")
    assert written == [tmp_path / "new/out" / name for name in ("result.json", "junit.xml", "report.html")]
    assert files.read_result(written[0]) == make()
    assert files.read_result(tmp_path / "new/out") == make()


def test_only_whole_files_are_left_and_older_ones_replaced(tmp_path: Path) -> None:
    files.write(factory.passed(), tmp_path)
    files.write(factory.miss(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junit.xml", "report.html", "result.json"]
    assert files.read_result(tmp_path) == factory.miss()
    assert stat.S_IMODE((tmp_path / "result.json").stat().st_mode) == 0o600


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "precious"
    other.write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result.json").symlink_to(other)
    files.write(factory.passed(), tmp_path / "out")
    assert other.read_text() == "mine"


@pytest.mark.parametrize("place", ["taken", "taken/below"])
def test_a_place_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(WorldError, match=r"result\.json cannot be written: .*\. Choose another directory with --out\."):
        files.write(factory.passed(), tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_that_cannot_be_replaced_leaves_no_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(WorldError, match="cannot be written: Is a directory"):
        files.write(factory.passed(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "cannot be read: it is not UTF-8 text"),
        (b"{", "is not a result of drills"),
        (b'{"schema": "drills/result/v2"}', r"is not a result of drills \(schema: "),
    ],
)
def test_what_is_not_a_result_is_refused(tmp_path: Path, text: bytes | None, message: str) -> None:
    path = tmp_path / "result.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(InputError, match=message):
        files.read_result(path)


def test_reports_are_made_again_from_result_and_journal(tmp_path: Path) -> None:
    (drill,) = factory.miss().drills
    assert drill.started_at is not None
    fine = drill.started_at + timedelta(microseconds=654321)  # the file has milliseconds
    result = factory.miss().model_copy(update={"drills": [drill.model_copy(update={"started_at": fine})]})
    written = files.write(result, tmp_path)
    before = {path.name: path.read_text() for path in written}
    for path in written[1:]:
        path.unlink()
    assert files.again(tmp_path) == written[1:]
    assert {path.name: path.read_text() for path in written} == before


def test_reports_of_several_playbooks_are_made_again(tmp_path: Path) -> None:
    files.write(factory.miss(), tmp_path / "one")
    files.write(factory.passed(), tmp_path / "two")
    files.write_summary([factory.miss(), factory.passed()], tmp_path)
    made = [path.relative_to(tmp_path).as_posix() for path in files.again(tmp_path)]
    assert made == ["one/junit.xml", "one/report.html", "two/junit.xml", "two/report.html"]


def test_a_summary_names_the_playbooks_that_came_to_no_result(tmp_path: Path) -> None:
    path = files.write_summary([factory.passed()], tmp_path, ["later"])
    found = json.loads(path.read_text())
    assert found["verdict"] == "inconclusive"
    assert found["playbooks"][1] == {"name": "later", "verdict": None, "result": None}


def test_a_run_that_did_not_finish_has_no_report(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_text("")
    with pytest.raises(InputError, match="that run did not finish"):
        files.again(tmp_path)
    with pytest.raises(InputError, match="elsewhere cannot be read: No such file"):
        files.again(tmp_path / "elsewhere")


def test_several_playbooks_have_a_summary(tmp_path: Path) -> None:
    path = files.write_summary([factory.passed(), factory.miss()], tmp_path)
    assert path == tmp_path / "summary.json"
    assert json.loads(path.read_text())["verdict"] == "failed"


# The contract's example, key by key: scripts rely on these names. A key may be added, none may go.
CONTRACT: dict[str, Any] = {
    "": {"schema", "run", "playbook", "verdict", "target", "startedAt", "finishedAt", "drills", "provenance"},
    "target": {"kind", "timeLapse"},
    "drills.0": {"name", "verdict", "enforcement", "control", "alerts", "quiet", "collateral", "recovery"},
    "drills.0.enforcement": {"verdict", "attempts", "denied", "leaked", "outcomes", "evidence"},
    "drills.0.enforcement.evidence.0": {"kind", "query", "before", "after"},
    "drills.0.enforcement.evidence.1": {"kind", "count", "lost"},
    "drills.0.control": {"verdict", "attempts", "succeeded"},
    "drills.0.alerts.0": {
        *("name", "verdict", "flags", "pendingAt", "firingAt", "atAlertmanagerAt", "notifiedAt", "resolvedAt"),
        *("detectionSeconds", "boundSeconds", "resolution", "stoppedAt", "reason"),
    },
    "drills.0.alerts.0.boundSeconds": {"best", "worst"},
    "drills.0.quiet.0": {"name", "verdict"},
    "drills.0.recovery": {"verdict", "seconds"},
    "provenance": {"versions", "inputs", "actor", "changes", "clock"},
}
ADDED = {
    "target": {"name"},
    "drills.0": {"reasons", "startedAt", "firstAttemptAt", "lastAttemptAt", "finishedAt", "during", "flood"},
    "drills.0.enforcement": {"reason", "planned", "backends", "remarks"},
    "drills.0.enforcement.evidence.0": {"partial"},
    "drills.0.enforcement.evidence.1": {
        "partial",
        "events",
        "backends",
        "verdicts",
        "reasons",
        "policies",
        "defaultDeny",
    },
    "drills.0.control": {"reason", "outcomes"},
    "drills.0.alerts.0": {"withinSeconds", "resolvesWithinSeconds", "silencedBy"},
    "drills.0.quiet.0": {"reason"},
    "drills.0.recovery": {"reason"},
    "provenance": {"journal", "images", "notJudged", "replicas", "processes"},
}


def inside(document: Any, path: str) -> Any:
    for step in filter(None, path.split(".")):
        document = document[int(step) if step.isdigit() else step]
    return document


@pytest.mark.parametrize("path", CONTRACT)
def test_keys_of_the_contract(path: str) -> None:
    document = json.loads(factory.passed().to_json())
    assert set(inside(document, path)) == CONTRACT[path] | ADDED.get(path, set())


def test_values_of_the_contract() -> None:
    document = json.loads(factory.miss().to_json())
    assert document["schema"] == "drills/result/v1"
    assert document["startedAt"] == "2026-03-01T20:48:00.000Z"
    alert = document["drills"][0]["alerts"][0]
    assert alert["firingAt"] is None
    assert alert["boundSeconds"] == {"best": 60, "worst": 90}
    assert alert["stoppedAt"] == "no-series"
    assert [one["kind"] for one in document["drills"][0]["enforcement"]["evidence"]] == ["counter", "flow"]
