"""Labels that cannot be what a rule takes them for: matchers that contradict each other, and groups of nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any, Final

import promql_parser as pp

from alerts.catalog import Catalogue
from alerts.promql import LabelMatcher, calls, walk
from drills.check.alerting.examples import example
from drills.check.alerting.known import empty, is_of_the_scrape
from drills.check.alerting.matching import any_passes, passes
from drills.check.alerting.occurrences import Occurrence, metrics_below, operator_of
from drills.check.finding import Finding, Level, Rule

_RIGHT: Final = example('sum by (proxy_type) (increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10')
CONTRADICTION = Rule(
    name="prometheus/contradictory-matchers",
    level=Level.ERROR,
    title="No series can pass all matchers of a selector",
    problem="Two matchers of one label exclude each other; all matchers of a selector must hold.",
    effect="The selector finds nothing, whatever is exported: the alert never fires.",
    fix="Remove one of the two.",
    wrong=example('sum(increase(cilium_policy_l7_total{rule!="denied",rule="denied"}[5m])) > 10'),
    right=_RIGHT,
    source="Prometheus documentation, querying: selectors",
)
GROUPED = Rule(
    name="cilium/grouped-by-unknown-label",
    level=Level.WARNING,
    title="Series are grouped by a label that the metric does not have",
    problem="A label that is not there counts as empty, and every series has it empty.",
    effect="All fall into one group, as if the label were not named, and the alert does not carry it: routes, "
    "inhibitions and annotations that read it find nothing.",
    fix="Group by labels that the metric has; `alerts/catalog` lists them.",
    wrong=example('sum by (verdict) (increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10'),
    right=_RIGHT,
    source="Prometheus documentation, operators: aggregation; alerts/catalog",
)
RULES = (CONTRADICTION, GROUPED)
_ADDING: Final = frozenset({"label_replace", "label_join", "info"})


def check(found: Sequence[Occurrence], catalogue: Catalogue, recorded: Set[str]) -> Iterator[Finding]:
    """What is wrong with labels taken together."""
    told: set[tuple[int, int, str]] = set()
    for each in found:
        yield from _contradictions(each, catalogue)
        for key, finding in _groups(each, catalogue, recorded) if not each.rule.guard else ():
            if key not in told:
                told.add(key)
                yield finding


def _contradictions(each: Occurrence, catalogue: Catalogue) -> Iterator[Finding]:
    by_label: dict[str, list[LabelMatcher]] = {}
    for matcher in each.selector.matchers:
        by_label.setdefault(matcher.name, []).append(matcher)
    series = catalogue.find(each.metric)
    for label, matchers in by_label.items():
        known = ((series.metric.labels or {}).get(label) if series else None) or ()
        if len(matchers) > 1 and _excluded(matchers, known):
            shown = " and ".join(map(str, matchers))
            text = f"no value of {label} passes {shown}"
            place = each.rule.at(each.label_offset(label), label)
            yield CONTRADICTION.at(place, text, effect=empty(each, f"{each.metric} with {shown}"), span=len(label))


def _excluded(matchers: Sequence[LabelMatcher], known: tuple[str, ...]) -> bool:
    """Whether one value is asked for that another matcher refuses, or each matcher refuses another known value."""
    for asked in (each.value for each in matchers if each.operator == "="):
        return any(passes(each, asked) is False for each in matchers)
    alone = all(any_passes(each, known) for each in matchers)  # else each of them is a finding of its own
    return bool(known) and alone and all(any(passes(each, one) is False for each in matchers) for one in known)


def _groups(
    each: Occurrence, catalogue: Catalogue, recorded: Set[str]
) -> Iterator[tuple[tuple[int, int, str], Finding]]:
    for node, _ in each.above:
        if not isinstance(node, pp.AggregateExpr) or node.modifier is None or "By" not in str(node.modifier.type):
            continue
        for label in node.modifier.labels:
            names = metrics_below(node.expr)
            if all(name not in recorded and _lacks(name, label, catalogue) for name in names) and not _adds(node.expr):
                yield (id(each.rule), id(node), label), _grouped(each, label)


def _lacks(name: str, label: str, catalogue: Catalogue) -> bool:
    series = catalogue.find(name)
    if series is None or series.metric.labels is None or series.metric.unverified:
        return False
    if label in series.metric.labels or label in series.extra:
        return False
    return not is_of_the_scrape(label, series.metric, catalogue)


def _adds(node: Any) -> bool:
    """Whether something below may make labels."""
    if calls(node) & _ADDING:
        return True
    below = list(walk(node))
    if any(isinstance(one, pp.AggregateExpr) and operator_of(one) == "count_values" for one in below):
        return True
    return any(isinstance(one, pp.BinaryExpr) and one.modifier and one.modifier.group_labels for one in below)


def _grouped(each: Occurrence, label: str) -> Finding:
    metric = each.metric
    text = f"{metric} is grouped by {label}, and has no such label"
    word = each.rule.find(label)
    return GROUPED.at(each.rule.at(word, label), text, level=Level.WARNING, span=len(label))
