"""Checks as the command runs them, on a text in place of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drills.check import checks, reading
from drills.check.finding import Finding
from drills.check.world import Options


def found(tmp_path: Path, text: str, **options: Any) -> list[Finding]:
    """The findings in a text of one or more documents."""
    file = tmp_path / "given.yaml"
    file.write_text(text)
    return checks.findings(reading.read([file], Options(**options)))


def names(findings: Sequence[Finding]) -> list[str]:
    """Their rules, each once, in alphabetical order."""
    return sorted({each.rule for each in findings})
