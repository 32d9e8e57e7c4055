"""Ctrl-C in mid-attack: the attack stops, everything is put back, what was seen is reported, exit 4."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import BIN, SHIPPED, Drills, Lab

pytestmark = pytest.mark.lab


def start(drills: Drills, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [BIN / "drills", "run", SHIPPED, "--lab", "--out", out, *more]
    return subprocess.Popen(
        command,
        env=drills.environment,
        cwd=drills.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f"{words!r} never came")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_stops_undoes_and_reports(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    process = start(lab.drills, tmp_path)
    until(process, "attack ")

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 4, err
    assert "Traceback" not in err
    result = lab.drills.result(tmp_path)
    (drill,) = result["drills"]
    assert (result["verdict"], drill["verdict"]) == ("aborted", "aborted")
    assert number.name in drill["reasons"][0]
    assert 0 < drill["enforcement"]["attempts"] < drill["enforcement"]["planned"]
    (quiet,) = drill["quiet"]
    assert quiet["verdict"] == "not-judged"
    assert f"the drill was stopped: interrupted by {number.name}" in quiet["reason"]
    assert f"only {drill['enforcement']['attempts']} of 900 planned attempts were made" in quiet["reason"]
    assert drill["recovery"]["verdict"] == "restored"
    assert lab.kubectl("get", "pods,configmaps", "-n", "frontend", "-o", "name").count("drill-") == 0


def test_killed_run_takes_its_lab_along(drills: Drills, tmp_path: Path) -> None:
    process = start(drills, tmp_path)
    until(process, "baseline")

    process.kill()
    process.communicate(timeout=60)

    assert drills("lab", "status").status == 3
    events = [json.loads(line)["event"] for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert "change" in events  # written before the pod was made, and still there
