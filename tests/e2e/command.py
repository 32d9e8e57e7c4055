"""The command as a user runs it, and a lab that it has brought up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHIPPED = ROOT / "playbooks" / "admin-path.yaml"
K = 30  # the shared lab's time-lapse


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Drills:
    """The command ``drills`` with an environment of its own."""

    environment: dict[str, str]
    folder: Path

    def __call__(self, *arguments: str | Path, seconds: float = 180) -> Ended:
        done = subprocess.run(
            [BIN / "drills", *map(str, arguments)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def result(self, out: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((out / "result.json").read_text())
        return found


def drills_of(name: str, folder: Path) -> Drills:
    """A command that sees only the lab ``name`` and keeps its state in ``folder``."""
    environment = {**os.environ, "DRILLS_LAB": name, "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}
    return Drills(environment, folder)


@dataclass(frozen=True)
class Lab:
    """A lab that is up, and kubectl for it."""

    drills: Drills
    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [BIN / "kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
