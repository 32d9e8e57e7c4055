"""Does it load: what Prometheus, the operator and the API server do with a rule file before any rule is evaluated."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alerts import promtool
from drills.check.alerting.groups import RuleAt
from drills.check.finding import Finding, Level, Rule
from drills.check.world import Manifest, World
from drills.errors import Place
from drills.playbook.nearest import did_you_mean
from drills.source import Document, KeyPath
from drills.units import parse_duration

MALFORMED = Rule(
    name="prometheus/malformed-rule-file",
    level=Level.ERROR,
    title="A rule file has a key, a type or a duration that its reader refuses",
    problem="An unknown key (`severity` beside `labels`, `expression` for `expr`), a duration without a unit, a "
    "group's name that stands twice, a label whose value is no text.",
    effect="kubectl and the API server refuse a PrometheusRule like this (or drop the unknown key without a word where "
    "validation is off); Prometheus refuses a plain rule file as a whole and goes on with its old rules.",
    fix="Write what the operator's schema and Prometheus's documentation of recording and alerting rules name.",
    wrong="""\
groups:
- name: cilium
  rules:
  - alert: CiliumRequestsDenied
    expr: sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10
    for: 1 minute
    labels: {severity: warning}
    annotations: {summary: Requests are denied}
""",
    right="""\
groups:
- name: cilium
  rules:
  - alert: CiliumRequestsDenied
    expr: sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10
    for: 1m
    labels: {severity: warning}
    annotations: {summary: Requests are denied}
""",
    source="prometheus-operator 0.93, example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml; "
    "Prometheus, model/rulefmt/rulefmt.go",
)
REFUSED = Rule(
    name="prometheus/rule-refused",
    level=Level.ERROR,
    title="Prometheus refuses a rule",
    problem="promtool, which is Prometheus's own reader, does not take the expression, a name, or a template.",
    effect="Prometheus loads no rule of the file and goes on with its old ones; the operator's webhook refuses the "
    "PrometheusRule, or the operator leaves it out and says so in an Event that nobody reads.",
    fix="The message says what is wrong and where in the expression.",
    wrong="""\
groups:
- name: cilium
  rules:
  - alert: CiliumRequestsDenied
    expr: sum(increase(cilium_policy_l7_total{rule="denied"}[5m]) > 10
    for: 1m
    labels: {severity: warning}
    annotations: {summary: Requests are denied}
""",
    right=MALFORMED.right,
    source="promtool check rules",
)
NOT_ANALYSED = Rule(
    name="prometheus/not-analysed",
    level=Level.NOTE,
    title="Prometheus takes the expression, and this check cannot read it",
    problem="The expression nests deeper than is looked at here, or is written in a way that the parser does not know.",
    effect="The rule is loaded; whether it can ever fire was not looked at.",
    fix="Nothing is wrong. Recording rules make deep expressions readable, for people as well.",
    wrong=f"""\
groups:
- name: cilium
  rules:
  - record: cilium:up:deep
    expr: {"(" * 201}up{")" * 201}
""",
    right="""\
groups:
- name: cilium
  rules:
  - record: cilium:up:shallow
    expr: (up)
""",
    source="drills check",
)
RULES = (MALFORMED, REFUSED, NOT_ANALYSED)

_GROUP_KEYS: Final = ("name", "interval", "labels", "limit", "partial_response_strategy", "query_offset", "rules")
_RULE_KEYS: Final = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")
_JUDGED: Final = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")
_GROUP_DURATIONS: Final = ("interval", "query_offset")
_RULE_DURATIONS: Final = ("for", "keep_firing_for")


@dataclass(frozen=True, slots=True)
class _Source:
    """A rule file, or the spec of a PrometheusRule."""

    document: Document
    path: KeyPath  # to what holds `groups`
    data: Any
    owner: Manifest | None

    @property
    def strict(self) -> bool:
        """Whether an API server checks the types."""
        return self.owner is not None


def check(world: World, rules: Sequence[RuleAt], rest: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Everything that keeps rules from being loaded, and ``rest``, which is looked at while promtool works.

    :raises WorldError: if there are rules and promtool is missing.
    """
    for source in _sources(world):
        yield from _shape(source)
    with ThreadPoolExecutor(max_workers=1) as pool:
        judged = pool.submit(_judge, rules)
        yield from list(rest())
        refused = judged.result()
    yield from (finding for _, finding in refused)
    known = {id(rule.data) for rule, _ in refused}
    for rule in rules:
        if rule.expr.strip() and rule.tree is None and id(rule.data) not in known:
            text = f"the expression of {rule} was not analysed"
            yield NOT_ANALYSED.at(rule.at(*rule.first_word), text)


def _sources(world: World) -> Iterator[_Source]:
    for document in world.rule_files:
        yield _Source(document, (), document.data, None)
    for each in world.prometheus_rules:
        yield _Source(each.document, (*each.at, "spec"), each.data.get("spec"), each)


def _shape(source: _Source) -> Iterator[Finding]:
    at = source.path
    if not isinstance(source.data, dict):
        yield _malformed(source, at[:-1], "a PrometheusRule has a spec with groups")
        return
    known = ("groups",) if source.strict else ("groups", "namespace")  # which mimirtool and cortextool read
    yield from _unknown(source, at, source.data, known, "keys")
    groups = source.data.get("groups")
    if groups is None:
        return
    if not isinstance(groups, list):
        yield _malformed(source, (*at, "groups"), "groups must be a list")
        return
    first: dict[Any, int] = {}
    for number, group in enumerate(groups):
        path = (*at, "groups", number)
        if not isinstance(group, dict):
            yield _malformed(source, path, "a group must be a mapping with name and rules")
            continue
        yield from _group(source, path, group)
        name = group.get("name")
        if isinstance(name, str) and first.setdefault(name, number) != number:
            yield _malformed(source, (*path, "name"), f'the group "{name}" stands here for the second time', len(name))


def _group(source: _Source, path: KeyPath, group: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _unknown(source, path, group, _GROUP_KEYS, "keys of a group")
    if not isinstance(group.get("name"), str) or not group.get("name"):
        yield _malformed(source, (*path, "name"), "a group needs a name")
    for key in _GROUP_DURATIONS:
        yield from _duration(source, (*path, key), group.get(key))
    yield from _texts(source, (*path, "labels"), group.get("labels"))
    rules = group.get("rules")
    if rules is not None and not isinstance(rules, list):
        yield _malformed(source, (*path, "rules"), "rules must be a list")
        return
    for index, rule in enumerate(rules or ()):
        at = (*path, "rules", index)
        if isinstance(rule, dict):
            yield from _rule(source, at, rule)
        else:
            yield _malformed(source, at, "a rule must be a mapping with alert or record, and expr")


def _rule(source: _Source, path: KeyPath, rule: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _unknown(source, path, rule, _RULE_KEYS, "keys of a rule")
    for key in _RULE_DURATIONS:
        yield from _duration(source, (*path, key), rule.get(key))
    for key in ("labels", "annotations"):
        yield from _texts(source, (*path, key), rule.get(key))
    for key in ("alert", "record"):
        if source.strict and not isinstance(rule.get(key), str | None):
            yield _malformed(source, (*path, key), f"{key} must be a text")
    expr = rule.get("expr")
    if not isinstance(expr, str | int | None) or isinstance(expr, bool):
        yield _malformed(source, (*path, "expr"), "expr must be a text")


def _duration(source: _Source, path: KeyPath, found: Any) -> Iterator[Finding]:
    if found is None:
        return
    if not isinstance(found, str):
        text = str(found)
        if source.strict or (text != "0" and type(found) in (int, float, bool)) or isinstance(found, dict | list):
            yield _malformed(source, path, f"{path[-1]} must be a duration with its unit, such as 90s or 5m", len(text))
        return
    try:
        parse_duration(found or "0")
    except ValueError as error:
        yield _malformed(source, path, f"{path[-1]}: {error}", len(found))


def _texts(source: _Source, path: KeyPath, found: Any) -> Iterator[Finding]:
    if found is None:
        return
    if not isinstance(found, dict):
        yield _malformed(source, path, f"{path[-1]} must be a mapping of names to texts")
        return
    for key, value in found.items():
        if isinstance(value, dict | list) or (source.strict and not isinstance(value, str)):
            yield _malformed(source, (*path, key), f"{key} must be a text; write it in quotes")


def _unknown(
    source: _Source, path: KeyPath, data: Mapping[str, Any], known: Sequence[str], plural: str
) -> Iterator[Finding]:
    for key in data:
        if key not in known:
            place = source.document.key_place_of((*path, key))
            yield _finding(source, place, f'unknown key "{key}"; {did_you_mean(key, known, plural)}', len(key))


def _malformed(source: _Source, path: KeyPath, message: str, span: int = 1) -> Finding:
    return _finding(source, source.document.place_of(path), message, span)


def _finding(source: _Source, place: Place, message: str, span: int) -> Finding:
    if source.owner is None:
        effect = "Prometheus refuses the whole file and goes on with its old rules; a fresh one does not start."
    else:
        effect = (
            f"The API server refuses {source.owner} (with validation off it drops what it does not know): none of its "
            "rules is loaded as it stands here."
        )
    return MALFORMED.at(place, message, effect=effect, span=max(1, span))


def _judge(rules: Sequence[RuleAt]) -> list[tuple[RuleAt, Finding]]:
    """The rules that promtool does not take, each with what it says."""
    files: dict[int, list[list[RuleAt]]] = {}
    for rule in rules:
        groups = files.setdefault(id(rule.owner or rule.document), [])
        if not groups or groups[-1][0].group is not rule.group:
            groups.append([])
        groups[-1].append(rule)
    if not files:
        return []
    with tempfile.TemporaryDirectory(prefix="drills-check-") as directory:
        asked = [[{"rules": [_plain(rule) for rule in group]} for group in groups] for groups in files.values()]
        answers = promtool.complaints(asked, Path(directory))
    return [found for groups, answer in zip(files.values(), answers, strict=True) for found in _said(groups, answer)]


def _said(
    groups: Sequence[Sequence[RuleAt]], answer: list[promtool.Complaint] | str
) -> Iterator[tuple[RuleAt, Finding]]:
    if isinstance(answer, str):  # what was looked for above leaves nothing that should come to this
        first = groups[0][0]
        yield first, REFUSED.at(first.document.place_of(first.path), f"promtool: {answer}")
        return
    for complaint in answer:
        rule = groups[complaint.group][complaint.rule]
        yield rule, _refused(rule, complaint)


def _plain(rule: RuleAt) -> dict[str, Any]:
    """What promtool shall judge: without what has a finding already and would hide the rest from it."""
    made: dict[str, Any] = {}
    for key in _JUDGED:
        value = rule.data.get(key)
        if key in ("labels", "annotations"):
            if isinstance(value, dict):
                made[key] = {name: str(text) for name, text in value.items() if not isinstance(text, dict | list)}
        elif key in _RULE_DURATIONS:
            if isinstance(value, str) and not list(_duration_errors(value)):
                made[key] = value or "0s"
        elif value is not None:
            made[key] = str(value)
    return made


def _duration_errors(text: str) -> Iterator[str]:
    try:
        parse_duration(text or "0")
    except ValueError as error:
        yield str(error)


def _refused(rule: RuleAt, complaint: promtool.Complaint) -> Finding:
    if complaint.line:
        place = rule.place_in(complaint.line, complaint.column)
    elif rule.data.get("expr") is None:
        place = rule.document.place_of(rule.path)
    else:
        place = rule.document.key_place_of((*rule.path, "alert" if rule.alerting else "record"))
    whose = f"of {rule.owner}" if rule.owner else "of the file"
    effect = f"None of the rules {whose} is loaded: Prometheus goes on without {rule}, or with what it had before."
    return REFUSED.at(place, f"{rule}: {complaint.reason}", effect=effect)
