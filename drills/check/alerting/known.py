"""Can a selector find anything: every metric, label and value against the catalogue of the Cilium version."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from difflib import get_close_matches
from typing import Final

from alerts import catalog
from alerts.catalog import NEWEST, Catalogue, Metric, Removed, Series
from alerts.promql import LabelMatcher
from drills.check.alerting.matching import any_passes, passes
from drills.check.alerting.occurrences import Occurrence, metrics_below
from drills.check.finding import Finding, Level, Rule
from drills.cilium.release import release_of

_SOURCE: Final = "Cilium 1.20 pkg/metrics/metrics.go and Documentation/observability/metrics.rst; alerts/catalog"


def _example(expr: str) -> str:
    return f"""\
groups:
- name: cilium
  rules:
  - alert: CiliumSecurity
    expr: {expr}
    for: 1m
    labels: {{severity: warning}}
    annotations: {{summary: Something is denied}}
"""


_RIGHT: Final = _example('sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10')
UNKNOWN = Rule(
    name="cilium/unknown-metric",
    level=Level.ERROR,
    title="No version of Cilium has this metric",
    problem="The name is misspelt, guessed, or that of another exporter. Prometheus does not mind: a selector that "
    "finds nothing is an empty vector, and the rule's health stays ok.",
    effect="The expression is always empty: the alert never fires.",
    fix="Use the metric that is proposed, or add your own metrics with --catalog FILE.",
    wrong=_example("sum(increase(cilium_policy_verdict_total[5m])) > 10"),
    right=_RIGHT,
    source=_SOURCE,
)
REMOVED = Rule(
    name="cilium/removed-metric",
    level=Level.ERROR,
    title="This version of Cilium does not have the metric any more",
    problem="The rule was written for an older Cilium. An upgrade does not say that a metric went away.",
    effect="The expression is always empty: the alert never fires.",
    fix="Use what took its place.",
    wrong=_example("sum(increase(cilium_policy_l7_denied_total[5m])) > 10"),
    right=_RIGHT,
    source="Cilium's upgrade notes, 1.14 to 1.20",
)
LABEL = Rule(
    name="cilium/unknown-label",
    level=Level.ERROR,
    title="The metric does not have this label",
    problem="The label belongs to another metric, or to Hubble's flows, or is misspelt.",
    effect="No series has the label, so the matcher passes none: the expression is always empty.",
    fix="Use a label that the metric has; `alerts/catalog` lists them.",
    wrong=_example('sum(increase(cilium_policy_l7_total{verdict="DENIED"}[5m])) > 10'),
    right=_RIGHT,
    source=_SOURCE,
)
VALUE = Rule(
    name="cilium/label-value",
    level=Level.ERROR,
    title="The label never has this value",
    problem="The value is in the wrong case, belongs to another metric, or is misspelt. The agent writes `direction` "
    "in upper case, Hubble in lower case; `reason` is a text in one and a name in the other.",
    effect="The matcher passes no series: the expression is always empty.",
    fix="Use one of the values that the label has.",
    wrong=_example('sum(increase(cilium_policy_l7_total{rule="DENIED"}[5m])) > 10'),
    right=_RIGHT,
    source=_SOURCE,
)
OFF = Rule(
    name="cilium/metric-off",
    level=Level.NOTE,
    title="The metric is off until something turns it on",
    problem="Hubble exports nothing until hubble.metrics.enabled names it, and a few of the agent's metrics are "
    "disabled by default.",
    effect="In a cluster with the chart's default values the expression is always empty.",
    fix="Turn the metric on in the values of the chart, and alert on its absence.",
    wrong=_example('sum(cilium_fqdn_active_names{endpoint="7"}) > 1000'),
    right=_RIGHT,
    source=_SOURCE,
)
FOREIGN = Rule(
    name="prometheus/unknown-series",
    level=Level.NOTE,
    title="Nothing that was asked knows this series",
    problem="Without --prometheus: the metric is not one of Cilium's, so nothing can be said of it from files alone. "
    "With it: the server has no such series, which is a warning.",
    effect="If nothing exports it, the rule is silent for ever, and its health stays ok.",
    fix="Ask a Prometheus that scrapes it (--prometheus URL), or name it in a catalogue of your own (--catalog FILE).",
    wrong=_example("sum(rate(shop_orders_refused[5m])) > 10"),
    right=_RIGHT,
    source="alerts/catalog",
)
RULES = (UNKNOWN, REMOVED, LABEL, VALUE, OFF, FOREIGN)

# What scraping adds, and what relabelling adds in the charts that are around.
_TARGET: Final = frozenset({
    "__name__", "job", "instance", "pod", "namespace", "node", "container", "endpoint", "service", "cluster",
    "prometheus", "prometheus_replica", "replica", "region", "zone", "availability_zone", "env", "environment", "stage",
    "tenant", "tenant_id", "team", "app", "application", "component", "datacenter", "dc", "site", "hostname", "host",
    "nodename",
    "node_name", "kubernetes_node", "pod_name", "cluster_name", "cluster_id", "k8s_app", "io_cilium_app", "receive",
    "monitor", "origin_prometheus", "ingress_class", "project", "customer", "account", "provider",
    "controller_revision_hash",
})  # fmt: skip
_TARGET_PREFIXES: Final = (
    "exported_", "kubernetes_", "k8s_", "label_", "app_kubernetes_io_", "__", "cluster_", "node_", "topology_",
    "cloud_",
)  # fmt: skip
_AGENT_NAMESPACES: Final = ("kube-system", "cilium", "cilium-system", "kube-cilium", "networking", "network", "cni")
_BUILT_IN: Final = ("ALERTS", "ALERTS_FOR_STATE", "up")
_BUILT_IN_PREFIX: Final = "scrape_"


def check(found: Sequence[Occurrence], catalogue: Catalogue, recorded: Set[str]) -> Iterator[Finding]:
    """What is wrong with selectors; ``recorded`` are the names that the given recording rules make."""
    noted: set[str] = set()
    for each in found:
        name = each.metric
        if name in recorded:
            continue
        series = catalogue.find(name)
        if not name:
            yield from _pattern(each, catalogue)
        elif series is not None:
            yield from _labels(each, series, catalogue)
            if (series.metric.off or series.metric.only) and name not in noted:
                noted.add(name)
                yield _off(each, series.metric)
        elif catalogue.covers(name):
            yield _unknown(each, catalogue)
        elif name not in noted and ":" not in name and not built_in(name):
            noted.add(name)
            yield FOREIGN.at(each.rule.at(each.offset, name), f"{name} is not in the catalogue", span=len(name))


def built_in(name: str) -> bool:
    """Whether Prometheus itself makes the metric."""
    return name in _BUILT_IN or name.startswith(_BUILT_IN_PREFIX)


def is_of_the_scrape(label: str, metric: Metric, catalogue: Catalogue) -> bool:
    """Whether scraping, relabelling or Hubble's context options may add a label to a metric."""
    hubble = metric.context and label in catalogue.context
    return label in _TARGET or label.startswith(_TARGET_PREFIXES) or hubble


def _unknown(each: Occurrence, catalogue: Catalogue) -> Finding:
    name = each.metric
    place = each.rule.at(each.offset, name)
    gone = catalogue.removed.get(name)
    if gone is not None:
        level = Level.WARNING if _doubtful(gone, catalogue) or _beside_or(each) else Level.ERROR
        instead = f"Use {gone.instead}." if gone.instead else f"The nearest there is: {catalogue.nearest(name)}."
        text = f"{name} is gone since Cilium {gone.removed}"
        return REMOVED.at(place, text, effect=empty(each, name), fix=instead, level=level, span=len(name))
    level = Level.ERROR if catalogue.certain(name) else Level.WARNING
    family = catalogue.families.get(name)
    if family is not None and family.type == "histogram":
        text = f"{name} is a histogram: its series are {name}_bucket, {name}_sum and {name}_count"
        fix = f"Use one of the three, such as rate({name}_count[5m]), or scrape native histograms."
        return UNKNOWN.at(place, text, effect=empty(each, name), fix=fix, level=Level.WARNING, span=len(name))
    if catalogue.whole and catalog.of_version(NEWEST).find(name) is not None:
        text = f"Cilium {catalogue.version} has no metric {name} yet"
        return UNKNOWN.at(
            place, text, effect=empty(each, name), fix=f"Cilium {NEWEST} has it.", level=level, span=len(name)
        )
    meant = catalogue.never.get(name) or catalogue.nearest(name)
    text = f"Cilium {catalogue.version} has no metric {name}"
    return UNKNOWN.at(place, text, effect=empty(each, name), fix=f"Use {meant}.", level=level, span=len(name))


def _doubtful(gone: Removed, catalogue: Catalogue) -> bool:
    return gone.unverified and release_of(gone.removed) >= release_of(catalogue.version)


def _softened(each: Occurrence, level: Level) -> Level:
    """One side of ``or`` may be meant for another version of Cilium: where the other reads the same metric."""
    for operator, node, side in each.operators():
        if operator == "or" and each.metric in metrics_below(node.rhs if side == 0 else node.lhs):
            return Level.WARNING
    return level


def _beside_or(each: Occurrence) -> bool:
    absent = each.inside("absent", "absent_over_time")
    return not absent and any(operator == "or" for operator, _, _ in each.operators())


def empty(each: Occurrence, what: str) -> str:
    """What becomes of the rule when a selector finds nothing."""
    rule = each.rule
    if each.inside("absent", "absent_over_time"):
        return f"absent() of what never exists is always 1: {rule.loud}."
    for operator, _, side in each.operators():
        if operator == "unless" and side == 1:
            return f"{what} never has a series, so `unless` takes nothing away from what {rule} finds."
        if operator == "or":
            return (
                f"{what} never has a series, so this side of `or` is always empty; only the other can make {rule} true."
            )
    return f"The expression is always empty: {rule.silent}."


def _off(each: Occurrence, metric: Metric) -> Finding:
    name = each.metric
    text = f"{name} is off by default" if metric.off else f"{name} is there only with {metric.only}"
    fix = f"It takes {metric.off or metric.only}."
    return OFF.at(each.rule.at(each.offset, name), text, fix=fix, span=len(name))


def _pattern(each: Occurrence, catalogue: Catalogue) -> Iterator[Finding]:
    for matcher in each.selector.matchers:
        if matcher.name != "__name__" or matcher.operator != "=~" or not catalogue.covers(matcher.value):
            continue
        if any_passes(matcher, tuple(catalogue.series)) is False:
            level = Level.ERROR if catalogue.certain(matcher.value) else Level.WARNING
            place = each.rule.at(each.label_offset("__name__"), "__name__")
            text = f"no metric of Cilium {catalogue.version} is called {matcher.value}"
            yield UNKNOWN.at(place, text, effect=empty(each, matcher.value), level=level, span=8)


def _labels(each: Occurrence, series: Series, catalogue: Catalogue) -> Iterator[Finding]:
    metric = series.metric
    if metric.labels is None:
        return
    for matcher in each.selector.matchers:
        values = metric.labels.get(matcher.name)
        if values:
            yield from _value(each, matcher, values, metric)
        elif values is None and matcher.name not in series.extra:
            yield from _label(each, matcher, metric, catalogue)


def _label(each: Occurrence, matcher: LabelMatcher, metric: Metric, catalogue: Catalogue) -> Iterator[Finding]:
    label = matcher.name
    if label == "namespace" and metric.exporter == "agent":
        yield from _agents_namespace(each, matcher, metric)
    if is_of_the_scrape(label, metric, catalogue):
        return
    absent = passes(matcher, "")
    if absent is None or (absent and matcher.value == ""):
        return
    own = sorted(metric.labels or ())
    has = f"it has {', '.join(own)}" if own else "it has none of its own"
    text = f"{metric.name} has no label {label}; {has}"
    close = get_close_matches(label, own, n=1) or [name for name in own if label in name.split("_")]
    fix = f"Use {close[0]}." if close else f"Remove the matcher, or use a label of {metric.name}."
    place = each.rule.at(each.label_offset(label), label)
    if absent:
        effect = f"A label that is not there counts as empty, which {matcher} lets through: the matcher does nothing."
        yield LABEL.at(place, text, effect=effect, fix=fix, level=Level.WARNING, span=len(label))
        return
    sure = bool(close) or label in catalogue.label_names()
    level = Level.ERROR if sure and catalogue.whole and not metric.unverified else Level.WARNING
    effect = empty(each, f"{each.metric} with {label}")
    if level is Level.WARNING:
        effect = f"Unless relabelling adds {label}: {effect[0].lower()}{effect[1:]}"
    yield LABEL.at(place, text, effect=effect, fix=fix, level=_softened(each, level), span=len(label))


def _agents_namespace(each: Occurrence, matcher: LabelMatcher, metric: Metric) -> Iterator[Finding]:
    if any_passes(matcher, _AGENT_NAMESPACES) is not False:
        return
    text = f"the namespace of {metric.name} is that of the agent's pod, not of whose packets it counts"
    effect = (
        f"{matcher} passes no series, unless the agents run in such a namespace: the agents' metrics know nodes, and "
        f"no namespaces and pods, and {each.rule} finds nothing."
    )
    fix = "Remove the matcher, or count with Hubble, whose labelsContext adds source_namespace."
    place = each.rule.at(each.label_offset("namespace"), "namespace")
    yield LABEL.at(place, text, effect=effect, fix=fix, level=Level.WARNING, span=len(str(matcher)))


def _value(each: Occurrence, matcher: LabelMatcher, values: tuple[str, ...], metric: Metric) -> Iterator[Finding]:
    place = each.rule.at(each.label_offset(matcher.name), matcher.name)
    named = [value or "(none)" for value in values]
    shown = ", ".join(named) if len(named) <= 8 else f"{', '.join(named[:5])} and {len(named) - 5} more"
    span = len(str(matcher))
    if any_passes(matcher, values) is False:
        text = f"{matcher.name} of {metric.name} is never {_quoted(matcher)}"
        level = Level.WARNING if metric.unverified else Level.ERROR
        effect = empty(each, f"{each.metric} with {matcher}")
        fix = f"{_nearest(matcher.value, values)}Values: {shown}."
        yield VALUE.at(place, text, effect=effect, fix=fix, level=_softened(each, level), span=span)
    elif matcher.operator == "!=" and matcher.value and matcher.value not in values:
        text = f"{matcher.name} of {metric.name} is never {_quoted(matcher)}, so this takes nothing away"
        effect = f"Every series of {metric.name} passes the matcher: {each.rule} counts what it was meant to leave out."
        fix = f"{_nearest(matcher.value, values)}Values: {shown}."
        yield VALUE.at(place, text, effect=effect, fix=fix, level=Level.WARNING, span=span)


def _quoted(matcher: LabelMatcher) -> str:
    return f'"{matcher.value}"' if matcher.operator in ("=", "!=") else f"anything that {matcher} lets through"


def _nearest(value: str, values: Sequence[str]) -> str:
    for each in values:
        if each.lower() == value.lower():
            return f'Write "{each}". '
    close = get_close_matches(value, values, n=1)
    return f'Did you mean "{close[0]}"? ' if close else ""
