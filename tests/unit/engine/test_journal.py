"""The journal: on disk before the next step, whole lines, changes with their undo."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from drills.engine.journal import Journal
from drills.errors import WorldError


def now() -> str:
    return "2026-03-01T20:48:00.000Z"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_each_line_is_on_disk_when_write_returns(path: Path) -> None:
    with Journal(path, now) as journal:
        journal.write("phase", drill="admin-path", phase="inject")
        assert lines(path) == [{"at": now(), "event": "phase", "drill": "admin-path", "phase": "inject"}]
        journal.write("phase", drill="admin-path", phase="observe")
        assert [line["phase"] for line in lines(path)] == ["inject", "observe"]


def test_only_its_owner_may_read_it(path: Path) -> None:
    with Journal(path, now):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_change_is_written_before_it_is_made_and_closed_when_it_is_undone(path: Path) -> None:
    with Journal(path, now) as journal:
        pod = journal.change("create pod drills/a", "delete pod drills/a")
        key = journal.change("patch ciliumnode/k8s-w1", "put back", before="old", after="new")
        assert [line["event"] for line in lines(path)] == ["change", "change"]
        assert lines(path)[1] == {
            "at": now(),
            "event": "change",
            "what": "patch ciliumnode/k8s-w1",
            "undo": "put back",
            "before": "old",
            "after": "new",
        }
        journal.undone(key)
        assert [(change.what, change.undone) for change in journal.changes()] == [
            ("create pod drills/a", False),
            ("patch ciliumnode/k8s-w1", True),
        ]
        journal.undone(pod)
        assert all(change.undone for change in journal.changes())
    assert [line["what"] for line in lines(path) if line["event"] == "undone"] == [
        "patch ciliumnode/k8s-w1",
        "create pod drills/a",
    ]


def test_threads_write_whole_lines_and_get_their_own_numbers(path: Path) -> None:
    with Journal(path, now) as journal:

        def act(name: str) -> None:
            for number in range(5):
                journal.write("attempt", drill=name, number=number, text="x" * 5000)
                journal.undone(journal.change(f"{name} {number}", "undo"))

        threads = [threading.Thread(target=act, args=(f"drill-{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(journal.changes()) == 20
        assert all(change.undone for change in journal.changes())
    written = lines(path)
    assert len(written) == 60
    for name in {line["drill"] for line in written if line["event"] == "attempt"}:
        assert [line["number"] for line in written if line.get("drill") == name] == list(range(5))


def test_text_of_the_cluster_cannot_forge_a_line_or_stop_the_run(path: Path) -> None:
    texts = ['two\n{"event": "undone"}', "\x1b[2J", "\ud800 alone", "größer", "\u2028"]
    with Journal(path, now) as journal:
        for text in texts:
            journal.write("note", text=text)
    raw = path.read_bytes().decode("utf-8")
    assert [json.loads(line)["text"] for line in raw.split("\n") if line] == texts


def test_values_that_json_lacks_are_written_as_text(path: Path) -> None:
    with Journal(path, now) as journal:
        journal.write("note", where=Path("/tmp/x"))
    assert lines(path)[0]["where"] == "/tmp/x"


def test_threads_that_end_late_are_not_disturbed_by_the_close(path: Path) -> None:
    journal = Journal(path, now)
    journal.write("note")
    journal.close()
    journal.close()
    journal.write("late")
    assert [line["event"] for line in lines(path)] == ["note"]


def test_digest_is_that_of_the_file(path: Path) -> None:
    with Journal(path, now) as journal:
        journal.write("note")
        assert journal.digest() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_journal_of_a_run_that_left_something_behind_is_never_overwritten(path: Path) -> None:
    with Journal(path, now) as journal:
        journal.change("pod frontend/drill-a", undo="delete it")
        undone = journal.change("pod frontend/drill-b", undo="delete it")
        journal.undone(undone)

    with pytest.raises(WorldError, match="pod frontend/drill-a"):
        Journal(path, now)
    assert "drill-a" in path.read_text()


def test_journal_of_a_clean_run_gives_way_to_the_next(path: Path) -> None:
    with Journal(path, now) as journal:
        journal.undone(journal.change("pod frontend/drill-a", undo="delete it"))
    with path.open("a") as file:
        file.write('{"event": "cha')  # cut off by a crash

    with Journal(path, now) as journal:
        journal.write("run")
    assert [line["event"] for line in lines(path)] == ["run"]
