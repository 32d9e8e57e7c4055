"""From a PrometheusRule object to the rule file that Prometheus loads, in the lab's time.

What one rule cannot do does not stop the others: a rule that cannot be scaled is left out and named, and so is one
that reads what a left-out recording rule would have written. Prometheus 2.42 knows no group labels (they are merged
into the rules, which means the same) and no ``query_offset`` (refused).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alerts.promql import PromqlError, selectors
from alerts.rule import AlertRule, rules_of_object
from alerts.timelapse import ScaledRule, ScalingRefused, scale_expression, scale_ms, scale_rule
from drills.errors import InputError
from drills.units import format_duration, parse_duration

Group = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule that was left out, and why. ``expr`` is its (scaled) expression: several rules may share a name."""

    group: str
    name: str
    reason: str
    expr: str = ""


@dataclass(slots=True)
class RuleFile:
    """What Prometheus shall load for one object."""

    groups: list[Group] = field(default_factory=list)
    scaled: list[ScaledRule] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def without(self, refusal: Refusal) -> None:
        """Leave one more rule out."""
        self.refused.append(refusal)
        gone = (refusal.name, refusal.expr)
        for group in self.groups:
            if group["name"] == refusal.group:
                group["rules"] = [rule for rule in group["rules"] if (name_of(rule), rule.get("expr")) != gone]
        self.scaled = [
            one
            for one in self.scaled
            if (one.scaled.group, one.scaled.alert, one.scaled.expr) != (refusal.group, *gone)
        ]


def name_of(rule: Mapping[str, Any]) -> str:
    """The alert's or the record's name."""
    return str(rule.get("alert") or rule.get("record") or "")


def rule_file(obj: Mapping[str, Any], k: int) -> RuleFile:
    """The rule file of a PrometheusRule object for a world that runs K times faster. InputError if it is malformed."""
    alerts = iter(rules_of_object(obj))  # in the order of the object, and it has checked the shape
    made = RuleFile()
    lost: set[str] = set()  # names of recording rules that were left out
    for group in (obj.get("spec") or {}).get("groups") or []:
        _add_group(made, group, alerts, k, lost)
    return made


def _add_group(made: RuleFile, group: Group, alerts: Any, k: int, lost: set[str]) -> None:
    name = str(group.get("name", ""))
    rules: list[dict[str, Any]] = []
    for rule in group.get("rules") or []:
        alert = next(alerts) if "alert" in rule else None
        try:
            _refuse_early(rule, group, lost, k)
            if alert is None:
                rules.append(_recording(rule, group, k))
            else:
                scaled = scale_rule(alert, k)
                rules.append(_alerting(scaled.scaled, rule))
                made.scaled.append(scaled)
        except ScalingRefused as refusal:
            made.refused.append(Refusal(name, refusal.name, refusal.reason, str(rule.get("expr", ""))))
            if "record" in rule:
                lost.add(str(rule["record"]))
    head: Group = {"name": name}
    if group.get("interval"):
        head["interval"] = _scaled_interval(group, name, k)
    if group.get("limit"):
        head["limit"] = group["limit"]
    made.groups.append({**head, "rules": rules})


def _scaled_interval(group: Group, name: str, k: int) -> str:
    try:
        return format_duration(scale_ms(parse_duration(str(group["interval"])), k, name, "the group's interval"))
    except ScalingRefused:
        return str(group["interval"])  # every rule of the group has been refused for it
    except ValueError as error:
        raise InputError(f"the group {name}: {error}") from error


def _refuse_early(rule: Mapping[str, Any], group: Group, lost: set[str], k: int) -> None:
    name = name_of(rule)
    if group.get("query_offset"):
        raise ScalingRefused(name, "its group's query_offset is unknown to Prometheus 2.42, which the lab runs", k)
    if lost:
        try:
            read = {selector.metric for selector in selectors(str(rule.get("expr", "")))}
        except PromqlError:
            return
        gone = sorted(lost.intersection(filter(None, read)))
        if gone:
            raise ScalingRefused(name, f"it reads {gone[0]}, a recording rule that was left out", k)


def _recording(rule: Mapping[str, Any], group: Group, k: int) -> dict[str, Any]:
    name = name_of(rule)
    if group.get("interval"):
        scale_ms(parse_duration(str(group["interval"])), k, name, "the group's interval")
    made = {**rule, "expr": scale_expression(str(rule.get("expr", "")), k, name)}
    labels = {**(group.get("labels") or {}), **(rule.get("labels") or {})}
    return {**made, "labels": labels} if labels else made


_MANAGED = ("alert", "expr", "for", "keep_firing_for", "labels", "annotations")


def _alerting(rule: AlertRule, written: Mapping[str, Any]) -> dict[str, Any]:
    """The rule for the file; keys that we do not know stay, so that promtool judges them."""
    made: dict[str, Any] = {"alert": rule.alert, "expr": rule.expr}
    if rule.for_ms:
        made["for"] = format_duration(rule.for_ms)
    if rule.keep_firing_ms:
        made["keep_firing_for"] = format_duration(rule.keep_firing_ms)
    for key, value in (("labels", rule.labels), ("annotations", rule.annotations)):
        if value:
            made[key] = dict(value)
    return {**made, **{key: value for key, value in written.items() if key not in _MANAGED}}


def single_rules(groups: Sequence[Group]) -> list[tuple[Refusal, list[Group]]]:
    """Every rule in a rule file of its own, with a refusal that still lacks its reason: to find the broken ones."""
    return [
        (Refusal(group["name"], name_of(rule), "", str(rule.get("expr", ""))), [{**group, "rules": [rule]}])
        for group in groups
        for rule in group["rules"]
    ]
