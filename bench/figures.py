"""A measured figure, its floor from the same run, and the limit that the project promises."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
DRILLS = str(Path(sys.executable).with_name("drills"))


class UnmeasuredError(Exception):
    """A figure could not be taken; the text says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """``value`` and ``floor`` are in ``unit``; ``limit`` is the promise, in the same unit or in times the floor."""

    name: str
    value: float
    floor: float
    floor_name: str
    unit: str
    limit: float | None = None
    limit_is_ratio: bool = False

    @property
    def ratio(self) -> float:
        """How many times the floor."""
        return self.value / self.floor

    @property
    def kept(self) -> bool:
        """Whether the promise is kept; True without one."""
        return self.limit is None or (self.ratio if self.limit_is_ratio else self.value) <= self.limit


@contextmanager
def with_bytecode() -> Iterator[dict[str, str]]:
    """An environment in which Python keeps what it has compiled, as an installed program's is, outside of the tree."""
    with tempfile.TemporaryDirectory() as cache:
        changed = {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        yield os.environ | changed


def timed(command: Sequence[str], *, status: int = 0, environment: Mapping[str, str] | None = None) -> float:
    """Wall seconds of a command that must end with ``status``; UnmeasuredError with its last words otherwise."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != status:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-3:]
        raise UnmeasuredError(f"{' '.join(command)} ended with {done.returncode}: {' / '.join(words)}")
    return took


def interleaved(
    one: Sequence[str], other: Sequence[str], runs: int, environment: Mapping[str, str]
) -> tuple[float, float]:
    """Median wall seconds of two commands, run in turns so that a busy machine slows both; a first pair warms up."""
    pairs = [(timed(one, environment=environment), timed(other, environment=environment)) for _ in range(runs + 1)][1:]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)
