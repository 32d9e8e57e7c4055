"""Findings as GitHub's workflow commands, which show up beside the lines of a pull request.

The syntax is that of GitHub's "Workflow commands for GitHub Actions": properties escape ``%``, line ends, ``:`` and
``,``; the message escapes ``%`` and line ends.
"""

from __future__ import annotations

from collections.abc import Sequence

from drills.check.finding import Finding, Level

_COMMANDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}


def render(findings: Sequence[Finding]) -> str:
    """A line for each finding."""
    return "".join(_command(each) + "\n" for each in findings)


def _command(finding: Finding) -> str:
    place = finding.place
    properties = {"file": str(place.file), "line": place.line, "col": place.column, "title": finding.rule}
    said = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items())
    text = f"{finding.message}\nEffect: {finding.effect}\nFix: {finding.fix}"
    return f"::{_COMMANDS[finding.level]} {said}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
