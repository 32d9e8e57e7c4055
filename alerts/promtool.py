"""promtool, the judge: whether Prometheus would load a rule, in Prometheus's own words."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from alerts.rulefile import Group, Refusal, single_rules
from drills.errors import WorldError

_SECONDS = 20.0  # a check takes 0.04 s; this is for a machine in trouble
_SECTION = re.compile(r"^Checking .*/(\d+)\.yaml$", re.MULTILINE)


def broken_rules(groups: Sequence[Group]) -> list[Refusal]:
    """The rules that Prometheus would refuse; empty if it would load the groups as they are."""
    whole = check_rules([groups])[0]
    if not whole:
        return []
    singles = single_rules(groups)
    found = check_rules([alone for _, alone in singles])
    refused = [replace(refusal, reason=text) for (refusal, _), text in zip(singles, found, strict=True) if text]
    return refused or [replace(refusal, reason=whole) for refusal, _ in singles]  # broken together: all go


def check_rules(files: Sequence[Sequence[Group]]) -> list[str]:
    """What promtool says against each rule file; empty text for a good one. WorldError if promtool is missing."""
    if not files:
        return []
    with tempfile.TemporaryDirectory(prefix="drills-rules-") as directory:
        paths = []
        for number, groups in enumerate(files):
            path = Path(directory) / f"{number}.yaml"
            path.write_text(dump(groups))
            paths.append(str(path))
        done = run("check", "rules", *paths)
        return _by_file(done.stdout, directory, len(files))


@dataclass(frozen=True, slots=True)
class Complaint:
    """What promtool says against one rule; the numbers of group and rule count from 0."""

    group: int
    rule: int
    reason: str
    line: int = 0  # in the expression, from 1; 0 where it is about something else
    column: int = 0


def complaints(files: Sequence[Sequence[Group]], directory: Path) -> list[list[Complaint] | str]:
    """What promtool says against each rule of each file; its whole text where it refuses a file as such.

    One process for all: it takes 0.05 s to start and 0.25 ms for a rule. The groups' names do not matter here.
    """
    paths = []
    for number, groups in enumerate(files):
        named = [{**group, "name": str(index)} for index, group in enumerate(groups)]
        path = directory / f"{number}.yaml"
        path.write_text(_json({"groups": named}), encoding="utf-8")
        paths.append(path.name)
    done = run("check", "rules", "--lint=none", *paths, cwd=directory)
    said: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        number_of, _, text = line.strip().partition(".yaml: ")
        if text and number_of.isdigit():
            said.setdefault(int(number_of), []).append(text)
        elif said and line.strip() and not line.lstrip().startswith(("FAILED", "SUCCESS", "Checking")):
            said[max(said)][-1] += " " + line.strip()
    return [_complaints(said.get(number, [])) for number in range(len(files))]


_COMPLAINT = re.compile(
    r'(?:\d+:\d+: )*group "(?P<group>\d+)", rule (?P<rule>\d+), (?P<name>"(?:\\.|[^"\\])*"): (?P<text>.*)', re.S
)
_AT = re.compile(r"could not parse expression: (?P<line>\d+):(?P<column>\d+): (?:parse error: )?")


def _complaints(lines: Sequence[str]) -> list[Complaint] | str:
    found = []
    for match in map(_COMPLAINT.fullmatch, lines):
        if match is not None:
            at = _AT.match(match["text"])
            place = (int(at["line"]), int(at["column"])) if at else (0, 0)
            reason = match["text"][at.end() :] if at else match["text"]
            found.append(Complaint(int(match["group"]), int(match["rule"]) - 1, reason, *place))
    return found if found or not lines else " ".join(lines)


_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def _json(data: Any) -> str:
    """JSON as Go's YAML reader takes it: what it calls unprintable is escaped."""
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(data, ensure_ascii=False))


@cache
def version() -> str:
    """``promtool 2.42.0``; without the number where it does not tell. WorldError if promtool is missing."""
    found = re.search(r"version (\d[\w.-]*)", run("--version").stdout)
    return f"promtool {found[1]}" if found else "promtool"


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool; standard output and error together, in the order in which they were written."""
    try:
        return subprocess.run(
            ["promtool", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise WorldError("promtool is missing: install Prometheus (Debian: apt install prometheus)") from error
    except subprocess.TimeoutExpired as error:
        raise WorldError(f"promtool did not answer within {_SECONDS:g} s") from error


def dump(groups: Sequence[Group]) -> str:
    """The text of a rule file."""
    return yaml.safe_dump({"groups": list(groups)}, sort_keys=False, width=1000)


def _by_file(output: str, directory: str, count: int) -> list[str]:
    texts = [""] * count
    parts = _SECTION.split(output)
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        if "SUCCESS" not in text:
            lines = (line.strip().replace(f"{directory}/{number}.yaml: ", "") for line in text.splitlines())
            texts[int(number)] = " ".join(line for line in lines if line and line != "FAILED:")
    return texts
