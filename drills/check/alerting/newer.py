"""What PromQL and rule files have gained since Prometheus 2.42: an older promtool refuses it, and that is no mistake.

Prometheus 3.14.0: promql/parser/functions.go, template/template.go, CHANGELOG.md. Every function here is one that
promtool 2.42.0 was shown not to know. Whether the rest of an expression is right, promql-parser says, which follows
Prometheus 3; only what it does not know itself is taken on trust.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import promql_parser as pp

from alerts import promql
from drills.check.alerting.groups import RuleAt

KNOWN_TO: Final = "Prometheus 3.14"
_EXPERIMENTAL: Final = "--enable-feature=promql-experimental-functions"
_FLAGS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("first_over_time", "histogram_avg", "histogram_stddev", "histogram_stdvar"), ""),
    **dict.fromkeys(
        (
            "double_exponential_smoothing", "histogram_quantiles", "info", "limit_ratio", "limitk", "mad_over_time",
            "max_of", "min_of", "range", "sort_by_label", "sort_by_label_desc", "start_timestamp", "step",
            "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time",
        ),
        _EXPERIMENTAL,
    ),
    **dict.fromkeys(("fill", "fill_left", "fill_right"), "--enable-feature=promql-binop-fill-modifiers"),
    **dict.fromkeys(("anchored", "smoothed"), "--enable-feature=promql-extended-range-selectors"),
}  # fmt: skip
_TEMPLATE_FUNCTIONS: Final = frozenset({"now", "toDuration", "urlQueryEscape"})

_FUNCTION: Final = re.compile(r'unknown function with name "(\w+)"|function "(\w+)" is not enabled')
_MODIFIER: Final = re.compile(r'unexpected identifier "(anchored|smoothed)"')
_NUMBER: Final = re.compile(r"missing unit character in duration|unexpected number .* expected duration|"
                            r"unexpected duration ")  # fmt: skip
_QUOTED: Final = re.compile(r"unexpected string .* in (?:label matching|grouping opts)")
_ARITHMETIC: Final = re.compile(r'unexpected <op:[-+*/%^]> in subquery or range, expected ":" or "\]"')
_TEMPLATE: Final = re.compile(r'function "(\w+)" not defined')
_LABEL: Final = re.compile(r"invalid label name: (.+)", re.DOTALL)
_RECORD: Final = re.compile(r"invalid recording rule name: ([^{}]+)", re.DOTALL)
_EXTENDED: Final = re.compile(r"\b(?:anchored|smoothed)\b")


def newer(rule: RuleAt, reason: str) -> tuple[str, str] | None:
    """What promtool refuses and newer versions know, and the flag that it takes (or nothing); None for a mistake."""
    found = _FUNCTION.search(reason)
    if found is not None:
        name = found[1] or found[2]
        return (name, _FLAGS[name]) if name in _FLAGS and _reads(rule.expr) else None
    found = _MODIFIER.search(reason)
    if found is not None:
        return (found[1], _FLAGS[found[1]]) if _reads(_EXTENDED.sub("", rule.expr)) else None
    found = _TEMPLATE.search(reason)
    if found is not None:
        return (f"the template function {found[1]}", "") if found[1] in _TEMPLATE_FUNCTIONS else None
    return _syntax(rule, reason)


def _syntax(rule: RuleAt, reason: str) -> tuple[str, str] | None:
    if _NUMBER.search(reason) and _reads(rule.expr):
        return "a number of seconds where a duration stands, or the other way round", ""
    if _QUOTED.search(reason) and _reads(rule.expr):
        return "names in quotes", ""
    if _ARITHMETIC.search(reason):
        return "arithmetic in a range", ""
    name = _LABEL.fullmatch(reason) or _RECORD.fullmatch(reason)
    return (f'names such as "{name[1]}"', "") if name and name[1].strip() else None


def _reads(expr: str) -> bool:
    """Whether the parser that follows Prometheus 3 takes an expression, and no range is 0."""
    try:
        tree = promql.parse(expr)
        return not any(isinstance(node, pp.MatrixSelector) and not node.range for node in promql.walk(tree))
    except promql.PromqlError:
        return False
