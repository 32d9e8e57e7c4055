"""How long a rule looks back, against how long it waits, how often it looks, and how often its metric is scraped.

Recording rules are looked through: an alert over ``job:denied:increase5m`` looks back as far as that one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from alerts.bounds import Timing
from alerts.catalog import Catalogue
from alerts.promql import reach_of
from drills.check.alerting.counting import RATES, compared
from drills.check.alerting.groups import RuleAt
from drills.check.alerting.occurrences import Occurrence
from drills.check.finding import Finding, Level, Rule
from drills.check.given import timing_of
from drills.check.world import World, mapping, mappings
from drills.units import format_duration, parse_duration

CHART_SCRAPE_MS: Final = 10_000  # of the ServiceMonitors that Cilium's chart makes
_MONITORS: Final = ("ServiceMonitor", "PodMonitor")
_ENDPOINTS: Final = ("endpoints", "podMetricsEndpoints")


def _example(window: str = "5m", wait: str = "1m", interval: str = "15s") -> str:
    return f"""\
groups:
- name: cilium
  interval: {interval}
  rules:
  - alert: CiliumRequestsDenied
    expr: sum(increase(cilium_policy_l7_total{{rule="denied"}}[{window}])) > 10
    for: {wait}
    labels: {{severity: warning}}
    annotations: {{summary: Requests are denied}}
"""


FOR = Rule(
    name="prometheus/for-beyond-window",
    level=Level.WARNING,
    title="`for` is longer than a burst stays in the window",
    problem="increase(x[R]) shows a burst for R and no longer. For the alert to fire, the condition must hold for "
    "`for`, and a scrape and an evaluation pass before it is seen.",
    effect="A burst never fires the alert; only an attack that goes on for longer does. Where a playbook expects the "
    "alert for an injection that is too short, that is the error playbook/injection-too-short.",
    fix="Make the window longer than `for`, the scrape interval and the evaluation interval together.",
    wrong=_example(wait="10m"),
    right=_example(),
    source="Prometheus rules/alerting.go",
)
SCRAPES = Rule(
    name="prometheus/window-below-two-scrapes",
    level=Level.WARNING,
    title="The window is too short to hold two scrapes",
    problem="increase() and rate() need two samples inside the window. The interval is that of the given "
    "ServiceMonitors, else of the given Prometheus, else the 10 s of Cilium's chart.",
    effect="In most evaluations the window holds one sample or none, and the expression is empty: the alert is silent, "
    "or flaps.",
    fix="Make the window four scrapes long or more.",
    wrong=_example(window="10s", wait="0s", interval="10s"),
    right=_example(),
    source="Prometheus promql/functions.go, extrapolatedRate; Cilium's chart, prometheus.serviceMonitor.interval",
)
GAPS = Rule(
    name="prometheus/interval-beyond-window",
    level=Level.WARNING,
    title="A rule looks back for less time than passes until it looks again",
    problem="The group's interval is longer than the window, so that nobody looks at what happens in between.",
    effect="A burst that falls between two windows is never seen.",
    fix="Evaluate the group more often, or make the window longer than its interval.",
    wrong=_example(interval="10m", wait="0s"),
    right=_example(),
    source="Prometheus rules/group.go",
)
RULES = (FOR, SCRAPES, GAPS)


@dataclass(frozen=True)
class Windows:
    """What judges rules: their intervals, and what the recording rules come to that they may read."""

    timing: Timing
    scrape_ms: int  # the shortest that is plausible
    catalogue: Catalogue
    read: dict[int, list[Occurrence]]  # the selectors of each rule, by identity
    reaches: dict[str, int] = field(default_factory=dict)  # of recorded metrics: how far back they look
    counted: dict[str, bool] = field(default_factory=dict)  # whether they are how many events there were of late

    def evaluation_ms(self, rule: RuleAt) -> int:
        """How often a rule is evaluated."""
        return rule.interval_ms or self.timing.evaluation_ms

    def reach_ms(self, rule: RuleAt) -> int:
        """How far back a rule looks, through the recording rules that it reads."""
        if rule.tree is None:
            return 0
        return reach_of(rule.tree, lambda selector: self.reaches.get(selector.metric or "", 0))

    def counts(self, each: Occurrence) -> bool:
        """Whether a selector's value is how many events there were of late: directly, or in a recording rule."""
        if each.metric in self.counted:
            return self.counted[each.metric]
        series = self.catalogue.find(each.metric)
        return series is not None and series.type == "counter" and bool(series.metric.counts) and each.function in RATES


def windows_of(
    world: World, rules: Sequence[RuleAt], found: Sequence[list[Occurrence]], catalogue: Catalogue
) -> Windows:
    """For these rules, with the selectors of each."""
    read = {id(rule): mine for rule, mine in zip(rules, found, strict=True)}
    made = Windows(timing_of(world), _scrape_ms(world), catalogue, read)
    records: dict[str, list[RuleAt]] = {}
    for rule in rules:
        if not (rule.alerting or rule.guard) and isinstance(rule.data.get("record"), str):
            records.setdefault(rule.name, []).append(rule)
    for name in _below_first(records, read):
        made.reaches[name] = max(made.reach_ms(rule) for rule in records[name])
        made.counted[name] = any(made.counts(each) for rule in records[name] for each in read[id(rule)])
    return made


def _below_first(records: Mapping[str, Sequence[RuleAt]], read: Mapping[int, Sequence[Occurrence]]) -> Iterator[str]:
    """The recorded metrics, each after those that it is made of; one that is made of itself is followed once."""
    opened: set[str] = set()
    waiting = [(name, False) for name in records]
    while waiting:
        name, below_done = waiting.pop()
        if below_done:
            yield name
        elif name not in opened:
            opened.add(name)
            waiting.append((name, True))
            below = (each.metric for rule in records[name] for each in read[id(rule)])
            waiting += [(one, False) for one in below if one in records]


def check(rules: Sequence[RuleAt], windows: Windows) -> Iterator[Finding]:
    """What is wrong with how far back rules look."""
    for rule in rules:
        mine = windows.read[id(rule)]
        if rule.alerting:
            yield from _for(rule, mine, windows)
        if not rule.guard:
            yield from _gaps(rule, mine, windows)
        yield from _scrapes(mine, windows)


def _for(rule: RuleAt, mine: Sequence[Occurrence], windows: Windows) -> Iterator[Finding]:
    if not rule.for_ms or not any(windows.counts(each) and _by_events(each) for each in mine):
        return
    reach = windows.reach_ms(rule)
    scrape, evaluation = windows.timing.scrape_ms, windows.evaluation_ms(rule)
    needed = rule.for_ms + scrape + evaluation
    if needed < reach:
        return
    wait, window = format_duration(rule.for_ms), format_duration(reach)
    text = f"for: {wait} beside a window of {window}"
    more = ""
    if rule.for_ms < reach:
        more = f" (with a scrape every {format_duration(scrape)} and an evaluation every {format_duration(evaluation)})"
    effect = (
        f"A burst leaves the window after {window}, before the condition has held for {wait}{more}: {rule} is pending, "
        f"and never fires. It fires only for what goes on for {format_duration(max(1000, needed - reach))} or more."
    )
    place = rule.document.place_of((*rule.path, "for"))
    fix = f"Make the window longer than {format_duration(needed)}, or `for` shorter."
    yield FOR.at(place, text, effect=effect, fix=fix, span=len(str(rule.data.get("for"))))


def _by_events(each: Occurrence) -> bool:
    """Whether more events make the rule true, as far as that can be told: not where it waits for their absence."""
    if each.inside("absent", "absent_over_time"):
        return False
    if any(operator == "unless" and side == 1 for operator, _, side in each.operators()):
        return False
    limit = compared(each, aggregated=True)
    return limit is None or limit[0] in (">", ">=", "!=") or (limit[0] == "==" and limit[1] > 0)


def _gaps(rule: RuleAt, mine: Sequence[Occurrence], windows: Windows) -> Iterator[Finding]:
    counted = [each for each in mine if each.metric not in windows.counted and windows.counts(each)]
    if rule.interval_ms is None or not counted or rule.tree is None:
        return
    window = reach_of(rule.tree)
    if window >= rule.interval_ms:
        return
    each = counted[0]
    every = format_duration(rule.interval_ms)
    text = f"{rule} looks back {format_duration(window)}, and looks every {every}"
    missed = format_duration(rule.interval_ms - window)
    effect = f"Nobody looks at {missed} of every {every}: what happens in that time, {rule} never sees."
    yield GAPS.at(rule.at(each.offset, each.metric), text, effect=effect, span=len(each.metric))


def _scrapes(mine: Sequence[Occurrence], windows: Windows) -> Iterator[Finding]:
    told: set[str] = set()
    for each in mine:
        name, window = each.metric, each.selector.range_ms
        short = 0 < window < 2 * windows.scrape_ms and each.function in RATES
        if not short or name in told or windows.catalogue.find(name) is None:
            continue
        told.add(name)
        scrape = format_duration(windows.scrape_ms)
        text = f"[{format_duration(window)}] holds less than two scrapes of {name}, one every {scrape}"
        fix = f"Make the window {format_duration(4 * windows.scrape_ms)} or more."
        yield SCRAPES.at(each.rule.at(each.offset, name), text, fix=fix, span=len(name))


def _scrape_ms(world: World) -> int:
    """The shortest interval at which what was given says that Cilium may be scraped."""
    endpoints = [
        endpoint
        for monitor in world.of_kind(*_MONITORS)
        for key in _ENDPOINTS
        for endpoint in mappings(mapping(monitor.data.get("spec")).get(key))
    ]
    own = [each for each in (_milliseconds(endpoint.get("interval")) for endpoint in endpoints) if each]
    servers = [
        _milliseconds(mapping(each.data.get("spec")).get("scrapeInterval")) for each in world.of_kind("Prometheus")
    ]
    return min(own or [each for each in servers if each], default=CHART_SCRAPE_MS)


def _milliseconds(found: object) -> int:
    try:
        return parse_duration(found) if isinstance(found, str) else 0
    except ValueError:
        return 0
