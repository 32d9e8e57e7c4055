"""PromQL as a tree: which series an expression selects, how far back it looks, and what it compares.

promql-parser 0.12 does the parsing. Its quirks end here: backtick strings are rewritten before parsing,
``holt_winters`` is made known to it, an ``@`` with a negative time makes it panic (so only the kind of an
``@`` is read), and ``str()`` of a node is wrong for sub-second ranges (so only ``prettify()`` is used).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import promql_parser as pp

from drills.errors import InputError

_MS = timedelta(milliseconds=1)
_ABSENT = frozenset({"absent", "absent_over_time"})

pp.register_extra_functions(  # valid in Prometheus 2, unknown to promql-parser, which follows 3
    [pp.Function("holt_winters", [pp.ValueType.Matrix, pp.ValueType.Scalar, pp.ValueType.Scalar], pp.ValueType.Vector)]
)

_OPERATORS = {"MatchOp.Equal": "=", "MatchOp.NotEqual": "!=", "MatchOp.Re": "=~", "MatchOp.NotRe": "!~"}  # unhashable


class PromqlError(InputError):
    """An expression that cannot be parsed."""


@dataclass(frozen=True, slots=True, order=True)
class LabelMatcher:
    """``name operator value`` with operator one of ``=``, ``!=``, ``=~``, ``!~``."""

    name: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{quote(self.value)}"

    def passes(self, value: str) -> bool:
        """Whether a label value (empty for a label that is absent) passes. RE2 as far as Python's ``re`` agrees."""
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        try:
            hit = re.fullmatch(self.value, value) is not None
        except re.error:
            hit = False
        return hit == (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Selector:
    """A vector selector, wherever it stands in an expression. ``metric`` is None for a selector by a name pattern."""

    metric: str | None
    matchers: tuple[LabelMatcher, ...]
    range_ms: int = 0
    offset_ms: int = 0

    def __str__(self) -> str:
        """Without range, offset and ``@``: an instant query of this finds the series."""
        inner = ", ".join(str(matcher) for matcher in self.matchers)
        return f"{self.metric or ''}{{{inner}}}" if inner else (self.metric or "{}")


def quote(text: str) -> str:
    """A PromQL string literal in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def parse(expression: str) -> pp.Expr:
    """The tree of an expression; PromqlError with the parser's own words if there is none."""
    try:
        return pp.parse(_without_backticks(expression))
    except ValueError as error:
        raise PromqlError(f"the expression cannot be parsed: {error}") from error


def milliseconds(duration: timedelta | None) -> int:
    """Whole milliseconds; 0 for None."""
    return 0 if duration is None else duration // _MS


def children(node: Any) -> tuple[Any, ...]:
    """The expressions directly below a node; a matrix selector counts as a leaf."""
    match node:
        case pp.AggregateExpr():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case pp.BinaryExpr():
            return (node.lhs, node.rhs)
        case pp.ParenExpr() | pp.UnaryExpr() | pp.SubqueryExpr():
            return (node.expr,)
        case pp.Call():
            return tuple(node.args)
        case _:
            return ()


def walk(node: Any) -> Iterator[Any]:
    """The node and everything below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def without_parens(node: Any) -> Any:
    """The node inside any number of parentheses."""
    while isinstance(node, pp.ParenExpr):
        node = node.expr
    return node


def matchers_of(selector: Any) -> tuple[LabelMatcher, ...]:
    """The matchers of a vector selector, its name aside; PromqlError for ``or`` between matchers (unknown to 2.42)."""
    if selector.matchers.or_matchers:
        raise PromqlError("`or` between label matchers is not PromQL as Prometheus 2.42 knows it")
    return tuple(LabelMatcher(m.name, _OPERATORS[str(m.op)], m.value) for m in selector.matchers.matchers)


def selector_of(node: Any) -> Selector:
    """The `Selector` of a vector or matrix selector node."""
    vector = node.vector_selector if isinstance(node, pp.MatrixSelector) else node
    metric, matchers = vector.name, matchers_of(vector)
    if metric is None:
        named = [m for m in matchers if m.name == "__name__" and m.operator == "="]
        if named:
            metric, matchers = named[0].value, tuple(m for m in matchers if m is not named[0])
    range_ms = milliseconds(node.range) if isinstance(node, pp.MatrixSelector) else 0
    return Selector(metric, matchers, range_ms, milliseconds(vector.offset))


def selectors(expression: str) -> tuple[Selector, ...]:
    """Every selector of an expression, in the order of the text, duplicates removed."""
    nodes = (node for node in walk(parse(expression)) if isinstance(node, pp.VectorSelector | pp.MatrixSelector))
    return tuple(dict.fromkeys(selector_of(node) for node in nodes))


def absences(expression: str) -> frozenset[Selector]:
    """The selectors of which an expression asks only whether they find anything: those in ``absent()`` alone."""
    tree = parse(expression)
    asked = [node.args[0] for node in walk(tree) if isinstance(node, pp.Call) and node.func.name in _ABSENT]
    only = [one for one in map(without_parens, asked) if isinstance(one, pp.VectorSelector | pp.MatrixSelector)]
    nodes = [node for node in walk(tree) if isinstance(node, pp.VectorSelector | pp.MatrixSelector)]
    found = Counter(map(selector_of, only))
    return frozenset(one for one, times in Counter(map(selector_of, nodes)).items() if found[one] == times)


def reach_ms(expression: str, below: Callable[[Selector], int] = lambda _: 0) -> int:
    """How far back the expression looks, in milliseconds: the longest sum of ranges and offsets down to a selector.

    An instant selector reaches 0: its series' end is marked stale by the scrape that misses it. ``below`` adds what is
    behind a selector, as a recording rule is.
    """
    return reach_of(parse(expression), below)


def reach_of(tree: Any, below: Callable[[Selector], int] = lambda _: 0) -> int:
    """As `reach_ms`, of an expression that is parsed already."""
    return max(0, _reach(tree, below))


def _reach(node: Any, below: Callable[[Selector], int]) -> int:
    match node:
        case pp.MatrixSelector() | pp.VectorSelector():
            selector = selector_of(node)
            return selector.range_ms + selector.offset_ms + below(selector)
        case pp.SubqueryExpr():
            return milliseconds(node.range) + milliseconds(node.offset) + _reach(node.expr, below)
        case _:
            return max((_reach(child, below) for child in children(node)), default=0)


def calls(node: Any) -> frozenset[str]:
    """The names of the functions called in a tree."""
    return frozenset(n.func.name for n in walk(node) if isinstance(n, pp.Call))


def at_kind(node: Any) -> str | None:
    """``start``, ``end`` or ``number`` for a selector or subquery with ``@``; the number cannot be read safely."""
    modifier = node.vector_selector.at if isinstance(node, pp.MatrixSelector) else node.at
    if modifier is None:
        return None
    if modifier.type == pp.AtModifierType.Start:
        return "start"
    return "end" if modifier.type == pp.AtModifierType.End else "number"


def comparisons(expression: str) -> tuple[tuple[str, str, float], ...]:
    """The comparisons with a constant that decide an expression: (left side, operator, number), for reports.

    Those in ``and``/``or``/``unless`` operands count; those inside functions and aggregations do not.
    """
    return tuple(_comparisons(parse(expression)))


# Every comparison, and what it is with its sides exchanged.
MIRRORED = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


def _comparisons(node: Any) -> Iterator[tuple[str, str, float]]:
    node = without_parens(node)
    if not isinstance(node, pp.BinaryExpr):
        return
    operator = str(node.op)
    if operator in ("and", "or", "unless"):
        yield from _comparisons(node.lhs)
        if operator != "unless":
            yield from _comparisons(node.rhs)
    elif operator in MIRRORED:
        left, right = constant(node.lhs), constant(node.rhs)
        if right is not None and left is None:
            yield (one_line(node.lhs), operator, right)
        elif left is not None and right is None:
            yield (one_line(node.rhs), MIRRORED[operator], left)


def one_line(node: Any) -> str:
    """The text of a tree: ``prettify`` breaks long ones, and a string literal never holds a raw line break."""
    return " ".join(line.strip() for line in node.prettify().splitlines())


def constant(node: Any) -> float | None:
    """The value of an expression of numbers and ``+ - * /`` only; None for any other."""
    match node:
        case pp.NumberLiteral():
            return float(node.val)
        case pp.ParenExpr():
            return constant(node.expr)
        case pp.UnaryExpr():
            value = constant(node.expr)
            return None if value is None else -value
        case pp.BinaryExpr():
            left, right = constant(node.lhs), constant(node.rhs)
            return None if left is None or right is None else _arithmetic(str(node.op), left, right)
        case _:
            return None


def _arithmetic(operator: str, left: float, right: float) -> float | None:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if right:
            return left / right
        case _:
            return None


def _without_backticks(expression: str) -> str:
    """The expression with raw strings in backticks written in double quotes, outside of strings and comments."""
    if "`" not in expression:
        return expression
    out: list[str] = []
    at = 0
    while at < len(expression):
        end = _token_end(expression, at)
        token = expression[at:end]
        out.append(quote(token[1:-1]) if token[0] == "`" and len(token) > 1 and token[-1] == "`" else token)
        at = end
    return "".join(out)


def _token_end(text: str, at: int) -> int:
    """Where the string, comment or single character that starts ``at`` ends."""
    first = text[at]
    if first == "#":
        line_end = text.find("\n", at)
        return len(text) if line_end < 0 else line_end
    if first not in "\"'`":
        return at + 1
    position = at + 1
    while position < len(text) and text[position] != first:
        position += 2 if text[position] == "\\" and first != "`" else 1
    return min(position + 1, len(text))
