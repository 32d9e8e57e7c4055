"""The command as a user runs it, on real labs of the tests' own: never the user's lab, never mocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture
def drills(tmp_path: Path) -> Drills:
    """The command, with no lab up."""
    return drills_of(f"e2e-{os.getpid()}", tmp_path)


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


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for the tests of a module; each puts back what it changes."""
    drills = drills_of(f"e2e-shared-{os.getpid()}", tmp_path_factory.mktemp("shared"))
    up = drills("lab", "up", "--time-lapse", str(K))
    assert up.status == 0, up.err
    try:
        yield Lab(drills, Path(up.out.splitlines()[-1]))
    finally:
        drills("lab", "down")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped playbook, made shorter: one minute of attack, and no waiting for the alert to resolve."""
    text = SHIPPED.read_text()
    for old, new in (("duration: 3m", "duration: 1m"), (", resolvesWithin: 12m", ""), ("within: 4m", "within: 3m")):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("playbook") / "short.yaml"
    path.write_text(text)
    return path
