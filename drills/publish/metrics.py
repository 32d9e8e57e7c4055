"""A result as Prometheus metrics: what an alert on the drills themselves is written against.

Names and labels are a contract: `deploy/` ships rules and a dashboard that read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Gauge

from drills.engine.result import Result, Verdict

VERDICTS: tuple[str, ...] = get_args(Verdict)


def registry_of(results: Sequence[Result]) -> CollectorRegistry:
    """Every metric of the runs. ``drills_last_success_timestamp_seconds`` is there only for a run that passed."""
    registry = CollectorRegistry()
    _of_drills(registry, results)
    run = _gauge(registry, "drills_run_verdict", "1 for the run's verdict, 0 for the others.", "verdict")
    took = _gauge(registry, "drills_run_seconds", "How long the run took, on the wall.")
    last = _gauge(registry, "drills_last_run_timestamp_seconds", "When the last run ended.")
    success = _gauge(registry, "drills_last_success_timestamp_seconds", "When the last run that passed ended.")
    for result in results:
        for each in VERDICTS:
            run.labels(result.playbook, each).set(result.verdict == each)
        took.labels(result.playbook).set((result.finished_at - result.started_at).total_seconds())
        last.labels(result.playbook).set(result.finished_at.timestamp())
        if result.verdict == "passed":
            success.labels(result.playbook).set(result.finished_at.timestamp())
    return registry


def _of_drills(registry: CollectorRegistry, results: Sequence[Result]) -> None:
    verdict = _gauge(registry, "drills_verdict", "1 for a drill's verdict, 0 for the others.", "drill", "verdict")
    detection = _gauge(registry, "drills_detection_seconds", "From the first attempt to firing.", "drill", "alert")
    attempts = _gauge(registry, "drills_attempts", "Attempts of the attack, by outcome.", "drill", "outcome")
    for result in results:
        for drill in result.drills:
            for each in VERDICTS:
                verdict.labels(result.playbook, drill.name, each).set(drill.verdict == each)
            for alert in drill.alerts:
                if alert.detection_seconds is not None:
                    detection.labels(result.playbook, drill.name, alert.name).set(alert.detection_seconds)
            for outcome, count in drill.enforcement.outcomes.items():
                attempts.labels(result.playbook, drill.name, outcome).set(count)


def _gauge(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, ("playbook", *labels), registry=registry)
