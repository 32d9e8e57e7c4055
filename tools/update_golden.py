#!/usr/bin/env python3
"""The golden cases of ``drills check``: a folder with input.yaml, and expected.txt, which is what the command prints.

A file ``arguments`` beside them holds further arguments. ``python -m tools.update_golden [CASE...]`` writes what the
command prints today; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from click.testing import CliRunner

from drills.check.output.text import source_lines
from drills.cli import cli

GOLDEN = Path(__file__).parent.parent / "tests/unit/check/golden"
EXPECTED = "expected.txt"


def cases() -> list[str]:
    """The names of the cases."""
    return sorted(each.parent.name for each in GOLDEN.glob("*/input.yaml"))


def printed(case: str) -> str:
    """What ``drills check input.yaml`` prints in the case's folder, and its exit status."""
    folder = GOLDEN / case
    more = folder / "arguments"
    arguments = more.read_text().split() if more.exists() else []
    source_lines.cache_clear()  # another case's input.yaml
    with contextlib.chdir(folder):
        result = CliRunner().invoke(cli, ["check", "input.yaml", *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return f"{result.stdout}exit {result.return_value}\n"


def main(wanted: list[str]) -> None:
    """Write the expected output of the cases; of all where none is named."""
    for case in wanted or cases():
        (GOLDEN / case / EXPECTED).write_text(printed(case))


if __name__ == "__main__":
    main(sys.argv[1:])
