"""The game day as a whole: from nothing to report, and against the drills that must run one after another anyway."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.figures import DRILLS, ROOT, Figure, UnmeasuredError, timed

PLAYBOOK = ROOT / "playbooks" / "zero-trust.yaml"
LIMIT, LIMIT_OF_CHAIN = 150.0, 1.3


def game_day() -> Iterator[Figure]:
    """All drills on a lab of their own, then only the longest chain of them on another; takes four minutes."""
    with tempfile.TemporaryDirectory() as folder:
        whole, chain = Path(folder) / "whole", Path(folder) / "chain"
        took = _run(whole)
        order = _schedule(whole)
        yield Figure(
            "game day from nothing to report, K = 15",
            took,
            order["seconds"],
            "its plan, by the rules",
            "s",
            limit=LIMIT,
        )
        _run(chain, *(word for name in order["chain"] for word in ("--only", name)))
        yield Figure(
            f"game day, {len(order['order'])} drills",
            _seconds(whole),
            _seconds(chain),
            f"its longest chain, {len(order['chain'])} drills",
            "s",
            limit=LIMIT_OF_CHAIN,
            limit_is_ratio=True,
        )


def _run(out: Path, *more: str) -> float:
    environment = os.environ | {"DRILLS_LAB": f"bench-{os.getpid()}-day"}
    return timed([DRILLS, "run", str(PLAYBOOK), "--lab", "--out", str(out), *more], environment=environment)


def _schedule(out: Path) -> dict[str, Any]:
    for line in (out / "journal.jsonl").read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["event"] == "schedule":
            return entry
    raise UnmeasuredError("the journal has no schedule")


def _seconds(out: Path) -> float:
    """Wall seconds of a run without its lab's start and end."""
    found = json.loads((out / "result.json").read_text())
    began, ended = (datetime.fromisoformat(found[key]) for key in ("startedAt", "finishedAt"))
    return (ended - began).total_seconds()
