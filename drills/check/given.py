"""The alerting and recording rules among what is checked, each with its place; what is malformed is passed over.

(That something is malformed is said by the checks that ask whether a rule loads.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alerts.bounds import Timing
from alerts.promql import PromqlError, Selector, selectors
from alerts.rule import AlertRule, rules_of_object
from drills.check.world import World
from drills.errors import InputError, Place
from drills.source import Document, KeyPath
from drills.units import parse_duration


@dataclass(frozen=True, slots=True)
class GivenRule:
    """An alerting rule, the value of its ``alert`` in the file, and the rule as it is written there."""

    rule: AlertRule
    document: Document
    path: KeyPath
    written: Mapping[str, Any]

    @property
    def place(self) -> Place:
        """Where its name stands."""
        return self.document.place_of((*self.path, "alert"))


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule; ``interval_ms`` is its group's own."""

    name: str
    written: Mapping[str, Any]
    interval_ms: int | None

    @property
    def expression(self) -> str:
        """What it records."""
        return str(self.written.get("expr", ""))


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that would be loaded, and the intervals that it is scraped and evaluated in."""

    alerts: Sequence[GivenRule]
    records: Mapping[str, Sequence[Record]]  # by name
    timing: Timing

    def named(self, name: str, labels: Mapping[str, str]) -> list[GivenRule]:
        """The rules that can bring an alert: their own labels do not contradict those that are expected."""
        return [each for each in self.alerts if each.rule.alert == name and fits(each.rule, labels)]

    def feeding(self, expressions: Sequence[str]) -> list[Record]:
        """The recording rules that expressions read, directly or through others, in an order to evaluate them in."""
        found: list[Record] = []
        opened: set[str] = set()
        waiting = [(name, False) for text in expressions for name in metrics_of(text)] if self.records else []
        while waiting:
            name, below_done = waiting.pop()
            if below_done:
                found += self.records[name]
            elif name in self.records and name not in opened:
                opened.add(name)
                waiting.append((name, True))
                waiting += [(one, False) for each in self.records[name] for one in metrics_of(each.expression)]
        return found


def fits(rule: AlertRule, labels: Mapping[str, str]) -> bool:
    """Whether a rule's own labels do not contradict labels; one that is a template may become anything."""
    return all("{{" in (own := rule.labels.get(key, value)) or own == value for key, value in labels.items())


def rules_of(world: World) -> Rules:
    """The rules of all PrometheusRules and rule files. The intervals are those of a Prometheus resource, if one is
    given, else 15 s.
    """
    alerts: list[GivenRule] = []
    records: dict[str, list[Record]] = {}
    for document, path, groups in _sources(world):
        for number, group in enumerate(groups):
            if isinstance(group, dict):
                _of_group(document, (*path, number), group, alerts, records)
    return Rules(alerts, records, timing_of(world))


def selectors_of(expression: str) -> tuple[Selector, ...]:
    """The selectors of an expression; none where it cannot be parsed."""
    try:
        return selectors(expression)
    except PromqlError:
        return ()


def metrics_of(expression: str) -> list[str]:
    """The metrics that an expression names."""
    return [each.metric for each in selectors_of(expression) if each.metric is not None]


def _sources(world: World) -> Iterator[tuple[Document, KeyPath, list[Any]]]:
    for each in world.prometheus_rules:
        spec = each.data.get("spec")
        groups = spec.get("groups") if isinstance(spec, dict) else None
        if isinstance(groups, list):
            yield each.document, (*each.at, "spec", "groups"), groups
    for document in world.rule_files:
        yield document, ("groups",), document.data["groups"]


def _of_group(
    document: Document,
    path: KeyPath,
    group: Mapping[str, Any],
    alerts: list[GivenRule],
    records: dict[str, list[Record]],
) -> None:
    rules = group.get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        if not isinstance(rule, dict):
            continue
        if "record" in rule:
            name = str(rule["record"])
            records.setdefault(name, []).append(Record(name, rule, _interval(group)))
            continue
        try:
            found = rules_of_object({"spec": {"groups": [{**group, "rules": [rule]}]}})
        except InputError:
            continue
        alerts += [GivenRule(each, document, (*path, "rules", index), rule) for each in found]


def _interval(group: Mapping[str, Any]) -> int | None:
    return _duration(group.get("interval"))


def timing_of(world: World) -> Timing:
    """The intervals of the one Prometheus resource that is given, else 15 s."""
    default = Timing()
    found = [each.data.get("spec") for each in world.of_kind("Prometheus")]
    if len(found) != 1 or not isinstance(found[0], dict):
        return default
    scrape, evaluation = (_duration(found[0].get(key)) for key in ("scrapeInterval", "evaluationInterval"))
    return Timing(scrape or default.scrape_ms, evaluation or default.evaluation_ms)


def _duration(value: Any) -> int | None:
    try:
        return parse_duration(str(value)) or None
    except ValueError:
        return None
