"""What time-lapse cannot do: expressions that would decide otherwise when time runs K times faster.

A real clock stays real (``hour()``, ``@ 1700000000``), and so does what takes machines time: CPU seconds, latencies,
queues. Where only the presence of such a series counts (``absent()``, ``count``), its value does not matter.
"""

from __future__ import annotations

import re
from typing import Any

import promql_parser as pp

from alerts.promql import at_kind, calls, children, quote, selector_of
from alerts.shape import is_age, is_clock_name

_CALENDAR = frozenset(
    {"hour", "minute", "month", "year", "day_of_week", "day_of_month", "day_of_year", "days_in_month"}
)
_NOISY = frozenset({"rate", "irate", "deriv", "predict_linear"})  # scaled by a float: equal up to its last digits
_PRESENCE = frozenset(
    {"absent", "absent_over_time", "present_over_time", "count_over_time", "changes", "resets", "count", "group"}
)
_REAL_SECONDS = re.compile(r"seconds|duration|latency|delay")
_QUEUE = re.compile(r"queue_?(length|size|depth)|backlog|in_?flight|_pending|_waiting")


def unscalable(node: Any) -> str | None:
    """Why an expression cannot be scaled, or None."""
    return _reason(node, value_matters=True)


def _reason(node: Any, *, value_matters: bool) -> str | None:
    if is_age(node):
        return _reason_of_selectors(node)
    found = _reason_here(node, value_matters=value_matters)
    if found:
        return found
    below = value_matters and _name(node) not in _PRESENCE
    return next(filter(None, (_reason(child, value_matters=below) for child in children(node))), None)


def _reason_of_selectors(node: Any) -> str | None:
    """Inside an age the clock's values are as they should be, but a fixed time is still fixed."""
    if isinstance(node, pp.VectorSelector | pp.MatrixSelector | pp.SubqueryExpr) and at_kind(node) == "number":
        return _FIXED
    return next(filter(None, (_reason_of_selectors(child) for child in children(node))), None)


_FIXED = "@ with a fixed time cannot be scaled"


def _reason_here(node: Any, *, value_matters: bool) -> str | None:
    match node:
        case pp.VectorSelector() | pp.MatrixSelector():
            if at_kind(node) == "number":
                return _FIXED
            return _reason_of_metric(node) if value_matters else None
        case pp.SubqueryExpr():
            return _FIXED if at_kind(node) == "number" else None
        case pp.Call():
            return _reason_of_function(node.func.name)
        case pp.BinaryExpr() if str(node.op) in ("==", "!="):
            noisy = sorted(calls(node) & _NOISY)
            return f"{noisy[0]}() is compared for equality, which float noise would decide" if noisy else None
        case _:
            return None


def _reason_of_function(name: str) -> str | None:
    if name in _CALENDAR:
        return f"{name}() follows the calendar, which does not run faster"
    if name == "time":
        return "time() is scaled only as `time() - x` with x a real clock (a start time, timestamp())"
    if name == "timestamp":
        return "timestamp() is scaled only as `time() - timestamp(x)`"
    return None


def _reason_of_metric(node: Any) -> str | None:
    selector = selector_of(node)
    patterns = (m.value for m in selector.matchers if m.name == "__name__" and m.operator in ("=", "=~"))
    name = selector.metric or " ".join(patterns)
    if name.endswith("_count") or is_clock_name(name):
        return None
    if _REAL_SECONDS.search(name):
        return f"{quote(name)} measures how long something takes on the machine, which does not run faster"
    if _QUEUE.search(name):
        return f"{quote(name)} is the length of a queue, which grows with the real rate"
    return None


def _name(node: Any) -> str:
    if isinstance(node, pp.Call):
        return str(node.func.name)
    return str(node.op) if isinstance(node, pp.AggregateExpr) else ""
