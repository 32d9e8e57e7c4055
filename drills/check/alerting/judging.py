"""promtool's word on rules and guards: what Prometheus would not take, with the place in the expression."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from alerts import promtool
from drills.check.alerting.groups import RuleAt
from drills.check.alerting.newer import KNOWN_TO, newer
from drills.check.finding import Finding, Level, Rule
from drills.errors import Place
from drills.units import parse_duration

_RIGHT: Final = """\
groups:
- name: cilium
  rules:
  - alert: CiliumRequestsDenied
    expr: sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10
    for: 1m
    labels: {severity: warning}
    annotations: {summary: Requests are denied}
"""


def _playbook(condition: str) -> str:
    return f"""\
apiVersion: drills/v1
kind: Playbook
metadata: {{name: shop}}
spec:
  guards:
    abortWhen:
    - {condition}
  sources: {{web: {{namespace: shop, labels: {{app: web}}}}}}
  drills:
  - name: admin-path
    inject: {{http: {{from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}}}
    control: {{http: {{from: web, url: "http://api.shop/"}}}}
    expect: {{denied: {{status: 403}}}}
"""


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
    right=_RIGHT,
    source="promtool check rules",
)
NEWER = Rule(
    name="prometheus/newer-than-promtool",
    level=Level.WARNING,
    title="The promtool that judges here is older than what the rule says",
    problem="promtool knows the functions and the syntax of its own version. Newer versions of Prometheus have this, "
    "some of it only with a feature flag.",
    effect="A Prometheus as old as this promtool, or one without the flag, loads no rule of the file; a newer one "
    "does. Whether the alert fires for a drill was not tried.",
    fix="Install the promtool of the Prometheus that runs where this check runs, or write the rule without it.",
    wrong=_RIGHT.replace("[5m])) >", "[300])) >"),
    right=_RIGHT,
    source="Prometheus 3.14.0 promql/parser/functions.go, template/template.go, CHANGELOG.md",
)
GUARD_REFUSED = Rule(
    name="playbook/guard-refused",
    level=Level.ERROR,
    title="A guard's condition is no PromQL",
    problem="promtool, which is Prometheus's own reader, does not take an expression of `guards.abortWhen`.",
    effect="`drills run` refuses the playbook, or stops before it attacks because its guards cannot be evaluated.",
    fix="The message says what is wrong and where in the expression.",
    wrong=_playbook('sum(up{job="api"} == 0'),
    right=_playbook('sum(up{job="api"}) == 0'),
    source="promtool check rules; drills/engine",
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
RULES = (REFUSED, NEWER, GUARD_REFUSED, NOT_ANALYSED)

_JUDGED: Final = ("alert", "record", "expr", "for", "keep_firing_for", "labels", "annotations")


def refused(rules: Sequence[RuleAt]) -> list[tuple[RuleAt, Finding]]:
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
    made: dict[str, Any] = {"alert": "Guard"} if rule.guard else {}
    for key in _JUDGED:
        value = rule.data.get(key)
        if key in ("labels", "annotations"):
            if isinstance(value, dict):
                made[key] = {name: str(text) for name, text in value.items() if not isinstance(text, dict | list)}
        elif key in ("for", "keep_firing_for"):
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
    elif rule.data.get("expr") is None or rule.guard:
        place = rule.document.place_of(rule.path)
    else:
        place = rule.document.key_place_of((*rule.path, "alert" if rule.alerting else "record"))
    said = f"{complaint.reason} ({promtool.version()})"
    new = newer(rule, complaint.reason)
    if new is not None:
        return _newer(rule, place, *new)
    if rule.guard:
        return GUARD_REFUSED.at(place, said)
    whose = f"of {rule.owner}" if rule.owner else "of the file"
    effect = f"None of the rules {whose} is loaded: Prometheus goes on without {rule}, or with what it had before."
    return REFUSED.at(place, f"{rule}: {said}", effect=effect)


def _newer(rule: RuleAt, place: Place, what: str, flag: str) -> Finding:
    text = f"{rule}: {promtool.version()} does not know {what}; {KNOWN_TO} does{f', with {flag}' if flag else ''}"
    return NEWER.at(place, text)
