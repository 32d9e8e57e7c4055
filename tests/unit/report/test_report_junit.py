"""``junit.xml``, read again by junitparser as a CI would."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import report_factory as factory
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from drills.engine.result import Control, Quiet, Recovery, Result
from drills.report.junit import junit_xml

CASES = ["enforcement", "control", "alert CiliumHTTPRequestsDenied", "quiet CiliumNodePathBroken", "recovery"]


def read(result: Result) -> list[TestSuite]:
    return list(JUnitXml.fromstring(junit_xml(result).encode()))


def outcome(case: TestCase) -> str:
    if not case.result:
        return "ok"
    (only,) = case.result
    return {Failure: "failure", Error: "error", Skipped: "skipped"}[type(only)]


@pytest.mark.parametrize(
    ("make", "outcomes"),
    [
        (factory.passed, ["ok", "ok", "ok", "ok", "ok"]),
        (factory.breach, ["failure", "ok", "skipped", "ok", "ok"]),
        (factory.inconclusive, ["error", "error", "skipped", "ok", "ok"]),
        (factory.miss, ["ok", "ok", "failure", "ok", "ok"]),
    ],
)
def test_a_case_for_each_aspect(make: Callable[[], Result], outcomes: list[str]) -> None:
    (suite,) = read(make())
    assert suite.name == "admin-path"
    assert [case.name for case in suite] == CASES
    assert {case.classname for case in suite} == {"zero-trust.admin-path"}
    assert [outcome(case) for case in suite] == outcomes
    assert (suite.tests, suite.failures) == (5, outcomes.count("failure"))
    assert (suite.errors, suite.skipped) == (outcomes.count("error"), outcomes.count("skipped"))


def test_an_aborted_drill_is_never_green() -> None:
    (suite,) = read(factory.aborted())
    assert [(case.name, outcome(case)) for case in suite][-1] == ("run", "error")


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"control": Control(verdict="flapping", attempts=9, succeeded=6)}, "control", "error"),
        ({"quiet": [Quiet(name="Q", verdict="noisy")]}, "quiet Q", "failure"),
        ({"quiet": [Quiet(name="Q", verdict="not-judged", reason="x")]}, "quiet Q", "skipped"),
        ({"recovery": Recovery(verdict="not-restored", seconds=None)}, "recovery", "failure"),
        ({"recovery": Recovery(verdict="not-verified", seconds=None)}, "recovery", "error"),
        ({"recovery": Recovery(verdict="self-healed", seconds=None)}, "recovery", "ok"),
    ],
)
def test_every_other_verdict_is_mapped(changes: dict[str, object], name: str, expected: str) -> None:
    (suite,) = read(factory.result(factory.drill(**changes)))  # type: ignore[arg-type]
    assert {case.name: outcome(case) for case in suite}[name] == expected


@pytest.mark.parametrize("resolution", ["too-late", "not-resolved"])
def test_a_detected_alert_that_does_not_resolve_is_a_failure(resolution: str) -> None:
    alert = factory.detected().model_copy(update={"resolution": resolution})
    (suite,) = read(factory.result(factory.drill("failed", alerts=[alert])))
    (failure,) = {case.name: case for case in suite}[CASES[2]].result
    assert failure.type == resolution
    assert failure.message.startswith(f"{resolution}: detected, {resolution}")


def test_why_it_failed_and_when_are_told() -> None:
    (suite,) = read(factory.miss())
    (failure,) = {case.name: case for case in suite}[CASES[2]].result
    assert failure.message.startswith("missed: no-series: cilium_policy_l7_denied_total has no series")
    assert suite.timestamp == "2026-03-01T20:48:00"
    assert {case.name: case.time for case in read(factory.passed())[0]} == {
        "enforcement": 12.0,
        "control": 12.0,
        CASES[2]: 8.0,
        CASES[3]: None,
        "recovery": 0.027,
    }


def test_text_of_the_cluster_cannot_break_the_document() -> None:
    (suite,) = read(factory.hostile())
    assert "\\x1b[2J" in suite.name
    assert (suite.failures, suite.errors) == (4, 1)
