"""What an expression says, apart from its spelling, and what it ought to say when time runs K times faster.

The second is computed from the original's tree, without printing or parsing: `alerts.timelapse` compares it with the
tree of the text that it made, so that a duration which some printer got wrong cannot pass.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import promql_parser as pp

from alerts.promql import at_kind, matchers_of, milliseconds, without_parens

Shape: TypeAlias = tuple[Any, ...]

PER_SECOND = frozenset({"rate", "irate", "deriv"})  # functions whose result is "per second": divided by K

_CLOCK_NAME = re.compile(r"(_(start|boot)_time|_timestamp)(_seconds)?$|_created$|^ALERTS_FOR_STATE$")
_CLOCK_KEEPING = frozenset({"max", "min", "avg", "max_over_time", "min_over_time", "last_over_time", "avg_over_time"})


class IndivisibleError(ValueError):
    """A duration that is not a whole number of milliseconds when divided by K."""


def divided(ms: int, k: int) -> int:
    """``ms / k``; IndivisibleError if Prometheus could not write it down."""
    if ms % k:
        raise IndivisibleError(f"{ms} ms / {k} is not a whole number of milliseconds")
    return ms // k


def shape(node: Any, k: int = 1) -> Shape:
    """The tree as nested tuples without parentheses, scaled by K (1: as it is)."""
    if k > 1 and is_age(node):
        return ("binary", "*", None, _plain(node, k), ("number", float(k)))
    if k > 1 and isinstance(node, pp.Call) and node.func.name in PER_SECOND:
        return ("binary", "/", None, _plain(node, k), ("number", float(k)))
    if k > 1 and isinstance(node, pp.Call) and node.func.name == "predict_linear":
        vector, ahead = node.args
        return (
            "call",
            "predict_linear",
            shape(vector, k),
            ("binary", "/", None, shape(ahead, k), ("number", float(k))),
        )
    return _plain(node, k)


def is_age(node: Any) -> bool:
    """Whether a node is ``time() - x`` with x a real clock: an age, which runs K times slower on the wall."""
    if not isinstance(node, pp.BinaryExpr) or str(node.op) != "-":
        return False
    left = without_parens(node.lhs)
    return isinstance(left, pp.Call) and left.func.name == "time" and _is_clock(node.rhs)


def _is_clock(node: Any) -> bool:
    node = without_parens(node)
    match node:
        case pp.VectorSelector():
            return node.name is not None and is_clock_name(node.name)
        case pp.MatrixSelector():
            return _is_clock(node.vector_selector)
        case pp.Call():
            return node.func.name == "timestamp" or (node.func.name in _CLOCK_KEEPING and _is_clock(node.args[-1]))
        case pp.AggregateExpr() | pp.SubqueryExpr():
            return (isinstance(node, pp.SubqueryExpr) or str(node.op) in _CLOCK_KEEPING) and _is_clock(node.expr)
        case _:
            return False


def is_clock_name(metric: str) -> bool:
    """Whether a metric's value is a time of day by its name: a process's start, an object's creation."""
    return _CLOCK_NAME.search(metric) is not None


def _plain(node: Any, k: int) -> Shape:
    """The node without what scaling puts around it."""
    match node:
        case pp.ParenExpr():
            return shape(node.expr, k)
        case pp.UnaryExpr():
            return ("unary", shape(node.expr, k))
        case pp.Call():
            return ("call", node.func.name, *(shape(argument, k) for argument in node.args))
        case pp.AggregateExpr():
            parameter = None if node.param is None else shape(node.param, k)
            return ("aggregate", str(node.op), _labels(node.modifier), parameter, shape(node.expr, k))
        case pp.BinaryExpr():
            return ("binary", str(node.op), _matching(node.modifier), shape(node.lhs, k), shape(node.rhs, k))
        case _:
            return _leaf(node, k)


def _leaf(node: Any, k: int) -> Shape:
    """What carries durations or a literal."""
    match node:
        case pp.NumberLiteral():
            return ("number", float(node.val))
        case pp.StringLiteral():
            return ("string", node.val)
        case pp.VectorSelector():
            return _selector(node, 0, k)
        case pp.MatrixSelector():
            return _selector(node.vector_selector, milliseconds(node.range), k)
        case pp.SubqueryExpr():
            times = (milliseconds(node.range), milliseconds(node.step), milliseconds(node.offset))
            return ("subquery", shape(node.expr, k), *(divided(ms, k) for ms in times), at_kind(node))
        case _:
            raise TypeError(f"unknown kind of expression: {type(node).__name__}")


def _selector(vector: Any, range_ms: int, k: int) -> Shape:
    matchers = tuple(sorted(matchers_of(vector)))
    offset = divided(milliseconds(vector.offset), k)
    return ("select", vector.name, matchers, divided(range_ms, k), offset, at_kind(vector))


def _labels(modifier: Any) -> Shape | None:
    return None if modifier is None else (str(modifier.type), tuple(modifier.labels))


def _matching(modifier: Any) -> Shape | None:
    if modifier is None:
        return None
    fill = modifier.fill_values
    found = (
        str(modifier.card),
        _labels(modifier.matching),
        modifier.return_bool,
        tuple(modifier.group_labels or ()),
        None if fill is None else (fill.lhs, fill.rhs),
    )
    return None if found == (str(pp.VectorMatchCardinality.OneToOne), None, False, (), (None, None)) else found
