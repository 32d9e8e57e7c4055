"""Where series stand in an expression: each selector with what is done to it on the way up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import promql_parser as pp

from alerts.promql import PromqlError, Selector, children, selector_of
from drills.check.alerting.groups import RuleAt

Steps: TypeAlias = tuple[tuple[Any, int], ...]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A selector in an expression. ``above`` are the nodes around it, outermost first, and which child leads to it."""

    rule: RuleAt
    selector: Selector
    above: Steps
    number: int  # of this metric's selectors in the expression, from 0

    @property
    def metric(self) -> str:
        """The metric's name; empty for a selector by a pattern."""
        return self.selector.metric or ""

    @property
    def offset(self) -> int:
        """Where the metric's name stands in the expression; 0 where it has none."""
        return self.rule.find(self.metric, self.number) if self.metric else 0

    def label_offset(self, label: str) -> int:
        """Where a label of its matchers stands in the expression."""
        return self.rule.find_after(label, self.offset)

    @property
    def function(self) -> str:
        """The function that is called on the range directly; empty for an instant selector."""
        for node, _ in reversed(self.above):
            if isinstance(node, pp.Call):
                return str(node.func.name) if self.selector.range_ms else ""
            if not isinstance(node, pp.ParenExpr):
                break
        return ""

    def inside(self, *functions: str) -> bool:
        """Whether it stands somewhere below a call of one of these functions."""
        return any(isinstance(node, pp.Call) and node.func.name in functions for node, _ in self.above)

    def operators(self) -> Iterator[tuple[str, Any, int]]:
        """The binary operators around it, from outside in: the operator, its node, and the side (0 left, 1 right)."""
        for node, side in self.above:
            if isinstance(node, pp.BinaryExpr):
                yield operator_of(node), node, side


def metrics_below(node: Any) -> frozenset[str]:
    """The names of the metrics in a part of an expression."""
    return frozenset(selector_of(each).metric or "" for each, _ in _walk(node, ()))


def operator_of(node: Any) -> str:
    """The operator of a binary expression alone: ``or``, ``>``, ``/``."""
    return str(node.op).split(" ", 1)[0]


def occurrences(rule: RuleAt) -> list[Occurrence]:
    """Every selector of a rule, in the order of the text; none where the expression could not be parsed."""
    if rule.tree is None:
        return []
    seen: Counter[str] = Counter()
    made = []
    try:
        for node, above in _walk(rule.tree, ()):
            selector = selector_of(node)
            made.append(Occurrence(rule, selector, above, seen[selector.metric or ""]))
            seen[selector.metric or ""] += 1
    except PromqlError:
        return []
    return made


def _walk(node: Any, above: Steps) -> Iterator[tuple[Any, Steps]]:
    if isinstance(node, pp.VectorSelector | pp.MatrixSelector):
        yield node, above
        return
    for index, child in enumerate(children(node)):
        yield from _walk(child, (*above, (node, index)))
