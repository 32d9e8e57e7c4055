"""A scaled rule over scaled series decides like the original over the original, at every step, as promtool judges."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from promtool_scenarios import rule_groups, run
from timelapse_support import STEPS_OF_A_SERIES, decided, difference, scenario_of, values

pytestmark = pytest.mark.lab

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


@pytest.mark.parametrize("k", [12, 15])
@settings(  # no shrinking: an example takes a quarter of a second
    max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(first=STEPS_OF_A_SERIES, second=STEPS_OF_A_SERIES)
def test_scaled_and_original_decide_alike(k: int, first: list[int | str], second: list[int | str]) -> None:
    series = [('x{i="a"}', values(first)), ('x{i="b"}', values(second))]
    assert difference(MANIFEST, scenario_of(series), k) == ""


def test_the_comparison_would_notice() -> None:
    """The judge itself: most expressions fire in a lively scenario, and one unscaled range is found out."""
    lively: list[int | str] = [0, 5, 40, 3, "reset", 12, 12, 40, 0, 0] * 4
    scenario = scenario_of([('x{i="a"}', values(lively))])
    original = decided(MANIFEST, scenario, 1)
    assert len(original) > len(EXPRESSIONS) * 0.6
    groups = rule_groups(MANIFEST, 15)
    counting = EXPRESSIONS.index("count_over_time(x[2m]) < 7.5")
    groups[0]["rules"][counting]["expr"] = EXPRESSIONS[counting]
    with tempfile.TemporaryDirectory() as directory:
        assert f"A{counting}" in run(groups, [replace(scenario, firing=original)], 15, Path(directory))
