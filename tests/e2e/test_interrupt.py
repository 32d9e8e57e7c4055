"""Ctrl-C in mid-attack: the attack stops, everything is put back, what was seen is reported, exit 4."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from command import BIN, SHIPPED, Drills, Lab

from drills.engine.drill import PROOF_SECONDS

pytestmark = pytest.mark.lab

SLOWLY = ("--time-lapse", "3")  # a scrape every 5 seconds
SLACK = 5.0  # seconds, for a machine that is busy


def start(drills: Drills, out: Path, *more: str, playbook: Path = SHIPPED) -> subprocess.Popen[str]:
    command = [BIN / "drills", "run", playbook, "--lab", "--out", out, *more]
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


def test_first_signal_stops_undoes_and_reports(lab: Lab, tmp_path: Path) -> None:
    process = start(lab.drills, tmp_path)
    until(process, "attack ")

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 4, err
    assert "Traceback" not in err
    result = lab.drills.result(tmp_path)
    (drill,) = result["drills"]
    assert (result["verdict"], drill["verdict"]) == ("aborted", "aborted")
    assert "SIGINT" in drill["reasons"][0]
    assert 0 < drill["enforcement"]["attempts"] < drill["enforcement"]["planned"]
    (quiet,) = drill["quiet"]
    assert quiet["verdict"] == "not-judged"
    assert "the drill was stopped: interrupted by SIGINT" in quiet["reason"]
    assert f"only {drill['enforcement']['attempts']} of 900 planned attempts were made" in quiet["reason"]
    assert drill["recovery"]["verdict"] == "restored"
    assert lab.kubectl("get", "pods,configmaps", "-n", "frontend", "-o", "name").count("drill-") == 0
    assert undone_before_the_proof(journal(tmp_path))


def test_a_slow_scrape_does_not_keep_a_stopped_run(drills: Drills, tmp_path: Path) -> None:
    """Two scrapes may pass until the counter tells of the attack: a node that is drained does not wait for them."""
    playbook = tmp_path / "playbook.yaml"
    head, _, _ = SHIPPED.read_text().partition("      alerts:")
    playbook.write_text(head)
    process = start(drills, tmp_path / "out", *SLOWLY, playbook=playbook)
    until(process, "attack ")

    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 4, err
    (drill,) = drills.result(tmp_path / "out")["drills"]
    assert (drill["verdict"], drill["recovery"]["verdict"]) == ("aborted", "restored")
    assert "SIGTERM" in drill["reasons"][0]
    events = journal(tmp_path / "out")
    assert undone_before_the_proof(events)
    at = {one["event"]: datetime.fromisoformat(one["at"]) for one in events}
    assert (at["evidence"] - at["undone"]).total_seconds() < PROOF_SECONDS + SLACK


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]


def undone_before_the_proof(events: list[dict[str, Any]]) -> bool:
    order = [one["event"] for one in events if one["event"] in ("undone", "evidence")]
    return order[-1:] == ["evidence"] and order.count("evidence") == 1 and "undone" in order


def test_killed_run_takes_its_lab_along(drills: Drills, tmp_path: Path) -> None:
    process = start(drills, tmp_path)
    until(process, "baseline")

    process.kill()
    process.communicate(timeout=60)

    assert drills("lab", "status").status == 3
    assert "change" in [one["event"] for one in journal(tmp_path)]  # written before the pod was made, and still there
