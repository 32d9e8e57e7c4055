"""promtool as the judge: which alerts are pending and firing at every evaluation of every case.

promtool only asserts. It is asked, with the expectation that there is nothing, when each series of ``ALERTS`` had its
first and its last sample and how many there were in between, and what it got instead is read from its complaints; where
a series has gaps it is asked again at every step. promtool ignores the intervals of groups and evaluates all of a test
file at one, so each trial has a file of its own; one promtool judges many files.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from alerts import promtool
from alerts.promql import quote
from drills.check.firing.series import Case, Clock
from drills.check.firing.trial import Trial
from drills.units import format_duration, parse_duration

Labels = tuple[tuple[str, str], ...]

FILES_TOGETHER: Final = 15  # of one process
_SECTION: Final = re.compile(r"^Unit Testing:  .*?(\d+)\.test\.json$", re.MULTILINE)
_GOT: Final = re.compile(r'expr: "(.*) # (\d+)", time: (\S+),\n\s*exp: .*\n\s*got: (.*)')
_RULE_FILE: Final = "RULES"
_SPAN: Final = ("min", "max", "count")
_SAMPLE: Final = re.compile(r'(?:\w*\{((?:[^}"]|"(?:[^"\\]|\\.)*")*)\}|(?<=, )|^) ?([-+0-9.eE]+|NaN|[-+]Inf)')
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class Seen:
    """What promtool saw in one case: of every label set of an alert, its state (pending, firing) at each time (ms)."""

    case: Case
    clock: Clock
    states: dict[Labels, dict[int, str]] = field(default_factory=dict)

    def firing(self, labels: Mapping[str, str]) -> list[int]:
        """The evaluations at which an alert with these labels fires."""
        return sorted({time for time, state in self._of(labels) if state == "firing"})

    def active(self, labels: Mapping[str, str]) -> list[int]:
        """The evaluations at which it is pending or fires."""
        return sorted({time for time, _ in self._of(labels)})

    def _of(self, labels: Mapping[str, str]) -> Iterator[tuple[int, str]]:
        for own, states in self.states.items():
            if labels.items() <= dict(own).items():
                yield from states.items()


@dataclass(slots=True)
class Verdict:
    """Everything that was seen of a trial, quiet first; ``error`` in promtool's own words if it could not judge."""

    trial: Trial
    seen: list[Seen] = field(default_factory=list)
    error: str | None = None


def judge(trials: Sequence[Trial]) -> list[Verdict]:
    """The verdicts of promtool, in the order of the trials. WorldError if promtool is missing."""
    found: list[Verdict] = []
    for start in range(0, len(trials), FILES_TOGETHER):
        found += _judge(trials[start : start + FILES_TOGETHER])
    return found


def evaluate(trial: Trial, case: Case, clock: Clock, expressions: Sequence[str]) -> list[dict[Labels, list[float]]]:
    """The values of expressions after the attack's start in one case: of every expression, its series' values."""
    times = [each for each in clock.evaluations if each >= clock.attack_ms]
    asked = [(text, number, times) for number, text in enumerate(expressions)]
    output = _run([(trial, [_test(trial, case, clock, asked)])])[0]
    values: list[dict[Labels, list[float]]] = [{} for _ in expressions]
    for _, number, _, samples in _GOT.findall(output):
        for labels, value in _samples(samples):
            values[int(number)].setdefault(labels, []).append(value)
    return values


def _judge(trials: Sequence[Trial]) -> list[Verdict]:
    verdicts = [Verdict(each, [Seen(*case) for case in each.cases()]) for each in trials]
    outputs = _run([(each.trial, [_spans(each.trial, *case) for case in enumerate(each.seen)]) for each in verdicts])
    broken: list[tuple[Trial, int, Seen]] = []
    for verdict, output in zip(verdicts, outputs, strict=True):
        verdict.error = _error(output)
        spans = _spans_of(output)
        for number, seen in enumerate(verdict.seen):
            if not _fill(seen, spans.get(number, {})):
                broken.append((verdict.trial, number, seen))
    asked = [(trial, [_every_step(trial, number, seen)]) for trial, number, seen in broken]
    for (_, _, seen), output in zip(broken, _run(asked), strict=True):
        _fill_steps(seen, output)
    return verdicts


def _spans(trial: Trial, number: int, seen: Seen) -> dict[str, Any]:
    whole = f"[{format_duration(seen.clock.until_ms)}:{format_duration(seen.clock.evaluation_ms)}]"
    asked = [
        (f"{function}_over_time(timestamp({_alerts(trial)}){whole})", number, [seen.clock.evaluations[-1]])
        for function in _SPAN
    ]
    return _test(trial, seen.case, seen.clock, asked)


def _every_step(trial: Trial, number: int, seen: Seen) -> dict[str, Any]:
    return _test(trial, seen.case, seen.clock, [(_alerts(trial), number, list(seen.clock.evaluations))])


def _alerts(trial: Trial) -> str:
    return f"ALERTS{{alertname={quote(trial.name)}}}"


def _spans_of(output: str) -> dict[int, dict[Labels, dict[str, float]]]:
    """Of every case, of every series of ``ALERTS``: its first and its last time (s), and how many samples it has."""
    found: dict[int, dict[Labels, dict[str, float]]] = {}
    for text, number, _, samples in _GOT.findall(output):
        for labels, value in _samples(samples):
            found.setdefault(int(number), {}).setdefault(labels, {})[text.partition("_over_time")[0]] = value
    return found


def _fill(seen: Seen, spans: Mapping[Labels, Mapping[str, float]]) -> bool:
    """Take over what the spans say; False where one has gaps."""
    step = seen.clock.evaluation_ms
    for labels, span in spans.items():
        first, last = round(span["min"] * 1000), round(span["max"] * 1000)
        if (last - first) // step + 1 != round(span["count"]):
            seen.states.clear()
            return False
        for time in range(first, last + 1, step):
            _add(seen, labels, time)
    return True


def _fill_steps(seen: Seen, output: str) -> None:
    for _, _, time, samples in _GOT.findall(output):
        for labels, _ in _samples(samples):
            _add(seen, labels, parse_duration(time))


def _add(seen: Seen, labels: Labels, time: int) -> None:
    own = {name: value for name, value in labels if name not in ("__name__", "alertstate")}
    state = dict(labels).get("alertstate", "")
    seen.states.setdefault(tuple(sorted(own.items())), {})[time] = state


def _test(trial: Trial, case: Case, clock: Clock, asked: Sequence[tuple[str, int, Sequence[int]]]) -> dict[str, Any]:
    """One test of promtool's; every question carries a number in a comment, by which its answer is known."""
    return {
        "interval": format_duration(clock.step_ms),
        "input_series": [{"series": name, "values": values} for name, values in trial.series(case, clock)],
        "promql_expr_test": [
            {"expr": f"{text} # {number}", "eval_time": format_duration(time), "exp_samples": []}
            for text, number, times in asked
            for time in times
        ],
    }


def _run(asked: Sequence[tuple[Trial, list[dict[str, Any]]]]) -> list[str]:
    """promtool's output on each trial's file; JSON is YAML, and written much faster."""
    texts = [_texts(each, tests) for each, tests in asked]
    files = {text: number for number, text in enumerate(dict.fromkeys(texts))}  # playbooks share drills: each once
    if not files:
        return []
    with tempfile.TemporaryDirectory(prefix="drills-firing-") as directory:
        for (rules, tests), number in files.items():
            (Path(directory) / f"{number}.rules.json").write_text(rules)
            (Path(directory) / f"{number}.test.json").write_text(tests.replace(_RULE_FILE, f"{number}.rules.json", 1))
        names = [f"{each}.test.json" for each in files.values()]
        done = promtool.run("test", "rules", *names, cwd=Path(directory))
    parts = _SECTION.split(done.stdout)
    outputs = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    return [outputs.get(files[text], "") for text in texts]


def _texts(trial: Trial, tests: list[dict[str, Any]]) -> tuple[str, str]:
    """A rule file and a test file; the test file does not yet name the rule file."""
    data = {
        "rule_files": [_RULE_FILE],
        "evaluation_interval": format_duration(trial.evaluation_ms),
        "tests": tests,
    }
    return json.dumps({"groups": [trial.group()]}), json.dumps(data)


def _error(output: str) -> str | None:
    """What promtool says where it could not judge; None where it could."""
    if ", err: " in output or ("FAILED" in output and not _GOT.search(output)):
        return " ".join(output.replace("FAILED:", "").split())
    return None


def _samples(text: str) -> Iterator[tuple[Labels, float]]:
    """The samples of a line such as ``{a="b"} 1E+00, {a="c"} 2E+00``."""
    for inside, value in _SAMPLE.findall(text):
        yield labels_of(inside), float(value)


def labels_of(text: str) -> Labels:
    """The labels of a series as promtool writes it."""
    return tuple((name, json.loads(f'"{value}"')) for name, value in _LABEL.findall(text))
