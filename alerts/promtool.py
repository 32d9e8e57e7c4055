"""promtool, the judge: whether Prometheus would load a rule, in Prometheus's own words."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
