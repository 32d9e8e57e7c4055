"""Reading rules: manifests, plain rule files, objects; places, wrong input; selectors and comparisons."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts.promql import LabelMatcher, PromqlError, Selector, comparisons, selectors
from alerts.rule import load_rules, rules_of_object
from alerts.rulefile import rule_file
from drills.errors import InputError, SourceError

MANIFEST = """\
kind: PrometheusRule
metadata: {name: n, namespace: m}
spec:
  groups:
  - name: g
    interval: 30s
    labels: {team: sec}
    rules:
    - record: a:b
      expr: sum(x)
    - alert: A
      expr: a:b > 1
      for: 1m30s
      keep_firing_for: 5m
      labels: {severity: page}
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return path


def test_a_manifest_is_read_with_places(tmp_path: Path) -> None:
    (rule,) = load_rules(written(tmp_path, MANIFEST))
    assert (rule.alert, rule.expr, rule.for_ms, rule.keep_firing_ms) == ("A", "a:b > 1", 90_000, 300_000)
    assert (rule.group, rule.interval_ms, rule.labels) == ("g", 30_000, {"team": "sec", "severity": "page"})
    assert rule.place is not None
    assert (rule.place.line, rule.place.column) == (11, 7)


def test_a_plain_rule_file_is_read_and_other_documents_are_not(tmp_path: Path) -> None:
    text = "groups: [{name: g, rules: [{alert: A, expr: x}]}]\n---\nkind: Pod\n---\n- groups\n"
    assert [rule.alert for rule in load_rules(written(tmp_path, text))] == ["A"]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("groups: {a: b}", (1, 9), "groups must be a list"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A}", (4, 5), "the rule A has no expression"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: x, for: 5 minutes}", (4, 5), "5 minutes"),
        ("groups:\n- name: g\n  rules:\n  - {alert: A, expr: x, labels: [a]}", (4, 5), "must be mappings"),
    ],
)
def test_what_is_wrong_is_pointed_at(tmp_path: Path, text: str, where: tuple[int, int], what: str) -> None:
    with pytest.raises(SourceError, match=what) as error:
        load_rules(written(tmp_path, text))
    assert (error.value.place.line, error.value.place.column) == where


def test_a_malformed_object_names_the_path() -> None:
    with pytest.raises(InputError, match=r"spec.groups\[0\].rules\[0\]: the rule A has no expression"):
        rules_of_object({"spec": {"groups": [{"name": "g", "rules": [{"alert": "A"}]}]}})


def test_the_digest_tells_a_changed_rule_but_not_a_changed_text() -> None:
    def digest(**change: str) -> str:
        rule = {"alert": "A", "expr": "x > 1", **change}
        return rules_of_object({"spec": {"groups": [{"name": "g", "rules": [rule]}]}})[0].digest()

    assert digest() == digest(annotations=None) != digest(expr="x > 2")
    assert digest() != digest(**{"for": "1m"})


def test_a_rule_file_leaves_out_only_what_cannot_be() -> None:
    groups = [
        {
            "name": "g",
            "labels": {"team": "sec"},
            "limit": 3,
            "rules": [
                {"record": "night", "expr": "hour() > 22"},
                {"alert": "AtNight", "expr": "night > 0"},
                {"alert": "Fine", "expr": "rate(x[5m]) > 1", "for": "1m", "labels": {"team": "me"}},
            ],
        },
        {"name": "late", "query_offset": "1m", "rules": [{"alert": "Late", "expr": "x"}]},
    ]
    made = rule_file({"spec": {"groups": groups}}, 15)
    fine = {"alert": "Fine", "expr": "(rate(x[20s]) / 15) > 1", "for": "4s", "labels": {"team": "me"}}
    assert made.groups == [{"name": "g", "limit": 3, "rules": [fine]}, {"name": "late", "rules": []}]
    assert {refusal.name: refusal.reason.split()[0] for refusal in made.refused} == {
        "night": "hour()",
        "AtNight": "it",
        "Late": "its",
    }
    assert [one.original.alert for one in made.scaled] == ["Fine"]


def test_selectors_with_ranges_offsets_and_names() -> None:
    found = selectors('sum(rate(x{a="b",c=~"d.*"}[5m] offset 1m)) > 3 and {__name__="y"} unless {__name__=~"z.*"}')
    assert found == (
        Selector("x", (LabelMatcher("a", "=", "b"), LabelMatcher("c", "=~", "d.*")), 300_000, 60_000),
        Selector("y", ()),
        Selector(None, (LabelMatcher("__name__", "=~", "z.*"),)),
    )
    assert [str(selector) for selector in found] == ['x{a="b", c=~"d.*"}', "y", '{__name__=~"z.*"}']


def test_an_expression_that_is_none() -> None:
    with pytest.raises(PromqlError, match="cannot be parsed"):
        selectors("sum(x")


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("sum(x) > 10", (("sum(x)", ">", 10),)),
        ("10 < sum(x)", (("sum(x)", ">", 10),)),
        ("(a > 1) and b == 2 * 3", (("a", ">", 1), ("b", "==", 6))),
        ("a > 1 unless b > 2", (("a", ">", 1),)),
        ("a > b", ()),
        ("sum(a > 1)", ()),
        ("a > -1", (("a", ">", -1),)),
    ],
)
def test_comparisons(expression: str, found: tuple[tuple[str, str, float], ...]) -> None:
    assert comparisons(expression) == found


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "passes"),
    [
        ("=", "a", "a", True),
        ("!=", "a", "", True),
        ("=~", "a|b", "b", True),
        ("=~", "a", "ab", False),
        ("!~", "(", "x", True),
    ],
)
def test_label_matchers(operator: str, wanted: str, value: str, passes: bool) -> None:
    assert LabelMatcher("l", operator, wanted).passes(value) is passes
