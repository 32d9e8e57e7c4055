"""Findings as SARIF 2.1.0 (OASIS), which code hosts and editors read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from drills import __version__
from drills.check.finding import Finding, Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(findings: Sequence[Finding]) -> str:
    """One run of one tool, with the documentation of every rule that was broken."""
    from drills.check.checks import RULES  # noqa: PLC0415 - the checks import nothing of the output

    broken = sorted({each.rule for each in findings})
    rules = [RULES[name] for name in broken]
    run = {
        "tool": {
            "driver": {
                "name": "drills",
                "semanticVersion": __version__,
                "rules": [_rule(each) for each in rules],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(each, broken.index(each.rule)) for each in findings],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "name": "".join(part.capitalize() for part in rule.name.replace("/", "-").split("-")),
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.problem},
        "help": {"text": f"{rule.problem}\n\nEffect: {rule.effect}\n\nFix: {rule.fix}\n\nSource: {rule.source}"},
        "defaultConfiguration": {"level": str(rule.level)},
    }


def _result(finding: Finding, index: int) -> dict[str, Any]:
    region = {
        "startLine": finding.place.line,
        "startColumn": finding.place.column,
        "endColumn": finding.place.column + finding.span,
    }
    location = {"artifactLocation": {"uri": _uri(finding.place.file)}, "region": region}
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": str(finding.level),
        "message": {"text": f"{finding.message}\nEffect: {finding.effect}\nFix: {finding.fix}"},
        "locations": [{"physicalLocation": location}],
    }


def _uri(file: Path | str) -> str:
    """Relative where the file lies below the working directory: code hosts want it so."""
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
