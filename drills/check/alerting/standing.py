"""Rules that are true whatever happens: nothing is compared, so that every series there is makes the alert fire."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any, Final

import promql_parser as pp

from alerts.catalog import Catalogue, Series
from alerts.promql import MIRRORED, PromqlError, Selector, children, selector_of, without_parens
from drills.check.alerting.examples import example
from drills.check.alerting.groups import RuleAt
from drills.check.alerting.matching import any_passes
from drills.check.alerting.occurrences import operator_of
from drills.check.finding import Finding, Level, Rule

ALWAYS = Rule(
    name="prometheus/always-fires",
    level=Level.WARNING,
    title="An alert compares nothing",
    problem="Prometheus fires an alert for every series that the expression results in, whatever its value: 0 is a "
    "result as well as 7. A comparison leaves series out; `bool` makes it give 0 or 1 instead and leaves nothing out.",
    effect="The alert fires as long as the metric is there. Where a metric of Cilium is there from the agent's start, "
    "it always fires, which is an error.",
    fix="Compare with a number, without bool: increase(x[5m]) > 10.",
    wrong=example('sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > bool 10'),
    right=example('sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10'),
    source="Prometheus rules/alerting.go; documentation, operators: comparison",
)
RULES = (ALWAYS,)

_MAKING: Final = frozenset({"absent", "absent_over_time", "vector", "time", "scalar", "info"})


def check(rules: Sequence[RuleAt], catalogue: Catalogue, recorded: Set[str]) -> Iterator[Finding]:
    """Alerts and guards that nothing but the absence of a metric keeps quiet."""
    for rule in rules:
        if (rule.alerting or rule.guard) and rule.tree is not None:
            try:
                found = _standing(rule.tree, catalogue, recorded)
            except PromqlError:
                continue
            if found is not None:
                yield _finding(rule, *found)


def _finding(rule: RuleAt, name: str, series: Series | None) -> Finding:
    where = rule.find(name)
    text = f"nothing is compared: {rule} is true for every series of {name}, whatever its value"
    level, effect = Level.WARNING, f"As long as there is {name}, {rule.loud}."
    if series is not None and series.metric.born == "start" and not (series.metric.off or series.metric.only):
        level, effect = Level.ERROR, f"{name} is there from the start: {rule.loud}."
    elif series is not None and series.metric.born == "first-event":
        effect = f"From the first event until the process restarts: {rule.loud}."
    return ALWAYS.at(rule.at(where, name), text, effect=effect, level=level, span=len(name))


def _standing(node: Any, catalogue: Catalogue, recorded: Set[str]) -> tuple[str, Series | None] | None:
    """The metric that alone decides whether there is a result; None where a value does, or it is not known."""
    node = without_parens(node)
    if isinstance(node, pp.VectorSelector | pp.MatrixSelector):
        return _there(selector_of(node), catalogue, recorded)
    if isinstance(node, pp.BinaryExpr):
        return _of_operation(node, catalogue, recorded)
    if isinstance(node, pp.Call) and node.func.name in _MAKING:
        return None
    found = [_standing(each, catalogue, recorded) for each in children(node) if not _is_scalar(each)]
    return found[0] if len(found) == 1 else None


def _of_operation(node: Any, catalogue: Catalogue, recorded: Set[str]) -> tuple[str, Series | None] | None:
    operator = operator_of(node)
    is_bool = node.modifier is not None and node.modifier.return_bool
    if operator in ("and", "unless") or (operator in MIRRORED and not is_bool):
        return None
    sides = [_standing(each, catalogue, recorded) for each in (node.lhs, node.rhs) if not _is_scalar(each)]
    if operator == "or":
        return next((each for each in sides if each is not None), None)
    return sides[0] if sides and None not in sides else None


def _there(selector: Selector, catalogue: Catalogue, recorded: Set[str]) -> tuple[str, Series | None] | None:
    name = selector.metric or ""
    if name in recorded:
        return None
    if name == "up":
        return name, None
    series = catalogue.find(name)
    if series is None:
        return None
    for matcher in selector.matchers:
        values = (series.metric.labels or {}).get(matcher.name)
        if values and any_passes(matcher, values) is not True:
            return None
    return name, series


def _is_scalar(node: Any) -> bool:
    node = without_parens(node)
    if isinstance(node, pp.NumberLiteral | pp.StringLiteral):
        return True
    if isinstance(node, pp.Call):
        return node.func.name in ("time", "scalar", "pi")
    if isinstance(node, pp.UnaryExpr):
        return _is_scalar(node.expr)
    return isinstance(node, pp.BinaryExpr) and _is_scalar(node.lhs) and _is_scalar(node.rhs)
