"""What a rule reads: which of its selectors must have series for it ever to be true, and whether they have.

``quiet`` and ``missed`` mean something only for a rule whose inputs were there; that of an ``absent()``, of the right
side of ``unless`` and of one branch of ``or`` need not be.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import promql_parser as pp

from alerts.prometheus import LoadedRecord, Prometheus
from alerts.promql import LabelMatcher, Selector, children, parse, selector_of

_MAY_BE_EMPTY = frozenset({"absent", "absent_over_time", "vector", "time"})


@dataclass(frozen=True, slots=True)
class Starved:
    """A selector without series that keeps an expression empty, and the sentence that says why."""

    selector: Selector
    stopped_at: Literal["no-series", "no-match"]
    reason: str


def culprit(expression: str, has_series: Callable[[Selector], bool]) -> Selector | None:
    """The selector that keeps an expression empty; None if none does."""
    return _culprit(parse(expression), has_series)


def _culprit(node: Any, has: Callable[[Selector], bool]) -> Selector | None:
    if isinstance(node, pp.VectorSelector | pp.MatrixSelector):
        selector = selector_of(node)
        return None if has(selector) else selector
    if isinstance(node, pp.Call) and node.func.name in _MAY_BE_EMPTY:
        return None
    if isinstance(node, pp.BinaryExpr) and str(node.op) == "or":
        left = _culprit(node.lhs, has)
        return left if left and _culprit(node.rhs, has) else None
    if isinstance(node, pp.BinaryExpr) and str(node.op) == "unless":
        return _culprit(node.lhs, has)
    return next((found for child in children(node) if (found := _culprit(child, has))), None)


def starved(
    prometheus: Prometheus, expression: str, *, since: float, until: float, behind: Sequence[LoadedRecord] = ()
) -> Starved | None:
    """Why an expression could not be true between two times, or None if its inputs were there (promql errors aside).

    ``behind`` are the recording rules that it stands on: where one of them made nothing, the reason is what it lacks.
    """
    seen: dict[Selector, bool] = {}

    def has(selector: Selector) -> bool:
        if selector not in seen:
            begin = since - (selector.range_ms + selector.offset_ms) / 1000
            seen[selector] = _exists(prometheus, str(selector), begin, until)
        return seen[selector]

    selector = culprit(expression, has)
    if selector is None:
        return None
    makers = [one for one in behind if one.name == selector.metric]
    if not makers or _exists(prometheus, selector.metric or "", since, until):
        return _explain(prometheus, selector, since, until)
    rest = [one for one in behind if one not in makers]
    lacks = [starved(prometheus, one.query, since=since, until=until, behind=rest) for one in makers]
    lack = next((one for one in lacks if one is not None), None)
    made = f"the recording rule {selector.metric} made nothing"
    if lack is None:
        return Starved(selector, "no-series", f"{made}, though its inputs exist")
    return Starved(lack.selector, lack.stopped_at, f"{made}: {lack.reason}")


def _exists(prometheus: Prometheus, selector: str, since: float, until: float) -> bool:
    window = max(1, round((until - since) * 1000))
    return bool(prometheus.query(f"count(last_over_time({selector}[{window}ms]))", until))


def _explain(prometheus: Prometheus, selector: Selector, since: float, until: float) -> Starved:
    if selector.metric is None or not _exists(prometheus, selector.metric, since, until):
        return Starved(selector, "no-series", _no_series(selector, prometheus.metric_names()))
    window = max(1, round((until - since) * 1000))
    series = prometheus.query(f"last_over_time({selector.metric}[{window}ms])", until)
    return Starved(selector, "no-match", no_match(selector, [sample.labels for sample in series]))


def _no_series(selector: Selector, names: Collection[str]) -> str:
    what = selector.metric or str(selector)
    near = nearest(what, names)
    if selector.metric in names:
        return f"{what} has no series at present: what exports it is gone, or it counts something that never happened"
    hint = f"the nearest metric that exists is {near}" if near else "no metric that exists has a similar name"
    return f"{what} has no series; {hint}"


def no_match(selector: Selector, label_sets: Sequence[Any]) -> str:
    """Which matchers let no series of the metric pass, with the values that are there."""
    for matcher in selector.matchers:
        values = sorted({labels.get(matcher.name, "") for labels in label_sets})
        if not any(matcher.passes(value) for value in values):
            return f"{selector.metric} has {len(label_sets)} series, none with {matcher}; {_values(matcher, values)}"
    return f"{selector.metric} has {len(label_sets)} series, none with all of {selector}"


def _values(matcher: LabelMatcher, values: Sequence[str]) -> str:
    if values == [""]:
        return f"none has a label {matcher.name}"
    near = nearest(matcher.value, values)
    shown = ", ".join(value or "(none)" for value in values[:8]) + (", ..." if len(values) > 8 else "")
    return f"{matcher.name} is one of: {shown}" + (f" (did you mean {near}?)" if near else "")


def nearest(word: str, words: Collection[str]) -> str | None:
    """The most similar of some words, if any is similar."""
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=0.6)), None)
