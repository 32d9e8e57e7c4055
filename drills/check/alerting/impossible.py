"""Comparisons that nothing can make true, by the values that their sides can have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import promql_parser as pp

from alerts.catalog import Catalogue
from alerts.promql import PromqlError, constant, walk, without_parens
from alerts.shape import shape
from drills.check.alerting.groups import RuleAt
from drills.check.alerting.intervals import ANY, COMPARISONS, Interval, interval, is_part, let_through, possible, within
from drills.check.alerting.occurrences import operator_of
from drills.check.finding import Finding, Level, Rule


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
    fix="Compare with a value that the left side can have. absent(x) by itself is true when x is missing; a share is "
    "compared with 0.9, or multiplied by 100.",
    wrong=_example('absent(cilium_policy_l7_total{rule="denied"}) == 0'),
    right=_example('absent(cilium_policy_l7_total{rule="denied"})'),
    source="Prometheus documentation, operators and functions",
)
RULES = (IMPOSSIBLE,)


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
        if operator == "and" and _apart(node):
            yield _contradiction(rule, node, alone=alone)
            return
        yield from _search(rule, node.lhs, catalogue, alone=alone)
        if operator != "unless":
            yield from _search(rule, node.rhs, catalogue, alone=alone)
    elif operator in COMPARISONS and not (node.modifier is not None and node.modifier.return_bool):
        left, right = interval(node.lhs, catalogue), interval(node.rhs, catalogue)
        if not possible(operator, left, right):
            yield _finding(rule, node, operator, left, right, alone=alone)
            return
        yield from _search(rule, node.lhs, catalogue, alone=alone)


_Bounds: TypeAlias = Mapping[Any, Interval]


def _apart(node: Any) -> bool:
    """Whether both sides of an ``and`` bound the same vector, and no value is within both bounds."""
    left, right = _bounds(node.lhs), _bounds(node.rhs)
    common = left.keys() & right.keys() if node.modifier is None or node.modifier.matching is None else ()
    return any(max(left[key][0], right[key][0]) > min(left[key][1], right[key][1]) for key in common)


def _bounds(node: Any) -> _Bounds:
    """What comparisons with numbers leave of vectors, by what the vectors say."""
    node = without_parens(node)
    if not isinstance(node, pp.BinaryExpr):
        return {}
    operator = operator_of(node)
    if operator == "and" and (node.modifier is None or node.modifier.matching is None):
        left, right = _bounds(node.lhs), _bounds(node.rhs)
        return {key: within(left.get(key, ANY), right.get(key, ANY)) for key in left.keys() | right.keys()}
    limit = constant(node.rhs)
    if operator not in COMPARISONS or limit is None or (node.modifier is not None and node.modifier.return_bool):
        return {}
    try:
        return {shape(without_parens(node.lhs)): let_through(operator, limit)}
    except (PromqlError, TypeError):
        return {}


def _contradiction(rule: RuleAt, node: Any, *, alone: bool) -> Finding:
    text = f"`{_short(node.lhs)}` and `{_short(node.rhs)}` are never true together"
    return _empty(rule, text, "Remove one of the two, or write `or` between them.", alone=alone)


def _finding(rule: RuleAt, node: Any, operator: str, left: Interval, right: Interval, *, alone: bool) -> Finding:
    text = f"`{_short(node.lhs)} {operator} {_short(node.rhs)}` is never true: the left side is {_said(left)}"
    if right[0] != right[1]:
        text += f", the right one {_said(right)}"
    return _empty(rule, text, _fix(node, left, right), alone=alone)


def _empty(rule: RuleAt, text: str, fix: str, *, alone: bool) -> Finding:
    word = rule.first_word
    if not alone:
        effect = f"This side of `or` is always empty: only the other can make {rule} true."
        return IMPOSSIBLE.at(rule.at(*word), text, effect=effect, fix=fix, level=Level.WARNING, span=len(word[1]))
    effect = f"The expression is always empty: {rule.silent}."
    return IMPOSSIBLE.at(rule.at(*word), text, effect=effect, fix=fix, span=len(word[1]))


def _fix(node: Any, left: Interval, right: Interval) -> str:
    """What was probably meant, by what is compared."""
    compared = without_parens(node.lhs if constant(node.rhs) is not None else node.rhs)
    below = list(walk(compared))
    if isinstance(compared, pp.Call) and compared.func.name in ("absent", "absent_over_time"):
        return f"Write `{_short(compared)}` by itself: it is true when the series is missing."
    if isinstance(compared, pp.AggregateExpr) and operator_of(compared) == "count":
        return f"Write `absent({_short(compared.expr)})`, or put the count in (... or vector(0)) before comparing."
    if any(isinstance(one, pp.BinaryExpr) and operator_of(one) == "/" and is_part(one.lhs, one.rhs) for one in below):
        return "Compare the share with a number below 1, or multiply it by 100."
    if any(math.isnan(each) for each in (*left, *right)):
        return "Nothing compares with NaN: compare with a number."
    possible = _said(left if compared is not without_parens(node.rhs) else right)
    return f"Compare with a number that can be reached: `{_short(compared)}` is {possible}."


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
