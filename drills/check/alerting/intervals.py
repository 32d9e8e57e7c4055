"""The values that an expression can have, as an interval.

Only what holds for every input counts: absent() is 1 or nothing, a count is at least 1, an increase is never negative,
a part is never more than the whole. Whatever else there is may have any value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import promql_parser as pp

from alerts.catalog import Catalogue
from alerts.promql import LabelMatcher, Selector, constant, selector_of, without_parens
from drills.check.alerting.occurrences import operator_of

Interval: TypeAlias = tuple[float, float]


ANY: Final[Interval] = (-math.inf, math.inf)
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


COMPARISONS: Final = frozenset({">", ">=", "<", "<=", "==", "!="})


def possible(operator: str, left: Interval, right: Interval) -> bool:
    """Whether some value of the one compares so with some value of the other."""
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


def within(one: Interval, other: Interval) -> Interval:
    """What is in both; the lower end above the upper one where nothing is."""
    return max(one[0], other[0]), min(one[1], other[1])


def let_through(operator: str, limit: float) -> Interval:
    """The values that a comparison with a number lets through."""
    return {
        ">": (math.nextafter(limit, math.inf), math.inf),
        ">=": (limit, math.inf),
        "<": (-math.inf, math.nextafter(limit, -math.inf)),
        "<=": (-math.inf, limit),
        "==": (limit, limit),
    }.get(operator, ANY)


def interval(node: Any, catalogue: Catalogue) -> Interval:
    """The values that an expression can have."""
    node = without_parens(node)
    if isinstance(node, pp.NumberLiteral):
        return float(node.val), float(node.val)
    if isinstance(node, pp.UnaryExpr):
        low, high = interval(node.expr, catalogue)
        return -high, -low
    for kind, judge in _JUDGES:
        if isinstance(node, kind):
            return judge(node, catalogue)
    return ANY


def _of_selector(node: Any, catalogue: Catalogue) -> Interval:
    vector = node.vector_selector if isinstance(node, pp.MatrixSelector) else node
    name = vector.name
    if name == "up":
        return 0.0, 1.0
    if name in ("ALERTS",):
        return 1.0, 1.0
    series = catalogue.find(name) if name else None
    if series is None:
        return ANY
    if series.type == "counter":
        return _POSITIVE
    return ANY if series.metric.unverified else series.metric.range or ANY


def _of_call(node: Any, catalogue: Catalogue) -> Interval:
    name = node.func.name
    if name in _OF_CALLS:
        return _OF_CALLS[name]
    if name in _KEEPING and node.args:
        value = node.args[1] if name == "quantile_over_time" else node.args[0]
        return interval(value, catalogue)
    if name in ("clamp_max", "clamp_min"):
        low, high = interval(node.args[0], catalogue)
        limit = interval(node.args[1], catalogue)
        if limit[0] != limit[1]:
            return ANY
        clamp = min if name == "clamp_max" else max
        return clamp(low, limit[0]), clamp(high, limit[0])
    return ANY


def _of_aggregation(node: Any, catalogue: Catalogue) -> Interval:
    operator = operator_of(node)
    if operator in _OF_AGGREGATIONS:
        return _OF_AGGREGATIONS[operator]
    low, high = interval(node.expr, catalogue)
    if operator in _KEEPING_AGGREGATIONS:
        return low, high
    if operator == "sum":
        return (low if low >= 0 else -math.inf), (high if high <= 0 else math.inf)
    return ANY


def _of_operation(node: Any, catalogue: Catalogue) -> Interval:
    operator = operator_of(node)
    left, right = interval(node.lhs, catalogue), interval(node.rhs, catalogue)
    if operator == "or":
        return min(left[0], right[0]), max(left[1], right[1])
    if operator in ("and", "unless"):
        return left
    if operator in COMPARISONS and node.modifier is not None and node.modifier.return_bool:
        return 0.0, 1.0
    if operator in COMPARISONS:
        limit = constant(node.rhs)
        low, high = left if limit is None or math.isnan(limit) else within(left, let_through(operator, limit))
        return (low, high) if low <= high else left
    if operator == "/" and is_part(node.lhs, node.rhs):
        return 0.0, 1.0
    return _arithmetic(operator, left, right)


def _arithmetic(operator: str, left: Interval, right: Interval) -> Interval:
    made = ANY
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


def is_part(part: Any, whole: Any) -> bool:
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
