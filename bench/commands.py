"""What a developer waits for: the command's start and the unit tests many times a day, the lie matrix once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from junitparser import JUnitXml

from bench.figures import DRILLS, PYTHON, ROOT, Figure, interleaved, timed, with_bytecode

RUNS = 15
LIES = sorted((ROOT / "tests" / "e2e").glob("test_lies_*.py"))


def start() -> Iterator[Figure]:
    """``drills --help`` against an empty Python program."""
    with with_bytecode() as environment:
        value, floor = interleaved([DRILLS, "--help"], [PYTHON, "-c", "pass"], RUNS, environment)
    yield Figure(f"drills --help (median of {RUNS})", value, floor, "python -c pass", "s", limit=8, limit_is_ratio=True)


def unit_tests() -> Iterator[Figure]:
    """All unit tests as ``make unit`` runs them; finding and importing them without running any is the floor."""
    pytest = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit"]
    with with_bytecode() as environment:
        timed([*pytest, "--collect-only"], environment=environment)
        floor = timed([*pytest, "--collect-only"], environment=environment)
        value = timed([*pytest, "-n", "2"], environment=environment)
    yield Figure("unit tests", value, floor, "collecting them", "s", limit=15)


def lies() -> Iterator[Figure]:
    """The lie matrix as ``make test`` runs it, on labs of its own; what its longest file took in the same run is the
    floor.
    """
    with with_bytecode() as environment, tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        pytest = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
        value = timed([*pytest, f"--junitxml={report}", *map(str, LIES)], environment=environment)
        took: dict[str, float] = {}
        for case in (case for suite in JUnitXml.fromfile(str(report)) for case in suite):
            took[case.classname] = took.get(case.classname, 0.0) + case.time
    longest, floor = max(took.items(), key=lambda one: one[1])
    yield Figure("lie matrix", value, floor, longest.rpartition(".")[2], "s", limit=240)
