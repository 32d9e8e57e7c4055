"""Many expressions judged in one run of the check: promtool takes longer to start than to judge a thousand rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drills.check import checks, reading
from drills.check.finding import Finding
from drills.check.world import Options

_LINES = 5  # of a rule


def judged(directory: Path, expressions: Sequence[str], *, wait: str = "1m", **options: Any) -> list[list[Finding]]:
    """The findings of each expression, as the alert of a group of its own."""
    lines = []
    for number, expr in enumerate(expressions):
        lines += [
            f"- name: g{number}",
            "  rules:",
            f"  - alert: A{number}",
            f"    expr: {json.dumps(expr, ensure_ascii=False)}",
            f"    for: {wait}",
        ]
    file = directory / "rules.yaml"
    file.write_text("groups:\n" + "\n".join(lines) + "\n")
    made: list[list[Finding]] = [[] for _ in expressions]
    for finding in checks.findings(reading.read([file], Options(**options))):
        made[(finding.place.line - 2) // _LINES].append(finding)
    return made


def said(findings: Sequence[Finding]) -> Mapping[str, str]:
    """Rule and level of each finding."""
    return {each.rule: str(each.level) for each in findings}
