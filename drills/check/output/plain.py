"""Findings as JSON: the contract of ``drills check --format json``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from drills.check.finding import Finding


def render(findings: Sequence[Finding]) -> str:
    """A list; empty where nothing is wrong."""
    return json.dumps([_finding(each) for each in findings], indent=2, ensure_ascii=False) + "\n"


def _finding(finding: Finding) -> dict[str, str | int]:
    return {
        "rule": finding.rule,
        "level": str(finding.level),
        "file": str(finding.place.file),
        "line": finding.place.line,
        "column": finding.place.column,
        "message": finding.message,
        "effect": finding.effect,
        "fix": finding.fix,
    }
