"""Comparisons that nothing can make true: the values that an expression can have, as an interval.

Only what holds for every input counts: absent() is 1 or nothing, a count is at least 1, an increase is never negative,
a part is never more than the whole. Whatever else there is may have any value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import promql_parser as pp

from alerts.catalog import Catalogue
from alerts.promql import LabelMatcher, Selector, selector_of, without_parens
from drills.check.alerting.groups import RuleAt
from drills.check.alerting.occurrences import operator_of
from drills.check.finding import Finding, Level, Rule

Interval: TypeAlias = tuple[float, float]


def _example(expr: str) -> str:
    return f"""\
groups:
- name: cilium
  rules:
  - alert: CiliumMetricsMissing
    expr: {expr}
    for: 2m
    labels: {{severity: critical}}
    annotations: {{summary: Cilium's metrics are missing}}
"""


IMPOSSIBLE = Rule(
    name="prometheus/impossible-comparison",
    level=Level.ERROR,
    title="Nothing can make the comparison true",
    problem="absent() is 1 or nothing and never 0; count() of nothing is nothing and not 0; a share is at most 1 and "
    "not 100; up is 0 or 1.",
    effect="The expression is always empty: the alert never fires.",
    fix="absent(x) by itself is true when x is missing; compare a share with 0.9, or multiply it by 100.",
    wrong=_example('absent(cilium_policy_l7_total{rule="denied"}) == 0'),
    right=_example('absent(cilium_policy_l7_total{rule="denied"})'),
    source="Prometheus documentation, operators and functions",
)
RULES = (IMPOSSIBLE,)

_ANY: Final[Interval] = (-math.inf, math.inf)
_POSITIVE: Final[Interval] = (0.0, math.inf)
_OF_CALLS: Final[Mapping[str, Interval]] = {
    "absent": (1, 1), "absent_over_time": (1, 1), "present_over_time": (1, 1), "abs": _POSITIVE,
    "changes": _POSITIVE, "resets": _POSITIVE, "increase": _POSITIVE, "rate": _POSITIVE, "irate": _POSITIVE,
    "count_over_time": (1, math.inf),
    "stddev_over_time": _POSITIVE, "stdvar_over_time": _POSITIVE, "minute": (0, 59), "hour": (0, 23),
    "day_of_week": (0, 6), "day_of_month": (1, 31), "day_of_year": (1, 366), "days_in_month": (28, 31),
    "month": (1, 12),
    "sgn": (-1, 1), "time": _POSITIVE,
}  # fmt: skip
_KEEPING: Final = frozenset({
    "sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "label_replace", "label_join", "vector",
    "max_over_time", "min_over_time", "avg_over_time", "last_over_time", "quantile_over_time",
})  # fmt: skip
_KEEPING_AGGREGATIONS: Final = frozenset({"max", "min", "avg", "topk", "bottomk", "limitk"})
_OF_AGGREGATIONS: Final[Mapping[str, Interval]] = {
    "count": (1, math.inf), "group": (1, 1), "count_values": (1, math.inf), "stddev": _POSITIVE, "stdvar": _POSITIVE,
}  # fmt: skip


def check(rules: Sequence[RuleAt], catalogue: Catalogue) -> Iterator[Finding]:
    """The comparisons that decide a rule and cannot be true."""
    for rule in rules:
        if rule.tree is not None:
            yield from _search(rule, rule.tree, catalogue, alone=True)


def _search(rule: RuleAt, node: Any, catalogue: Catalogue, *, alone: bool) -> Iterator[Finding]:
    """Down to where an empty vector makes all above it empty; ``alone``: nothing else can make the rule true."""
    node = without_parens(node)
    if isinstance(node, pp.AggregateExpr):
        yield from _search(rule, node.expr, catalogue, alone=alone)
    if not isinstance(node, pp.BinaryExpr):
        return
    operator = operator_of(node)
    if operator in ("and", "or", "unless"):
        alone = alone and operator != "or"
        yield from _search(rule, node.lhs, catalogue, alone=alone)
        if operator != "unless":
            yield from _search(rule, node.rhs, catalogue, alone=alone)
    elif operator in _HOLDS and not (node.modifier is not None and node.modifier.return_bool):
        left, right = _interval(node.lhs, catalogue), _interval(node.rhs, catalogue)
        if not _possible(operator, left, right):
            yield _finding(rule, node, operator, left, right, alone=alone)
            return
        yield from _search(rule, node.lhs, catalogue, alone=alone)


def _finding(rule: RuleAt, node: Any, operator: str, left: Interval, right: Interval, *, alone: bool) -> Finding:
    text = f"`{_short(node.lhs)} {operator} {_short(node.rhs)}` is never true: the left side is {_said(left)}"
    if right[0] != right[1]:
        text += f", the right one {_said(right)}"
    word = rule.first_word
    if not alone:
        effect = f"This side of `or` is always empty: only the other can make {rule} true."
        return IMPOSSIBLE.at(rule.at(*word), text, effect=effect, level=Level.WARNING, span=len(word[1]))
    effect = f"The expression is always empty: {rule.silent}."
    return IMPOSSIBLE.at(rule.at(*word), text, effect=effect, span=len(word[1]))


def _short(node: Any) -> str:
    text = " ".join(node.prettify().split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _said(interval: Interval) -> str:
    low, high = interval
    if low == high:
        return f"always {low:g}"
    if high == math.inf:
        return "anything" if low == -math.inf else f"{low:g} or more"
    return f"{high:g} or less" if low == -math.inf else f"between {low:g} and {high:g}"


_HOLDS: Final = frozenset({">", ">=", "<", "<=", "==", "!="})


def _possible(operator: str, left: Interval, right: Interval) -> bool:
    if any(math.isnan(each) for each in (*left, *right)):
        return operator == "!="
    return {
        ">": left[1] > right[0],
        ">=": left[1] >= right[0],
        "<": left[0] < right[1],
        "<=": left[0] <= right[1],
        "==": left[0] <= right[1] and right[0] <= left[1],
        "!=": not left[0] == left[1] == right[0] == right[1],
    }[operator]


def _interval(node: Any, catalogue: Catalogue) -> Interval:
    node = without_parens(node)
    if isinstance(node, pp.NumberLiteral):
        return float(node.val), float(node.val)
    if isinstance(node, pp.UnaryExpr):
        low, high = _interval(node.expr, catalogue)
        return -high, -low
    for kind, judge in _JUDGES:
        if isinstance(node, kind):
            return judge(node, catalogue)
    return _ANY


def _of_selector(node: Any, catalogue: Catalogue) -> Interval:
    vector = node.vector_selector if isinstance(node, pp.MatrixSelector) else node
    name = vector.name
    if name == "up":
        return 0.0, 1.0
    if name in ("ALERTS",):
        return 1.0, 1.0
    series = catalogue.find(name) if name else None
    if series is None:
        return _ANY
    if series.type == "counter":
        return _POSITIVE
    return _ANY if series.metric.unverified else series.metric.range or _ANY


def _of_call(node: Any, catalogue: Catalogue) -> Interval:
    name = node.func.name
    if name in _OF_CALLS:
        return _OF_CALLS[name]
    if name in _KEEPING and node.args:
        value = node.args[1] if name == "quantile_over_time" else node.args[0]
        return _interval(value, catalogue)
    if name in ("clamp_max", "clamp_min"):
        low, high = _interval(node.args[0], catalogue)
        limit = _interval(node.args[1], catalogue)
        if limit[0] != limit[1]:
            return _ANY
        clamp = min if name == "clamp_max" else max
        return clamp(low, limit[0]), clamp(high, limit[0])
    return _ANY


def _of_aggregation(node: Any, catalogue: Catalogue) -> Interval:
    operator = operator_of(node)
    if operator in _OF_AGGREGATIONS:
        return _OF_AGGREGATIONS[operator]
    low, high = _interval(node.expr, catalogue)
    if operator in _KEEPING_AGGREGATIONS:
        return low, high
    if operator == "sum":
        return (low if low >= 0 else -math.inf), (high if high <= 0 else math.inf)
    return _ANY


def _of_operation(node: Any, catalogue: Catalogue) -> Interval:
    operator = operator_of(node)
    left, right = _interval(node.lhs, catalogue), _interval(node.rhs, catalogue)
    if operator == "or":
        return min(left[0], right[0]), max(left[1], right[1])
    if operator in ("and", "unless"):
        return left
    if operator in _HOLDS:
        return (0.0, 1.0) if node.modifier is not None and node.modifier.return_bool else left
    if operator == "/" and _is_part(node.lhs, node.rhs):
        return 0.0, 1.0
    return _arithmetic(operator, left, right)


def _arithmetic(operator: str, left: Interval, right: Interval) -> Interval:
    made = _ANY
    if any(math.isnan(each) for each in (*left, *right)):
        pass
    elif operator == "+":
        made = _ordered(left[0] + right[0], left[1] + right[1])
    elif operator == "-":
        made = _ordered(left[0] - right[1], left[1] - right[0])
    elif operator == "*":
        ends = [_product(one, other) for one in left for other in right]
        made = min(ends), max(ends)
    elif operator == "/" and right[0] == right[1] and right[0] not in (0.0, math.inf, -math.inf):
        made = _ordered(*sorted((left[0] / right[0], left[1] / right[0])))
    elif operator == "/" and left[0] >= 0 and right[0] >= 0:
        made = _POSITIVE
    return made


def _product(one: float, other: float) -> float:
    return 0.0 if 0.0 in (one, other) else one * other


def _ordered(low: float, high: float) -> Interval:
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


_JUDGES: Final[Sequence[tuple[Any, Callable[[Any, Catalogue], Interval]]]] = (
    (pp.VectorSelector | pp.MatrixSelector, _of_selector),
    (pp.Call, _of_call),
    (pp.AggregateExpr, _of_aggregation),
    (pp.BinaryExpr, _of_operation),
)


def _is_part(part: Any, whole: Any) -> bool:
    """Whether one is the same expression as the other of some of the series: never more of them, by the same sums."""
    part, whole = without_parens(part), without_parens(whole)
    if isinstance(part, pp.AggregateExpr) and isinstance(whole, pp.AggregateExpr):
        same = operator_of(part) == operator_of(whole) and operator_of(part) in ("sum", "count")
        return same and _grouping(part) == _grouping(whole) and _is_less(part.expr, whole.expr)
    return False


def _is_less(part: Any, whole: Any) -> bool:
    part, whole = without_parens(part), without_parens(whole)
    if isinstance(part, pp.Call) and isinstance(whole, pp.Call):
        same = part.func.name == whole.func.name and part.func.name in ("rate", "increase", "irate")
        return same and _is_less(part.args[0], whole.args[0])
    kinds = (pp.MatrixSelector,)
    if not (isinstance(part, kinds) and isinstance(whole, kinds)):
        return False
    return _narrower(selector_of(part), selector_of(whole))


def _narrower(part: Selector, whole: Selector) -> bool:
    same = (part.metric, part.range_ms, part.offset_ms) == (whole.metric, whole.range_ms, whole.offset_ms)
    mine: set[LabelMatcher] = set(part.matchers)
    return part.metric is not None and same and set(whole.matchers) <= mine


def _grouping(node: Any) -> tuple[str, tuple[str, ...]]:
    if node.modifier is None:
        return "", ()
    return str(node.modifier.type), tuple(sorted(node.modifier.labels))
