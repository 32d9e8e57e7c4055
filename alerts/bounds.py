"""What a rule, the scrape interval S and the evaluation interval E make possible: when an alert can come and go.

F is the rule's ``for``, R its reach (`alerts.promql.reach_ms`), G Alertmanager's group wait. A rule fires at the
first evaluation at which it has been pending for F or more, and goes pending at an evaluation (rules/alerting.go), so
F counts in whole evaluations. All results are seconds of playbook time; rules and `Timing` are unscaled.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from alerts.promql import reach_ms
from alerts.rule import AlertRule


@dataclass(frozen=True, slots=True)
class Timing:
    """Scrape and evaluation interval in milliseconds; the rule's group overrides the evaluation interval."""

    scrape_ms: int = 15_000
    evaluation_ms: int = 15_000

    def evaluation_of(self, rule: AlertRule) -> int:
        """E of a rule, in milliseconds."""
        return rule.interval_ms or self.evaluation_ms


@dataclass(frozen=True, slots=True)
class Bounds:
    """The earliest and the latest that is right, in seconds."""

    best: float
    worst: float


def _pending_ms(rule: AlertRule, timing: Timing) -> int:
    """``for`` in whole evaluations."""
    evaluation = timing.evaluation_of(rule)
    return -(-rule.for_ms // evaluation) * evaluation


def detection(rule: AlertRule, timing: Timing, *, group_wait_ms: int = 0) -> Bounds:
    """From the moment at which the threshold is crossed in the process to firing (or, with G, to the notification).

    best = ceil(F/E) * E, worst = S + E + D + ceil(F/E) * E, D the delay of recording rules. For an alert that joins a
    group which exists already, pass the group interval: G is the longest that Alertmanager waits.
    """
    pending = _pending_ms(rule, timing)
    worst = timing.scrape_ms + timing.evaluation_of(rule) + rule.delay_ms + pending + group_wait_ms
    return Bounds(best=pending / 1000, worst=worst / 1000)


def baseline_wait(rules: Iterable[AlertRule], timing: Timing) -> float:
    """The longest that an alert can stay active of itself after the last event: R + keep + F + S + 2E + D."""
    return max((_baseline_ms(rule, timing) for rule in rules), default=0) / 1000


def _baseline_ms(rule: AlertRule, timing: Timing) -> int:
    evaluation = timing.evaluation_of(rule)
    return _reach_ms(rule) + rule.keep_firing_ms + rule.for_ms + timing.scrape_ms + 2 * evaluation + rule.delay_ms


def _reach_ms(rule: AlertRule) -> int:
    return reach_ms(rule.expr) if rule.reach_ms is None else rule.reach_ms


def hold_still(rules: Iterable[AlertRule], timing: Timing) -> float:
    """How long to look on before the attack, so that what happened before it has become an alert: F + S + E + D."""
    times = (rule.for_ms + timing.scrape_ms + timing.evaluation_of(rule) + rule.delay_ms for rule in rules)
    return max(times, default=0) / 1000


def resolution(rule: AlertRule, timing: Timing) -> float:
    """The latest at which an alert is resolved, after the last event: R + keep + S + E + D."""
    total = _reach_ms(rule) + rule.keep_firing_ms + timing.scrape_ms + timing.evaluation_of(rule) + rule.delay_ms
    return total / 1000


def shortest_injection(rule: AlertRule, timing: Timing) -> float:
    """How long an attack must last for the condition to hold long enough in the worst case; 0 if a burst will do.

    An event keeps ``increase(x[R]) > n`` true for about R, so the attack must bring F + S + E - R of its own; what is
    left after an equality counts: F + S + E must be *below* R for a burst.
    """
    needed = rule.for_ms + timing.scrape_ms + timing.evaluation_of(rule)
    return max(0, needed - _reach_ms(rule)) / 1000


def holds_long_enough(rule: AlertRule, timing: Timing, injection_seconds: float) -> bool:
    """Whether a rule can fire at all for an attack of that length: F + S + E < R + the attack's length."""
    needed = rule.for_ms + timing.scrape_ms + timing.evaluation_of(rule)
    return needed < _reach_ms(rule) + injection_seconds * 1000
