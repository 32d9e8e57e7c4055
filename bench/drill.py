"""A drill as a user waits for it: from nothing to report, against what its rules ask for, and in real time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

from bench.figures import DRILLS, ROOT, Figure, UnmeasuredError, timed

PLAYBOOK = ROOT / "playbooks" / "admin-path.yaml"
SHORT = (("duration: 3m", "duration: 1m"), (", resolvesWithin: 12m", ""), ("within: 4m", "within: 3m"))
POLL = 0.25  # seconds between two looks at Prometheus
HOLD, DETECT = 150.0, 90.0  # playbook seconds: `for` + S + E of the slowest rule at rest, and of the expected one
BUSY_SECONDS = 20.0
SEEN = ("firing", "at Alertmanager", "notified")


def drill() -> Iterator[Figure]:
    """The shipped playbook from nothing, then a shorter one on a lab that is up."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "whole"
        command = [DRILLS, "run", str(PLAYBOOK), "--lab", "--out", str(out)]
        whole = timed(command, environment=os.environ | {"DRILLS_LAB": f"bench-{os.getpid()}"})
        floor = _times(out)
        yield Figure(
            "admin-path from nothing to report, K = 15", whole, floor, "its phases, by the playbook", "s", limit=60
        )
        yield Figure("firing until the tool sees it", _seen_after(out), POLL, "one poll", "s", limit=0.5)
        yield from _short(Path(folder))


def real_time() -> Iterator[Figure]:
    """The short drill at K = 1 against K = 15; takes five minutes."""
    with tempfile.TemporaryDirectory() as folder:
        slow, fast = (_on_lab(k, Path(folder)) for k in (1, 15))
        yield Figure("short drill on a lab that is up, K = 1", slow, HOLD + DETECT, "baseline + for + S + E", "s")
        yield Figure("short drill at K = 1 against K = 15", slow, fast, "K = 15", "s")


def busy() -> Iterator[Figure]:
    """Both cores busy: does Prometheus still evaluate every second?"""
    with _lab(15) as status, _load():
        before = _iterations(status["prometheus"])
        time.sleep(BUSY_SECONDS)
        after = _iterations(status["prometheus"])
    missed, made = (later - earlier for earlier, later in zip(before, after, strict=True))
    yield Figure("evaluations missed with both cores busy", missed, made, "evaluations made", "", limit=0)


def _short(folder: Path) -> Iterator[Figure]:
    wall = _on_lab(15, folder)
    yield Figure("short drill on a lab that is up, K = 15", wall, (HOLD + DETECT) / 15, "baseline + for + S + E", "s")


def _on_lab(k: int, folder: Path) -> float:
    text = PLAYBOOK.read_text()
    for old, new in SHORT:
        text = text.replace(old, new)
    path = folder / "short.yaml"
    path.write_text(text)
    with _lab(k) as status:
        environment = os.environ | {"DRILLS_LAB": status["name"]}
        return timed([DRILLS, "run", str(path), "--lab", "--out", str(folder / f"k{k}")], environment=environment)


@contextmanager
def _lab(k: int) -> Iterator[Mapping[str, Any]]:
    environment = os.environ | {"DRILLS_LAB": f"bench-{os.getpid()}-k{k}"}
    try:
        timed([DRILLS, "lab", "up", "--time-lapse", str(k)], environment=environment)
        command = [DRILLS, "lab", "status", "--format", "json"]
        yield json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    finally:
        subprocess.run([DRILLS, "lab", "down"], env=environment, capture_output=True, check=False)


@contextmanager
def _load() -> Iterator[None]:
    command = [
        sys.executable,
        "-c",
        f"import time\nend = time.time() + {BUSY_SECONDS + 30}\nwhile time.time() < end: pass",
    ]
    loops = [subprocess.Popen(command) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _times(out: Path) -> float:
    """Wall seconds that the playbook's own times take: hold still, attack, and the alert's way back to rest."""
    (drill,) = json.loads((out / "result.json").read_text())["drills"]
    resolved = datetime.fromisoformat(drill["alerts"][0]["resolvedAt"])
    return HOLD / 15 + (resolved - datetime.fromisoformat(drill["firstAttemptAt"])).total_seconds()


def _seen_after(out: Path) -> float:
    (drill,) = json.loads((out / "result.json").read_text())["drills"]
    firing = datetime.fromisoformat(drill["alerts"][0]["firingAt"])
    for line in (out / "journal.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "alert" and entry["stage"] in SEEN:
            return (datetime.fromisoformat(entry["at"]) - firing).total_seconds()
    raise UnmeasuredError("the journal has no alert that fired")


def _iterations(prometheus: str) -> tuple[float, float]:
    text = requests.get(f"{prometheus}/metrics", timeout=5).text
    missed, made = (
        sum(float(value) for value in re.findall(rf"^prometheus_rule_group_iterations_{what}{{.*}} (\S+)$", text, re.M))
        for what in ("missed_total", "total")
    )
    return missed, made
