"""Does a rule file load: its shape, promtool's word, and the Prometheus that would select it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from check_world import found, names

from drills.check import checks, reading
from drills.check.alerting import selection
from drills.check.finding import Finding, Level
from drills.check.world import Options
from drills.errors import SourceError

GOOD = """\
groups:
- name: g
  interval: 1m
  limit: 10
  query_offset: 30s
  labels: {team: net}
  rules:
  - alert: A
    expr: cilium_unreachable_nodes > 0
    for: 0s
    keep_firing_for: 5m
    labels: {severity: warning, level: "1"}
    annotations: {summary: x}
  - record: a:b
    expr: 1
"""
OBJECT = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: r, namespace: monitoring, labels: {release: x}}
spec:
"""
MALFORMED, REFUSED = "prometheus/malformed-rule-file", "prometheus/rule-refused"
NEWER = "prometheus/newer-than-promtool"  # Prometheus 3 takes the name


def _object(text: str) -> str:
    return OBJECT + "".join(f"  {line}\n" for line in text.splitlines())


FINE = (GOOD, _object(GOOD), "groups: []\n", OBJECT + "  groups: null\n", "namespace: cilium\n" + GOOD)
WRONG = (
    ("interval: 1m", "interval: 1 m", MALFORMED, "3:13"),
    ("for: 0s", "for: 1h1h", MALFORMED, "10:10"),
    ("keep_firing_for: 5m", "keep_firing: 5m", MALFORMED, "11:5"),
    ("labels: {severity: warning", "labels: {severity: {a: b}", MALFORMED, "12:24"),
    ("annotations: {summary: x}", "annotations: [x]", MALFORMED, "13:18"),
    ("name: g", "name: ''", MALFORMED, "2:9"),
    ("groups:", "tenant: cilium\ngroups:", MALFORMED, "1:1"),
    ("expr: cilium_unreachable_nodes > 0", "expr: [a]", MALFORMED, "9:11"),
    ("expr: cilium_unreachable_nodes > 0", "expr: cilium_unreachable_nodes >", REFUSED, "9:11"),
    ("expr: cilium_unreachable_nodes > 0", "expr: ''", REFUSED, "8:5"),
    ("record: a:b", "record: a-b", NEWER, "14:5"),
    ("record: a:b", "record: 'a{b}'", REFUSED, "14:5"),
    ("severity: warning", "severity-level: warning", NEWER, "8:5"),
    ("summary: x", "summary: '{{ $x }}'", REFUSED, "8:5"),
)
LOOSE = (("for: 0s", "for: 0"), ('level: "1"', "level: 1"), ('level: "1"', "level: true"), ("alert: A", "alert: 7"))


def _all(directory: Path, texts: Sequence[str]) -> list[list[Finding]]:
    """The findings in each of several files, judged together."""
    files = [directory / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    every = checks.findings(reading.read(files, Options()))
    return [[each for each in every if each.place.file == file] for file in files]


def test_a_good_one_has_no_finding(tmp_path: Path) -> None:
    assert _all(tmp_path, FINE) == [[] for _ in FINE]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> list[list[Finding]]:
    assert all(old in GOOD for old, *_ in WRONG)
    return _all(tmp_path_factory.mktemp("wrong"), [GOOD.replace(old, new) for old, new, *_ in WRONG])


@pytest.mark.parametrize("number", range(len(WRONG)), ids=lambda number: WRONG[number][1])
def test_what_is_wrong_has_its_place(wrong: list[list[Finding]], number: int) -> None:
    _, _, rule, place = WRONG[number]
    level = Level.WARNING if rule == NEWER else Level.ERROR
    errors = [each for each in wrong[number] if each.level is level and each.rule == rule]
    assert place in {f"{each.place.line}:{each.place.column}" for each in errors}


def test_an_api_server_asks_for_texts_where_prometheus_takes_numbers(tmp_path: Path) -> None:
    assert all(old in GOOD for old, _ in LOOSE)
    texts = [GOOD.replace(old, new) for old, new in LOOSE]
    plain, objects = _all(tmp_path, texts), _all(tmp_path, [_object(text) for text in texts])
    assert [names(each) for each in plain] == [[] for _ in LOOSE]
    assert [names(each) for each in objects] == [[MALFORMED] for _ in LOOSE]


def _prometheus(spec: str, namespace: str = "monitoring") -> str:
    return f"""\
---
apiVersion: monitoring.coreos.com/v1
kind: Prometheus
metadata: {{name: k8s, namespace: {namespace}}}
spec: {spec}
"""


NAMESPACE = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: monitoring, labels: {watched: 'yes'}}\n"


@pytest.mark.parametrize(
    ("given", "selected"),
    [
        ("", True),  # no Prometheus is given: nothing is known
        (_prometheus("{ruleSelector: {}}"), True),
        (_prometheus("{ruleSelector: {matchLabels: {release: x}}}"), True),
        (_prometheus("{ruleSelector: {matchLabels: {release: y}}}"), False),
        (_prometheus("{}"), False),
        (_prometheus("{ruleSelector: null}"), False),
        (_prometheus("{ruleSelector: {matchExpressions: [{key: release, operator: In, values: [x, y]}]}}"), True),
        (_prometheus("{ruleSelector: {matchExpressions: [{key: release, operator: NotIn, values: [x]}]}}"), False),
        (_prometheus("{ruleSelector: {matchExpressions: [{key: role, operator: Exists}]}}"), False),
        (_prometheus("{ruleSelector: {matchExpressions: [{key: role, operator: DoesNotExist}]}}"), True),
        (_prometheus("{ruleSelector: {}}", "other"), False),
        (_prometheus("{ruleSelector: {}, ruleNamespaceSelector: {}}", "other"), True),
        (_prometheus("{ruleSelector: {}, ruleNamespaceSelector: {matchLabels: {watched: 'yes'}}}", "other"), True),
        (_prometheus("{ruleSelector: {}, ruleNamespaceSelector: {matchLabels: {watched: 'no'}}}") + NAMESPACE, False),
        (_prometheus("{ruleSelector: {}, ruleNamespaceSelector: {matchLabels: {watched: 'yes'}}}") + NAMESPACE, True),
        (
            _prometheus("{ruleSelector: {}, ruleNamespaceSelector: {matchLabels: {kubernetes.io/metadata.name: a}}}"),
            False,
        ),
        (_prometheus("{}") + _prometheus("{ruleSelector: {}}"), True),
        (_prometheus("{ruleSelector: 7}"), True),
    ],
)
def test_a_given_prometheus_selects_the_rule(tmp_path: Path, given: str, *, selected: bool) -> None:
    file = tmp_path / "given.yaml"
    file.write_text(_object(GOOD) + given)
    expected = [] if selected else ["prometheus/rule-not-selected"]
    assert names(list(selection.check(reading.read([file], Options())))) == expected


def test_a_broken_catalogue_is_an_error_with_its_place(tmp_path: Path) -> None:
    own = tmp_path / "own.yml"
    own.write_text("metrics:\n  x: {type: meter}\n")
    with pytest.raises(SourceError, match=r"own\.yml:2:13: x needs a type"):
        found(tmp_path, GOOD, catalog=own)


def test_an_expression_that_nests_too_deep_is_loaded_and_noted(tmp_path: Path) -> None:
    text = GOOD.replace("cilium_unreachable_nodes > 0", " or ".join(["cilium_unreachable_nodes > 0"] * 250))
    assert [(each.rule, each.level) for each in found(tmp_path, text)] == [("prometheus/not-analysed", Level.NOTE)]
