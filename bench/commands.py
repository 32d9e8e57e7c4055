"""What a developer waits for many times a day: the command's start, and the unit tests."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures import DRILLS, PYTHON, Figure, interleaved, timed, with_bytecode

RUNS = 15


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
