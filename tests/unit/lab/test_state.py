"""The state directory and its lock."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from drills.errors import InputError, WorldError
from drills.lab.state import StateDir, lab_name, state_root


def test_the_default_lab() -> None:
    assert lab_name({}) == "default"
    assert lab_name({"DRILLS_LAB": "ci-7"}) == "ci-7"


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "-x", "a" * 41, "a b"])
def test_names_that_are_no_directory(name: str) -> None:
    with pytest.raises(InputError, match="DRILLS_LAB"):
        lab_name({"DRILLS_LAB": name})


def test_the_root_follows_xdg_then_home(tmp_path: Path) -> None:
    assert state_root({"XDG_STATE_HOME": str(tmp_path), "HOME": "/x"}) == tmp_path / "drills"
    assert state_root({"HOME": str(tmp_path)}) == tmp_path / ".local/state/drills"


def test_without_a_home_a_private_directory(tmp_path: Path) -> None:
    root = state_root({"HOME": "/proc/nonexistent", "TMPDIR": str(tmp_path)})
    assert root == tmp_path / f"drills-{os.getuid()}"
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_prepared_directory_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / f"drills-{os.getuid()}").mkdir(mode=0o777)
    (tmp_path / f"drills-{os.getuid()}").chmod(0o777)
    with pytest.raises(WorldError, match="private"):
        state_root({"TMPDIR": str(tmp_path)})


def test_the_lock_says_whether_a_lab_is_there(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "lab")
    assert not state.alive()
    lock = state.lock()
    assert lock is not None
    state.note_owner(lock, 4711)
    assert state.alive()
    assert state.owner() == 4711
    assert state.lock() is None
    os.close(lock)
    assert not state.alive()


def test_clean_leaves_a_living_lab_alone_and_nothing_of_a_dead_one(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "lab")
    lock = state.lock()
    assert lock is not None
    state.logs.mkdir()
    state.log.write_text("last words\n")
    state.write(state.status, "{}")
    state.clean()
    assert state.status.read_text() == "{}"
    assert stat.S_IMODE(state.status.stat().st_mode) == 0o600
    os.close(lock)
    state.clean(keep_logs=True)
    assert not state.status.exists()
    assert state.log.exists()
    state.clean()
    assert not state.path.exists()
