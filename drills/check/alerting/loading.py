"""Does it load: what Prometheus, the operator and the API server do with a rule file before any rule is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from drills.check.alerting import judging
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
RULES = (MALFORMED, *judging.RULES)

_GROUP_KEYS: Final = ("name", "interval", "labels", "limit", "partial_response_strategy", "query_offset", "rules")
_RULE_KEYS: Final = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")
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
        judged = pool.submit(judging.refused, rules)
        yield from list(rest())
        refused = judged.result()
    yield from (finding for _, finding in refused)
    known = {id(rule.data) for rule, _ in refused}
    for rule in rules:
        if rule.expr.strip() and rule.tree is None and id(rule.data) not in known:
            text = f"the expression of {rule} was not analysed"
            yield judging.NOT_ANALYSED.at(rule.at(*rule.first_word), text)


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
