"""What an old promtool refuses: mistakes, and what only newer versions know."""

from __future__ import annotations

from pathlib import Path

import pytest
from alerts_world import judged
from check_world import found

from drills.check.finding import Finding

NEWER, REFUSED = "prometheus/newer-than-promtool", "prometheus/rule-refused"
TABLE = {
    "mad_over_time(up[5m]) > 1": "mad_over_time; Prometheus 3.14 does, with --enable-feature=promql-experimental-funct",
    "double_exponential_smoothing(up[5m], 0.5, 0.5) > 1": "double_exponential_smoothing; ",
    "limitk(3, up) > 0": "limitk; ",
    "count(limit_ratio(0.5, up)) > 0": "limit_ratio; ",
    'sort_by_label(up, "job") > 0': "sort_by_label; ",
    "histogram_avg(rate(cilium_policy_implementation_delay[5m])) > 5": "histogram_avg; Prometheus 3.14 does",
    "first_over_time(up[5m]) > 0": "first_over_time; Prometheus 3.14 does",
    "up + on(job) fill(0) up > 1": "fill; Prometheus 3.14 does, with --enable-feature=promql-binop-fill-modifiers",
    "sum(increase(up[300])) > 5": "a number of seconds where a duration stands",
    "up offset 60 > 0": "a number of seconds where a duration stands",
    "time() - up > 1h": "or the other way round",
    'sum({"up"}) > 5': "names in quotes",
    'up{"my.label"="x"} > 0': "names in quotes",
    'sum by ("my.label") (up) > 0': "names in quotes",
    "rate(up[5m] anchored) > 0": "anchored; Prometheus 3.14 does, with --enable-feature=promql-extended-range-selector",
    "rate(up[5m * 2]) > 0": "arithmetic in a range",
    # mistakes, in every version
    "foo_over_time(up[5m]) > 0": None,
    "mad_over_time(up[5m] > 0": None,
    "sum(up > 0": None,
    "up{job=api} > 0": None,
    "rate(up) > 0": None,
    "increase(up[5min]) > 0": None,
    "increase(up[0]) > 0": None,
    "rate(up[5 m]) > 0": None,
    'up{job="a" or job="b"} > 0': None,
    "rate(up[5m anchored) > 0": None,
    "rate(up anchored) > > 0": None,
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    return dict(zip(TABLE, judged(tmp_path_factory.mktemp("newer"), list(TABLE)), strict=True))


@pytest.mark.parametrize("expr", TABLE)
def test_what_promtool_refuses(table: dict[str, list[Finding]], expr: str) -> None:
    (finding,) = [each for each in table[expr] if each.rule in (NEWER, REFUSED)]
    said = TABLE[expr]
    if said is None:
        assert (finding.rule, str(finding.level)) == (REFUSED, "error")
        assert "(promtool 2." in finding.message
    else:
        assert (finding.rule, str(finding.level)) == (NEWER, "warning")
        assert "promtool 2." in finding.message
        assert said in finding.message


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("{alert: A, expr: up == 0, labels: {my.label: x}}", NEWER),
        ("{record: 'my.metric', expr: up}", NEWER),
        ("{alert: A, expr: up == 0, annotations: {s: '{{ now }}'}}", NEWER),
        ("{record: 'up{job=\"a\"}', expr: up}", REFUSED),
        ("{alert: A, expr: up == 0, annotations: {s: '{{ foo }}'}}", REFUSED),
        ("{alert: A, expr: up == 0, labels: {'': x}}", REFUSED),
    ],
)
def test_names_and_templates(tmp_path: Path, rule: str, name: str) -> None:
    assert [each.rule for each in found(tmp_path, f"groups:\n- name: g\n  rules:\n  - {rule}\n")] == [name]
