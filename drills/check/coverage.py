"""Coverage: which alerts no drill exercises, and which drills no alert watches.

An alert is exercised by a drill that expects it. A drill is watched by the alerts that it expects, or by a rule that
looks at a series which the drill's attack moves: several variants of an attack need not each expect the same alert.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import promql_parser as pp

from alerts.promql import PromqlError, Selector, children, parse, selector_of
from drills.check.finding import Finding, Level, Rule
from drills.check.firing.story import Story, stories
from drills.check.given import GivenRule, Rules, rules_of
from drills.check.predict.cluster import Cluster
from drills.check.world import LoadedPlaybook, World
from drills.cilium import metrics
from drills.errors import InputError
from drills.playbook import Drill

_NAMED: Final = 3  # alerts of one drill that the table names
_RULES_HEAD = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: denied, namespace: monitoring}
spec:
  groups:
  - name: denied
    rules:
"""


def _alert(name: str, proxy: str) -> str:
    return f"""\
    - alert: {name}
      expr: sum(increase(cilium_policy_l7_total{{rule="denied",proxy_type="{proxy}"}}[5m])) > 10
      for: 1m
      labels: {{severity: warning}}
      annotations: {{summary: A policy denies}}
"""


_HTTP, _DNS = _alert("RequestsDenied", "envoy"), _alert("LookupsDenied", "fqdn")
_PLAYBOOK = """\
---
apiVersion: drills/v1
kind: Playbook
metadata: {name: shop}
spec:
  sources: {web: {namespace: shop, labels: {app: web}}}
  drills:
  - name: admin-path
    inject: {http: {from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}
    control: {http: {from: web, url: "http://api.shop/"}}
    expect: {denied: {status: 403}, alerts: [{name: RequestsDenied, within: 4m}]}
"""
_LOOKUP = """\
  - name: refused-name
    inject: {dns: {from: web, name: malicious.example, rate: 2/s, duration: 3m}}
    control: {dns: {from: web, name: api.example}}
    expect: {denied: {dns: refused}"""

NOT_EXERCISED: Final = Rule(
    name="coverage/alert-not-exercised",
    level=Level.NOTE,
    title="No drill exercises an alert",
    problem="Playbooks and rules were given, and no drill expects this alert.",
    effect="Whether the alert fires when it should has never been shown.",
    fix="Add a drill that does what the alert is there for, and let it expect the alert.",
    wrong=_RULES_HEAD + _HTTP + _DNS + _PLAYBOOK,
    right=_RULES_HEAD + _HTTP + _PLAYBOOK,
    source="drills check",
)
NOT_WATCHED: Final = Rule(
    name="coverage/drill-not-watched",
    level=Level.NOTE,
    title="No alert watches for what a drill does",
    problem="The drill expects no alert, and none of the given rules looks at a series that its attack moves.",
    effect="The policy may hold, but nobody is told that somebody tries.",
    fix="Write an alert for it and let the drill expect it.",
    wrong=_RULES_HEAD + _HTTP + _PLAYBOOK + _LOOKUP + "}\n",
    right=_RULES_HEAD + _HTTP + _DNS + _PLAYBOOK + _LOOKUP + ", alerts: [{name: LookupsDenied, within: 4m}]}\n",
    source="drills check",
)
TOO_LOW: Final = Rule(
    name="coverage/too-low",
    level=Level.ERROR,
    title="Fewer alerts are exercised by a drill than --min-coverage asks for",
    problem="The share of the given alerts that some drill expects is below the number on the command line.",
    effect="`drills check` ends with 1.",
    fix="Add drills for the alerts that the table shows without one.",
    wrong=_RULES_HEAD + _HTTP,
    right=_RULES_HEAD + _HTTP + _PLAYBOOK,
    source="drills check --min-coverage",
    options={"min_coverage": 80},
)
RULES: Final = (NOT_EXERCISED, NOT_WATCHED, TOO_LOW)


@dataclass(frozen=True, slots=True)
class Watch:
    """A drill, the alerts that it expects, and others that look at what it does."""

    loaded: LoadedPlaybook
    number: int
    drill: Drill
    expected: Sequence[str]
    others: Sequence[str]

    @property
    def title(self) -> str:
        return f"{self.loaded.playbook.name}/{self.drill.name}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Every alert with the drills that expect it, and every drill with the alerts that watch it."""

    alerts: dict[str, list[str]]
    watches: Sequence[Watch]

    @property
    def exercised(self) -> int:
        """How many alerts have a drill."""
        return sum(bool(each) for each in self.alerts.values())

    def percent(self, digits: int = 0) -> str:
        """Of the alerts, rounded down, so that nobody reads more than there is; 100 where there are none."""
        if self.exercised == len(self.alerts):
            return "100"
        parts = 10**digits
        return f"{100 * parts * self.exercised // len(self.alerts) / parts:.{digits}f}"


def coverage(world: World, rules: Rules, cluster: Cluster) -> Coverage:
    """What covers what."""
    looks_at = [(each, _selectors(each, rules)) for each in rules.alerts]
    watches = [
        _watch(loaded, number, drill, looks_at, cluster)
        for loaded in world.playbooks
        for number, drill in enumerate(loaded.playbook.drills)
    ]
    alerts: dict[str, list[str]] = {each.rule.alert: [] for each in rules.alerts}
    for watch in watches:
        for name in watch.expected:
            if name in alerts:
                alerts[name].append(watch.title)
    return Coverage(alerts, watches)


def findings(world: World, rules: Rules, found: Coverage) -> Iterator[Finding]:
    """What is not covered, where both sides were given; and less coverage than was asked for."""
    wanted = world.options.min_coverage
    if rules.alerts and wanted is not None and 100 * found.exercised < wanted * len(found.alerts):
        share = f"{found.exercised} of {len(found.alerts)} alerts are exercised by a drill"
        text = f"{share}: {found.percent(1)} %, not {wanted} %"
        yield TOO_LOW.at(rules.alerts[0].place, text)
    if not rules.alerts or not found.watches:
        return
    seen: set[str] = set()
    for given in rules.alerts:
        name = given.rule.alert
        if not found.alerts[name] and name not in seen:
            yield NOT_EXERCISED.at(given.place, f"no drill expects {name}", span=len(name))
        seen.add(name)
    for watch in found.watches:
        if not watch.expected and not watch.others:
            place = watch.loaded.document.place_of(("spec", "drills", watch.number, "name"))
            text = f"no alert watches for what the drill {watch.drill.name} does"
            yield NOT_WATCHED.at(place, text, span=len(watch.drill.name))


def demand(world: World) -> None:
    """InputError where --min-coverage asks for something and no alerting rule was given that could be covered."""
    wanted = world.options.min_coverage
    if wanted and not rules_of(world).alerts:
        raise InputError(f"--min-coverage {wanted}: there is no alerting rule at these paths, so nothing was measured.")


def table(world: World) -> str:
    """The coverage as text; empty where no playbook or no rule was given."""
    rules = rules_of(world)
    if not rules.alerts or not world.playbooks:
        return ""
    found = coverage(world, rules, Cluster.of(world))
    watched = sum(bool(each.expected or each.others) for each in found.watches)
    head = (
        f"Coverage: {found.exercised} of {len(found.alerts)} alerts are exercised by a drill ({found.percent()} %), "
        f"{watched} of {len(found.watches)} drills are watched by an alert."
    )
    alerts = [(name, ", ".join(drills) or "no drill") for name, drills in found.alerts.items()]
    drills = [(each.title, _watched_by(each)) for each in found.watches if not each.expected]
    return "\n".join([head, *_rows("alert", "exercised by", alerts), *_rows("drill", "watched by", drills)]) + "\n"


def _rows(left: str, right: str, rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if not rows:
        return
    width = max(len(left), *(len(each) for each, _ in rows))
    yield ""
    for first, second in [(left, right), *rows]:
        yield f"  {first:<{width}}  {second}"


def _watched_by(watch: Watch) -> str:
    if not watch.others:
        return "no alert"
    named = ", ".join(watch.others[:_NAMED])
    more = f" and {len(watch.others) - _NAMED} more" if len(watch.others) > _NAMED else ""
    return f"expects none; {named}{more} could fire"


def _watch(
    loaded: LoadedPlaybook,
    number: int,
    drill: Drill,
    looks_at: Sequence[tuple[GivenRule, Sequence[Selector]]],
    cluster: Cluster,
) -> Watch:
    expected = tuple(dict.fromkeys(each.name for each in drill.expect.alerts))
    told = [] if expected else stories(drill, loaded.playbook, cluster)
    others = dict.fromkeys(
        given.rule.alert for given, read in looks_at if any(_moves(story, one) for story in told for one in read)
    )
    return Watch(loaded, number, drill, expected, tuple(others))


def moved_by(given: GivenRule, rules: Rules, told: Sequence[Story]) -> bool:
    """Whether an alert looks at a series that the attack moves in one of the stories."""
    return any(_moves(story, one) for story in told for one in _selectors(given, rules))


def _selectors(given: GivenRule, rules: Rules) -> Sequence[Selector]:
    below = rules.feeding([given.rule.expr]) if rules.records else ()
    texts = [given.rule.expr, *(each.expression for each in below)]
    return [one for text in texts for one in _looked_at(text)]


def _looked_at(expression: str) -> list[Selector]:
    """The selectors whose values matter: not those of which only the absence is looked for."""
    try:
        return list(_valued(parse(expression)))
    except PromqlError:
        return []


def _valued(node: Any) -> Iterator[Selector]:
    if isinstance(node, pp.VectorSelector | pp.MatrixSelector):
        yield selector_of(node)
    elif not (isinstance(node, pp.Call) and node.func.name in ("absent", "absent_over_time")):
        for child in children(node):
            yield from _valued(child)


def _moves(story: Story, selector: Selector) -> bool:
    """Whether a story's attack moves a series that a selector reads; labels of the scrape are passed over."""
    metric = metrics.METRICS.get(selector.metric or "")
    if metric is None:
        return False
    if story.fault is not None:
        moved = [{"type": "endpoint", "status": each} for each in ("reachable", "unreachable")]
        of_health = metric in (metrics.HEALTH_STATUS, metrics.UNREACHABLE_HEALTH_ENDPOINTS)
        return of_health and any(_reads(selector, each) for each in moved)
    return any(each.attack and each.metric is metric and _reads(selector, dict(each.labels)) for each in story.streams)


def _reads(selector: Selector, labels: dict[str, str]) -> bool:
    return all(each.passes(labels[each.name]) for each in selector.matchers if each.name in labels)
