"""How a counter is read: raw, without its first events, per node, without a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, Final, TypeAlias

import promql_parser as pp

from alerts.catalog import Catalogue, Series
from alerts.promql import MIRRORED, constant
from drills.check.alerting.occurrences import Occurrence, operator_of
from drills.check.finding import Finding, Level, Rule

_SAFE: Final = """\
groups:
- name: cilium
  rules:
  - alert: CiliumPolicyDrops
    expr: |-
      sum by (direction) (
        (
          sum by (instance, direction) (cilium_drop_count_total{reason=~"Policy denied.*"})
          unless sum by (instance, direction) (cilium_drop_count_total{reason=~"Policy denied.*"} offset 5m)
          and on (instance) (up offset 5m == 1)
        )
        or sum by (instance, direction) (increase(cilium_drop_count_total{reason=~"Policy denied.*"}[5m]))
      ) > 10
    for: 1m
    labels: {severity: warning}
    annotations: {summary: Packets are dropped by policy}
"""


def _l7(expr: str, wait: str = "1m") -> str:
    return f"""\
groups:
- name: cilium
  rules:
  - alert: CiliumRequestsDenied
    expr: {expr}
    for: {wait}
    labels: {{severity: warning}}
    annotations: {{summary: Requests are denied}}
"""


_RIGHT: Final = _l7('sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10')
RAW = Rule(
    name="prometheus/raw-counter",
    level=Level.WARNING,
    title="A counter's total is compared",
    problem="A counter only grows, and starts again at 0 with its process; what it stands at says nothing of now.",
    effect="The alert fires once the total has passed the threshold, however long that took, and goes on until the "
    "process restarts.",
    fix="Compare increase(counter[5m]), or rate().",
    wrong=_l7('sum(cilium_policy_l7_total{rule="denied"}) > 10'),
    right=_RIGHT,
    source="Prometheus documentation, metric types",
)
BIRTH = Rule(
    name="cilium/birth-trap",
    level=Level.WARNING,
    title="increase() does not see the events that give birth to a series",
    problem="The series is not there until the first event, and then begins with that event's value: increase() and "
    "rate() take it for where the counter stood before. cilium_policy_l7_total is there from the start at 0; drops and "
    "Hubble's metrics are not.",
    effect="The first burst that is dropped for a reason on a node counts 0, unless it goes on through several "
    "scrapes.",
    fix="Count a series in full that was not there before, on a node that was being scraped then: the rule "
    "CiliumPolicyDrops in alerts/rules/cilium-security.yaml does.",
    wrong=_l7('sum(increase(cilium_drop_count_total{reason=~"Policy denied.*"}[5m])) > 10'),
    right=_SAFE,
    source="Prometheus promql/functions.go, extrapolatedRate; Cilium 1.20 pkg/maps/metricsmap/metricsmap.go",
)
SPREAD = Rule(
    name="cilium/threshold-per-node",
    level=Level.WARNING,
    title="The threshold holds for each node's series by itself",
    problem="Every agent exports its own series, one for each reason and direction, and nothing adds them up.",
    effect="What an attacker's packets or requests bring about is spread over nodes and stays below the threshold on "
    "each.",
    fix="Add up before comparing: sum(...), or sum by (reason) (...).",
    wrong=_l7('increase(cilium_policy_l7_total{rule="denied"}[5m]) > 10'),
    right=_RIGHT,
    source="promtool: 8 denials on each of two nodes pass a threshold of 10 only with the sum",
)
REASON = Rule(
    name="cilium/drops-of-any-reason",
    level=Level.WARNING,
    title="Drops of every reason are counted together",
    problem="A healthy cluster drops packets all the time: stale addresses, unknown protocols, backends that are gone.",
    effect="The alert fires for background noise, and what policy denies drowns in it.",
    fix='Choose reasons: {reason=~"Policy denied.*"} of the agent, {reason=~"POLICY_DENIED|POLICY_DENY"} of Hubble; '
    "or leave the usual ones out with !~.",
    wrong=_SAFE.replace('{reason=~"Policy denied.*"}', ""),
    right=_SAFE,
    source="cilium-cli, defaults.ExpectedDropReasons",
)
_NOISE: Final = '"Stale or unroutable IP", "Unsupported L3 protocol"'
RULES = (RAW, BIRTH, SPREAD, REASON)

RATES: Final = frozenset({"increase", "rate", "irate", "delta", "idelta"})
_SETS: Final = frozenset({"and", "or", "unless"})
_VALUES: Final = ("sum", "max", "min", "avg", "topk", "bottomk", "quantile")  # aggregations that keep a total a total
_KEEPING: Final = frozenset({  # functions that keep a total a total
    "max_over_time", "min_over_time", "avg_over_time", "last_over_time", "sum_over_time", "quantile_over_time", "abs",
    "ceil", "floor", "round", "clamp", "clamp_min", "clamp_max", "sort", "sort_desc", "label_replace", "label_join",
})  # fmt: skip
_Judge: TypeAlias = Callable[[Occurrence, Series, Sequence[Occurrence]], Finding | None]


def check(found: Sequence[Occurrence], catalogue: Catalogue, recorded: Set[str]) -> Iterator[Finding]:
    """What is wrong with how alerts read Cilium's counters; each rule's selectors stand together in ``found``."""
    for mine in _by_rule(found):
        rule = mine[0].rule
        known = [
            (each, series)
            for each in mine
            if each.metric not in recorded and (series := catalogue.find(each.metric)) and series.type == "counter"
        ]
        if not (rule.alerting or rule.guard) or not known:
            continue
        yield from _once(_raw, known, mine)
        if rule.guard:  # may stop a run for any reason, and looks while the attack goes on
            continue
        yield from _once(_birth, known, mine)
        yield from _once(_spread, known, mine)
        yield from _once(_reason, known, mine)


def _by_rule(found: Sequence[Occurrence]) -> Iterator[list[Occurrence]]:
    mine: list[Occurrence] = []
    for each in found:
        if mine and mine[0].rule is not each.rule:
            yield mine
            mine = []
        mine.append(each)
    if mine:
        yield mine


def _once(judge: _Judge, known: Sequence[tuple[Occurrence, Series]], mine: Sequence[Occurrence]) -> Iterator[Finding]:
    """One finding for each metric of the rule."""
    told: set[str] = set()
    for each, series in known:
        if each.metric not in told and (finding := judge(each, series, mine)) is not None:
            told.add(each.metric)
            yield finding


def _raw(each: Occurrence, _series: Series, mine: Sequence[Occurrence]) -> Finding | None:
    found = compared(each, aggregated=True)
    if (each.selector.range_ms and each.function not in _KEEPING) or found is None or _shifted(each, mine):
        return None
    operator, limit = found
    name = each.metric
    text = f"the total of {name} is compared, not what came of late"
    effect = (
        f"{name} counts from the start of each process: {each.rule} asks whether the total is {operator} {limit:g}, "
        "which changes with uptime and restarts and not with what happens now."
    )
    fix = f"Write increase({name}[5m]) in its place."
    return RAW.at(each.rule.at(each.offset, name), text, effect=effect, fix=fix, span=len(name))


def _birth(each: Occurrence, series: Series, mine: Sequence[Occurrence]) -> Finding | None:
    metric = series.metric
    if metric.born != "first-event" or metric.early or metric.unverified or each.function not in RATES:
        return None
    if _newborn_safe(each, mine):
        return None
    name = each.metric
    text = f"{each.function}() does not see what a new series of {name} begins with"
    labels = ", ".join(label for label in metric.labels or {})
    effect = (
        f"Each series ({labels}) of {name} is born by its first event, and {each.function}() counts from there: a "
        f"burst between two scrapes on a node where there was none before adds 0, and {each.rule} stays silent."
    )
    return BIRTH.at(each.rule.at(each.offset, name), text, effect=effect, span=len(name))


def _newborn_safe(each: Occurrence, mine: Sequence[Occurrence]) -> bool:
    """Whether the rule counts a newborn series in full: the metric as it is, compared with what it was before."""
    same = [other.selector for other in mine if other.metric == each.metric and not other.selector.range_ms]
    return any(other.offset_ms for other in same) and any(not other.offset_ms for other in same)


def _shifted(each: Occurrence, mine: Sequence[Occurrence]) -> bool:
    """Whether the rule also looks at another moment of the metric: it compares the difference, not the total."""
    at = each.selector.offset_ms
    return any(other.metric == each.metric and other.selector.offset_ms != at for other in mine)


def _spread(each: Occurrence, series: Series, _mine: Sequence[Occurrence]) -> Finding | None:
    metric = series.metric
    if not metric.counts or not metric.per_node or each.function not in RATES:
        return None
    found = compared(each, aggregated=False)
    if found is None or found[0] not in (">", ">=") or found[1] <= 0:
        return None
    operator, limit = found
    name = each.metric
    text = f"{name} of each node is compared by itself"
    by = ", ".join(["node", *(metric.labels or {})])
    effect = (
        f"There is one series for each {by}, and each must be {operator} {limit:g} by itself: an attack that is spread "
        f"over nodes{' or reasons' if metric.counts == 'drops' else ''} fires nothing."
    )
    return SPREAD.at(each.rule.at(each.offset, name), text, effect=effect, span=len(name))


def _reason(each: Occurrence, series: Series, _mine: Sequence[Occurrence]) -> Finding | None:
    if series.metric.counts != "drops" or each.inside("absent", "absent_over_time"):
        return None
    if any(matcher.name == "reason" for matcher in each.selector.matchers):
        return None
    if any(isinstance(node, pp.AggregateExpr) and operator_of(node) in ("count", "group") for node, _ in each.above):
        return None
    name = each.metric
    hubble = series.metric.exporter == "hubble"  # whose reasons are names, where the agent's are texts
    noise = "STALE_OR_UNROUTABLE_IP, UNSUPPORTED_L3_PROTOCOL" if hubble else _NOISE
    text = f"{name} without a reason counts the cluster's background noise"
    effect = (
        f"{each.rule} counts {noise} and the like beside what policy denies: it fires in a healthy cluster, or its "
        "threshold is too high for an attack."
    )
    denied = "POLICY_DENIED|POLICY_DENY" if hubble else "Policy denied.*"
    fix = f'Choose the reasons: {{reason=~"{denied}"}}, or leave the usual ones out with !~.'
    return REASON.at(each.rule.at(each.offset, name), text, effect=effect, fix=fix, span=len(name))


def compared(each: Occurrence, *, aggregated: bool) -> tuple[str, float] | None:
    """The comparison with a number that a selector's value comes to: operator and number, the value on the left.

    None where it is not compared, or something other than arithmetic and set operations (and, where ``aggregated``,
    sums and the like) stands between.
    """
    for node, side in reversed(each.above):
        if isinstance(node, pp.BinaryExpr) and operator_of(node) in MIRRORED:
            return _limit(node, operator_of(node), side)
        if not _lets_through(each, node, side, aggregated=aggregated):
            return None
    return None


def _lets_through(each: Occurrence, node: Any, side: int, *, aggregated: bool) -> bool:
    """Whether a node hands on the value of what stands below it, as it is or changed by a constant."""
    if isinstance(node, pp.AggregateExpr):
        return aggregated and operator_of(node) in _VALUES
    if isinstance(node, pp.Call):
        return node.func.name in _KEEPING or (bool(each.selector.range_ms) and node.func.name == each.function)
    if isinstance(node, pp.BinaryExpr):
        operator = operator_of(node)
        if operator in _SETS:
            return side == 0 or operator == "or"
        return constant(node.rhs if side == 0 else node.lhs) is not None
    return isinstance(node, pp.ParenExpr | pp.UnaryExpr | pp.SubqueryExpr)


def _limit(node: Any, operator: str, side: int) -> tuple[str, float] | None:
    if node.modifier is not None and node.modifier.return_bool:
        return None
    number = constant(node.rhs if side == 0 else node.lhs)
    if number is None:
        return None
    return (operator if side == 0 else MIRRORED[operator]), number
