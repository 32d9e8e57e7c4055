"""A result as metrics: every verdict has its series, and a failure leaves the time of the last success alone."""

from __future__ import annotations

from prometheus_client import generate_latest
from report_factory import miss, passed

from drills.engine.result import Result
from drills.publish.metrics import registry_of


def lines(*results: Result) -> set[str]:
    return set(generate_latest(registry_of(results)).decode().splitlines())


def test_a_drill_has_one_verdict_and_a_series_for_each_other() -> None:
    told = lines(passed())
    assert 'drills_verdict{drill="admin-path",playbook="zero-trust",verdict="passed"} 1.0' in told
    others = {line for line in told if line.startswith("drills_verdict") and line.endswith(" 0.0")}
    assert len(others) == 3 * len(passed().drills)


def test_detection_is_there_only_where_the_alert_came() -> None:
    assert any(line.startswith("drills_detection_seconds{") for line in lines(passed()))
    missed = [alert for drill in miss().drills for alert in drill.alerts if alert.detection_seconds is None]
    assert missed
    told = lines(miss())
    assert not any(line.startswith("drills_detection_seconds{") and missed[0].name in line for line in told)


def test_only_a_run_that_passed_has_a_last_success() -> None:
    def successes(told: set[str]) -> list[str]:
        return [line for line in told if line.startswith("drills_last_success_timestamp_seconds{")]

    assert len(successes(lines(passed()))) == 1
    assert successes(lines(miss())) == []
    assert any(line.startswith("drills_last_run_timestamp_seconds{") for line in lines(miss()))
