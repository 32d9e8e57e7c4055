"""Whose the Lease is: what it says, whether that has expired, and whether its process can be seen to have ended."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drills.kube.holder import Holder, has_ended
from drills.kube.lease import Holding, State

NOW = datetime(2026, 3, 1, 20, 48, 30, tzinfo=UTC)


def lease(**spec: Any) -> dict[str, Any]:
    given = {"holderIdentity": "eve", "leaseDurationSeconds": 30, "renewTime": "2026-03-01T20:48:10.000000Z"}
    return {"metadata": {"annotations": {"drills/process": "b/1/2/3"}}, "spec": given | spec}


@pytest.mark.parametrize(
    ("spec", "ended", "state"),
    [
        ({}, False, "held"),
        ({"renewTime": "2026-03-01T20:48:00.000000Z"}, False, "expired"),
        ({"renewTime": "2026-03-01T20:48:00.000001Z"}, False, "held"),
        ({"renewTime": None}, False, "expired"),
        ({"renewTime": "yesterday"}, False, "expired"),
        ({"leaseDurationSeconds": None}, False, "expired"),
        ({"holderIdentity": ""}, False, "free"),
        ({"holderIdentity": None}, True, "free"),
        ({}, True, "ended"),
    ],
)
def test_state(spec: dict[str, Any], ended: bool, state: State) -> None:
    assert Holding.of(lease(**spec)).state(NOW, lambda process: ended and process == "b/1/2/3") == state


def test_lease_of_nobody_knows_is_readable() -> None:
    assert Holding.of({"metadata": {}}).state(NOW, has_ended) == "free"


def proc(folder: Path, *, boot: str = "b00t", pid: int = 42, stat: str | None = None) -> Path:
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text(f"{boot}\n")
    (folder / "self/ns").mkdir(parents=True)
    (folder / "self/ns/pid").write_text("")
    if stat is not None:
        (folder / str(pid)).mkdir()
        (folder / str(pid) / "stat").write_text(stat)
    return folder


def stat(state: str = "S", start: int = 777, name: str = "python3") -> str:
    return f"42 ({name}) {state} " + " ".join(["0"] * 18) + f" {start} 0 0"


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        pytest.param(stat(), False, id="alive"),
        pytest.param(stat(name=") S 1 ("), False, id="a name that means harm"),
        pytest.param(stat(start=778), True, id="its number given to another"),
        pytest.param(stat(state="Z"), True, id="only its remains"),
        pytest.param(None, True, id="gone"),
    ],
)
def test_process_of_this_machine(tmp_path: Path, text: str | None, ended: bool) -> None:
    folder = proc(tmp_path, stat=text)
    here = f"b00t/{(folder / 'self/ns/pid').stat().st_ino}/42/777"
    assert has_ended(here, folder) is ended


@pytest.mark.parametrize("process", ["", "nonsense", "other-boot/1/42/777", "b00t/1/42/777", "b00t/1/forty-two/777"])
def test_process_of_elsewhere_may_be_alive(tmp_path: Path, process: str) -> None:
    assert not has_ended(process, proc(tmp_path))


def test_this_process_is_alive() -> None:
    here = Holder.here()
    assert f"process {os.getpid()}" in here.name
    assert not has_ended(here.process)


def test_where_nobody_tells_of_processes_nobody_is_said_to_have_ended(tmp_path: Path) -> None:
    assert Holder.here(tmp_path).process == ""
    assert not has_ended("", tmp_path)
