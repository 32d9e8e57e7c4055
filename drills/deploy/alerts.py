"""The alerts that watch the drills: one failed, one could not judge, or none has run.

What they read is what a run publishes: ``drills_verdict{playbook,drill,verdict}`` 1 for the last verdict of each drill,
and ``drills_last_run_timestamp_seconds{playbook}``.
"""

from __future__ import annotations

import math

from drills.deploy.cron import longest_gap
from drills.deploy.settings import METRICS, Obj, Settings, labels_of, obj, title
from drills.units import format_duration


def prometheus_rule(playbook: str, schedule: str | None, settings: Settings) -> Obj:
    """The rules of one playbook; without a schedule nothing is overdue."""
    rules = [_failed(playbook), _inconclusive(playbook)]
    if schedule is not None:
        rules += _overdue(playbook, 2 * longest_gap(schedule))
    labels = {**labels_of(playbook), **settings.rule_labels}
    groups = [{"name": title(playbook), "rules": rules}]
    name, namespace = title(playbook), settings.namespace
    return obj("monitoring.coreos.com/v1", "PrometheusRule", name, namespace, labels, spec={"groups": groups})


def pod_monitor(playbook: str, settings: Settings) -> Obj:
    """So that Prometheus finds the runner's pod while it serves its metrics. They are gone soon after it: what is to
    last belongs into a Pushgateway.
    """
    labels = {**labels_of(playbook), **settings.rule_labels}
    spec = {
        "selector": {"matchLabels": {"drills/playbook": playbook}},
        "podMetricsEndpoints": [{"port": METRICS}],
    }
    return obj("monitoring.coreos.com/v1", "PodMonitor", title(playbook), settings.namespace, labels, spec=spec)


def _rule(alert: str, expr: str, severity: str, summary: str, description: str, wait: str | None = None) -> Obj:
    found: Obj = {"alert": alert, "expr": expr} | ({} if wait is None else {"for": wait})
    annotations = {"summary": summary, "description": description}
    return found | {"labels": {"severity": severity}, "annotations": annotations}


def _failed(playbook: str) -> Obj:
    return _rule(
        "DrillFailed",
        f'max by (playbook, drill) (drills_verdict{{playbook="{playbook}",verdict="failed"}}) == 1',
        "critical",
        "A security drill failed",
        "The drill {{ $labels.drill }} of {{ $labels.playbook }} failed: what must be denied was not, or nobody was "
        "told. Its last run's result says which.",
    )


def _inconclusive(playbook: str) -> Obj:
    return _rule(
        "DrillInconclusive",
        f'max by (playbook, drill) (drills_verdict{{playbook="{playbook}",verdict=~"inconclusive|aborted"}}) == 1',
        "warning",
        "A security drill could not judge",
        "The drill {{ $labels.drill }} of {{ $labels.playbook }} ended without a verdict: it proves nothing until it "
        "has run to its end.",
    )


def _overdue(playbook: str, seconds: float) -> list[Obj]:
    metric = f'drills_last_run_timestamp_seconds{{playbook="{playbook}"}}'
    limit = format_duration(math.ceil(seconds) * 1000)
    return [
        _rule(
            "DrillOverdue",
            f"time() - max by (playbook) ({metric}) > {math.ceil(seconds)}",
            "warning",
            "No security drill has run in time",
            f"The playbook {{{{ $labels.playbook }}}} has not run for {limit}, twice its interval.",
        ),
        _rule(
            "DrillNeverRan",
            f"absent({metric})",
            "warning",
            "Nothing is known of a security drill",
            f"For {limit}, twice its interval, nothing has been heard of the playbook {{{{ $labels.playbook }}}}: it "
            "has not run, or its metrics do not arrive.",
            limit,
        ),
    ]
