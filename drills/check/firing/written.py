"""``--write-tests``: what was tried, left as unit tests that ``promtool test rules`` runs by itself.

A test file for every alert of every drill, with its rules beside it, asserting at every evaluation, with the attack
and without, what promtool has just shown. Only trials without a finding are written: a test that asserts a mistake
would keep it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from alerts import promtool
from drills.check.firing.judge import Seen, Verdict
from drills.check.firing.trial import Trial
from drills.check.reading import WRITTEN, is_written
from drills.errors import InputError
from drills.units import format_duration

_UNFIT: Final = re.compile(r"[^A-Za-z0-9_-]+")


def write(verdicts: Sequence[Verdict], directory: Path) -> list[Path]:
    """Write the tests of these verdicts; the test files. InputError rather than overwrite somebody else's file."""
    files: dict[Path, str] = {}
    tests: list[Path] = []
    for verdict in verdicts:
        stem = _stem(verdict.trial)
        rules, test = directory / f"{stem}.rules.yaml", directory / f"{stem}.test.yaml"
        files[rules] = f"{WRITTEN}\n{promtool.dump([verdict.trial.group()])}"
        files[test] = "\n".join(_test_file(verdict, rules.name)) + "\n"
        tests.append(test)
    for path in files:
        if path.exists() and not is_written(path):
            raise InputError(
                f"{path} was not written by drills check --write-tests and is left as it is: give another DIR."
            )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            path.write_text(text)
    except OSError as error:
        raise InputError(f"{directory} cannot be written to: {error.strerror or error}") from error
    return tests


def _stem(trial: Trial) -> str:
    kind = "quiet" if trial.expected is None else "alerts"
    parts = (trial.loaded.playbook.name, trial.drill.name, f"{kind}{trial.position + 1}", trial.name)
    return ".".join(_UNFIT.sub("-", each) for each in parts)


def _test_file(verdict: Verdict, rules: str) -> Iterator[str]:
    trial = verdict.trial
    yield WRITTEN
    yield f"# The drill {trial.drill.name} of the playbook {trial.loaded.playbook.name}: {trial.name}."
    yield f"rule_files: [{json.dumps(rules)}]"
    yield f"evaluation_interval: {format_duration(trial.evaluation_ms)}"
    yield "tests:"
    for seen in verdict.seen:
        yield from _test(trial, seen)


def _test(trial: Trial, seen: Seen) -> Iterator[str]:
    yield f"- name: {json.dumps(seen.case.title)}"
    yield f"  # the attack begins at {format_duration(seen.clock.attack_ms)}"
    yield f"  interval: {format_duration(seen.clock.step_ms)}"
    yield "  input_series:"
    for name, values in trial.series(seen.case, seen.clock):
        yield f"  - series: {json.dumps(name)}"
        yield f"    values: {json.dumps(values)}"
    yield "  alert_rule_test:"
    for time in seen.clock.evaluations:
        firing = [dict(labels) for labels, states in seen.states.items() if states.get(time) == "firing"]
        expected = json.dumps([{"exp_labels": _without_name(each)} for each in firing])
        at = format_duration(time)
        yield f"  - {{eval_time: {at}, alertname: {json.dumps(trial.name)}, exp_alerts: {expected}}}"


def _without_name(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "alertname"}
