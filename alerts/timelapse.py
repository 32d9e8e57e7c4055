"""Rules for a world that runs K times faster: every duration is divided by K, and what is per second as well.

The scaled text is parsed again and its tree compared with what the original's tree says it must be
(`alerts.shape`), because promql-parser's nodes print unchanged after an assignment and its ``str()`` is wrong below
a second. What cannot be scaled exactly is refused by name and reason (`alerts.unscalable`); K = 1 is always the way
out and changes nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import promql_parser as pp

from alerts.promql import PromqlError, at_kind, matchers_of, milliseconds, one_line, parse, walk
from alerts.rule import AlertRule
from alerts.shape import PER_SECOND, IndivisibleError, divided, is_age, shape
from alerts.unscalable import unscalable
from drills.errors import InputError
from drills.units import format_duration


class ScalingRefused(InputError):
    """A rule that cannot be scaled exactly; ``name`` and ``reason`` are its sentence's parts."""

    def __init__(self, name: str, reason: str, k: int) -> None:
        super().__init__(f"{name} cannot run in time-lapse {k}: {reason}. Use --real-time for this rule.")
        self.name = name
        self.reason = reason
        self.k = k


@dataclass(frozen=True, slots=True)
class ScaledRule:
    """A rule before and after; both texts belong into the result."""

    original: AlertRule
    scaled: AlertRule
    k: int


def scale_rule(rule: AlertRule, k: int) -> ScaledRule:
    """The rule for a world that runs K times faster. Raises ScalingRefused."""
    if k == 1:
        return ScaledRule(rule, rule, 1)
    scaled = dataclasses.replace(
        rule,
        expr=scale_expression(rule.expr, k, rule.alert),
        for_ms=scale_ms(rule.for_ms, k, rule.alert, "for"),
        keep_firing_ms=scale_ms(rule.keep_firing_ms, k, rule.alert, "keep_firing_for"),
        interval_ms=None
        if rule.interval_ms is None
        else scale_ms(rule.interval_ms, k, rule.alert, "the group's interval"),
    )
    return ScaledRule(rule, scaled, k)


def scale_ms(ms: int, k: int, name: str, what: str) -> int:
    """A duration divided by K; ScalingRefused where it is no whole number of milliseconds."""
    try:
        return divided(ms, k)
    except IndivisibleError:
        raise ScalingRefused(
            name, f"{what} {format_duration(ms)} divided by {k} is no whole number of milliseconds", k
        ) from None


def scale_expression(expression: str, k: int, name: str) -> str:
    """The text of an expression for a world that runs K times faster. Raises ScalingRefused, with ``name`` in it."""
    if k == 1:
        return expression
    try:
        tree = parse(expression)
        reason = unscalable(tree)
        if reason:
            raise ScalingRefused(name, reason, k)
        wanted = shape(tree, k)
        text = one_line(pp.transform(tree, post_visit=lambda node: _scaled(node, k)))
        got = shape(parse(text))
    except (PromqlError, IndivisibleError) as error:
        raise ScalingRefused(name, str(error), k) from error
    if got != wanted:
        raise ScalingRefused(name, f"its scaled text does not say what it should ({text})", k)
    return text


def durations(expression: str) -> tuple[int, ...]:
    """Every range, offset and subquery step of an expression in milliseconds, in the order of the tree."""
    found: list[int] = []
    for node in walk(parse(expression)):
        if isinstance(node, pp.MatrixSelector):
            found += [milliseconds(node.range), milliseconds(node.vector_selector.offset)]
        elif isinstance(node, pp.VectorSelector):
            found.append(milliseconds(node.offset))
        elif isinstance(node, pp.SubqueryExpr):
            found += [milliseconds(node.range), milliseconds(node.step), milliseconds(node.offset)]
    return tuple(found)


def _scaled(node: Any, k: int) -> Any:
    """The node's replacement, or None; what is below it has been replaced already."""
    text = _timed(node, k) or _per_second(node, k)
    return pp.parse(text) if text else None


def _timed(node: Any, k: int) -> str | None:
    """What carries a duration of its own."""
    match node:
        case pp.VectorSelector():
            return _selector_text(node, "") + _shift(node, k)
        case pp.MatrixSelector():
            vector = node.vector_selector  # its offset has been scaled on the way up
            window = f"[{_duration(milliseconds(node.range), k)}]"
            return _selector_text(vector, window) + _shift(vector, 1)
        case pp.SubqueryExpr():
            step = _duration(milliseconds(node.step), k) if node.step else ""
            window = f"[{_duration(milliseconds(node.range), k)}:{step}]"
            return str(node.expr.prettify()) + window + _shift(node, k)
        case _:
            return None


def _per_second(node: Any, k: int) -> str | None:
    """What depends on how long a second is."""
    match node:
        case pp.Call() if node.func.name in PER_SECOND:
            return f"({node.prettify()} / {k})"
        case pp.Call() if node.func.name == "predict_linear":
            vector, ahead = node.args
            return f"predict_linear({vector.prettify()}, ({ahead.prettify()}) / {k})"
        case pp.BinaryExpr() if is_age(node):
            return f"(({node.prettify()}) * {k})"
        case _:
            return None


def _selector_text(vector: Any, window: str) -> str:
    matchers = ",".join(str(matcher) for matcher in matchers_of(vector))
    name = vector.name or ""
    return f"{name}{{{matchers}}}{window}" if matchers or not name else f"{name}{window}"


def _shift(node: Any, k: int) -> str:
    """``offset`` and ``@`` as they follow a selector or subquery."""
    ms, kind = milliseconds(node.offset), at_kind(node)
    at = f" @ {kind}()" if kind else ""
    if not ms:
        return at
    sign = "-" if ms < 0 else ""
    return f" offset {sign}{_duration(abs(ms), k)}{at}"


def _duration(ms: int, k: int) -> str:
    return format_duration(divided(ms, k))
