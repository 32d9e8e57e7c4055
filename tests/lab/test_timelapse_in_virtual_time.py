"""A scaled rule over scaled series decides like the original over the original, at every step, as promtool judges."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from promtool_scenarios import Scenario, rule_groups, run

from drills.units import parse_duration

pytestmark = pytest.mark.lab

STEP = 15_000
STEPS = 40
# Every feature that TRUTH's table calls exact, and those that are exact up to float noise (never on a round threshold).
EXPRESSIONS = (
    "x > 30.31",
    "x offset 1m > 30.31",
    "increase(x[2m]) > 7.77",
    "increase(x[1m] offset 1m) / 60 > 0.3131",
    "delta(x[2m]) < -3.33",
    "idelta(x[1m]) > 5.55",
    "changes(x[3m]) > 4.5",
    "resets(x[3m]) > 0.5",
    "sum_over_time(x[1m]) > 99.9",
    "avg_over_time(x[2m]) > 22.22",
    "count_over_time(x[2m]) < 7.5",
    "quantile_over_time(0.7, x[2m]) > 25.25",
    "stddev_over_time(x[2m]) > 6.66",
    "absent_over_time(x{i='a'}[45s])",
    "rate(x[2m]) > 0.2345",
    "irate(x[1m]) > 0.3456",
    "deriv(x[2m]) > 0.1234",
    "predict_linear(x[2m], 4 * 60) > 50.5",
    "max_over_time(rate(x[1m])[3m:30s]) > 0.4567",
    "max_over_time((x > 20)[2m:15s]) > 30.3",
    "sum(rate(x[1m])) > 0.5678 and on () max(x) > 10.1",
    "sum by (i) (x) unless sum by (i) (x offset 1m)",
    "holt_winters(x[2m], 0.3, 0.3) > 33.3",
    "x @ end() > 20.2",
)
MANIFEST = {
    "metadata": {"name": "n", "namespace": "m"},
    "spec": {
        "groups": [
            {
                "name": "g",
                "interval": "15s",
                "rules": [
                    {"alert": f"A{number}", "expr": text, "for": "45s" if number % 3 == 0 else "0s"}
                    for number, text in enumerate(EXPRESSIONS)
                ],
            }
        ]
    },
}

GOT = re.compile(r"alertname: (\w+), time: (\w+),.*?got:\[(.*?)\]\n", re.DOTALL)
LABELS = re.compile(r"Labels:{([^}]*)}")

# Counters with pauses, bursts, resets and missed scrapes.
STEPS_OF_A_SERIES = st.lists(
    st.one_of(st.integers(0, 12), st.just(0), st.just(40), st.just("reset"), st.just("missed")),
    min_size=STEPS,
    max_size=STEPS,
)


def values(steps: list[int | str]) -> str:
    value, texts = 0, []
    for step in steps:
        if step == "missed":
            texts.append("stale" if texts and texts[-1] not in ("stale", "_") else "_")
            continue
        value = 0 if step == "reset" else value + int(step)
        texts.append(str(value))
    return " ".join(texts)


def decided(scenario: Scenario, k: int) -> dict[str, list[dict[str, object]]]:
    """What fires when, asked of promtool by expecting nothing: alert -> spells of one step, in unscaled time."""
    with tempfile.TemporaryDirectory() as directory:
        output = run(rule_groups(MANIFEST, k), [scenario], k, Path(directory))
    found: dict[str, list[dict[str, object]]] = {}
    for alert, time, got in GOT.findall(output):
        for labels in LABELS.findall(got):
            pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            pairs.pop("alertname")
            at = f"{parse_duration(time) * k}ms"
            found.setdefault(alert, []).append({"labels": pairs, "from": at, "to": at})
    return found


@pytest.mark.parametrize("k", [12, 15])
@settings(  # no shrinking: an example takes a quarter of a second
    max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(first=STEPS_OF_A_SERIES, second=STEPS_OF_A_SERIES)
def test_scaled_and_original_decide_alike(k: int, first: list[int | str], second: list[int | str]) -> None:
    series = [('x{i="a"}', values(first)), ('x{i="b"}', values(second))]
    scenario = Scenario("any", STEP, STEP * (STEPS + 4), series, {})
    original = decided(scenario, 1)
    with tempfile.TemporaryDirectory() as directory:
        told = replace(scenario, firing=original)
        assert run(rule_groups(MANIFEST, k), [told], k, Path(directory)) == ""


def test_the_comparison_would_notice() -> None:
    """The judge itself: most expressions fire in a lively scenario, and one unscaled range is found out."""
    lively: list[int | str] = [0, 5, 40, 3, "reset", 12, 12, 40, 0, 0] * 4
    scenario = Scenario("lively", STEP, STEP * (STEPS + 4), [('x{i="a"}', values(lively))], {})
    original = decided(scenario, 1)
    assert len(original) > len(EXPRESSIONS) * 0.6
    groups = rule_groups(MANIFEST, 15)
    counting = EXPRESSIONS.index("count_over_time(x[2m]) < 7.5")
    groups[0]["rules"][counting]["expr"] = EXPRESSIONS[counting]
    with tempfile.TemporaryDirectory() as directory:
        assert f"A{counting}" in run(groups, [replace(scenario, firing=original)], 15, Path(directory))
