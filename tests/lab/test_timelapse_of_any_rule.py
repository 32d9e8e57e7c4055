"""Generated rules and the shipped ones over generated series: scaled and original decide alike, as promtool judges.

What promtool cannot judge (lookback, `absent()` without a stale marker, a group's interval) is in
`test_timelapse_live`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from timelapse_support import STEPS_OF_A_SERIES, decided, difference, scenario_of, values

import alerts

pytestmark = pytest.mark.lab

SHIPPED = yaml.safe_load((Path(alerts.__file__).parent / "rules" / "cilium-security.yaml").read_text())
RULES_TOGETHER = 6  # one run of promtool judges them all

# --- rules ------------------------------------------------------------------------------------------------------------

SELECTORS = st.sampled_from(["x", 'x{i="a"}', 'x{i!="a"}', 'x{i=~"a|b"}'])
RANGES = st.sampled_from(["30s", "45s", "1m", "2m", "3m", "5m"])
OFFSETS = st.sampled_from(["", "", "", " offset 30s", " offset 2m"])
OVER_TIME = st.sampled_from(["sum", "avg", "min", "max", "count", "last", "stddev", "stdvar", "present"])
COUNTING = st.sampled_from(["increase", "delta", "idelta", "changes", "resets", "rate", "irate", "deriv"])
AGGREGATIONS = st.sampled_from(["sum", "max", "min", "avg", "count", "sum by (i) ", "max without (i) "])
# Never a number that a series or one of its rates can be: an equality would be decided by float noise.
THRESHOLDS = st.integers(-3, 60).map(lambda number: f"{number}.31379") | st.sampled_from(["0.13791", "0.53179"])
OPERATORS = st.sampled_from([">", ">=", "<", "<="])  # equality of what is per second is refused

INSTANT = st.builds("{}{}".format, SELECTORS, OFFSETS)
RANGED = st.one_of(
    st.builds("{}_over_time({}[{}]{})".format, OVER_TIME, SELECTORS, RANGES, OFFSETS),
    st.builds("{}({}[{}]{})".format, COUNTING, SELECTORS, RANGES, OFFSETS),
    st.builds("predict_linear({}[{}], 90)".format, SELECTORS, RANGES),
    st.builds("quantile_over_time(0.6, {}[{}])".format, SELECTORS, RANGES),
)
SUBQUERY = st.builds(
    "{}_over_time(({})[{}:{}]{})".format, OVER_TIME, INSTANT | RANGED, RANGES, st.sampled_from(["15s", "30s"]), OFFSETS
)
AGGREGATED = st.builds("{}({})".format, AGGREGATIONS, INSTANT | RANGED | SUBQUERY)
VALUES = INSTANT | RANGED | SUBQUERY | AGGREGATED | st.builds("({}) / 60".format, RANGED)
COMPARED = st.builds("({}) {} {}".format, VALUES, OPERATORS, THRESHOLDS)
EXPRESSIONS = COMPARED | st.builds(
    "({}) {} ({})".format, COMPARED, st.sampled_from(["and", "or", "unless", "and on ()"]), COMPARED
)
FOR = st.sampled_from(["0s", "15s", "45s", "1m", "2m"])


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    rules = [{"alert": f"A{number}", "expr": draw(EXPRESSIONS), "for": draw(FOR)} for number in range(RULES_TOGETHER)]
    group = {"name": "g", "interval": "15s", "rules": rules}
    return {"metadata": {"name": "n", "namespace": "m"}, "spec": {"groups": [group]}}


# --- series -----------------------------------------------------------------------------------------------------------

WATCHED = (  # what the shipped rules read, and how much a step means
    *((f'cilium_policy_l7_total{{rule="denied",proxy_type="{one}"', 1) for one in ("envoy", "fqdn")),
    ('cilium_policy_l7_total{rule="received",proxy_type="envoy"', 800),
    *((f'cilium_drop_count_total{{reason="Policy denied",direction="{one}"', 1) for one in ("INGRESS", "EGRESS")),
)
SOMETIMES = st.lists(st.sampled_from([0, 0, 1, "missed"]), min_size=40, max_size=40)


@st.composite
def clusters(draw: st.DrawFn) -> list[tuple[str, str]]:
    found = []
    for instance in ("w1", "w2"):
        for name, factor in WATCHED:
            found.append((f'{name},instance="{instance}"}}', values(draw(STEPS_OF_A_SERIES), factor)))
        gauge = " ".join("stale" if step == "missed" else str(step) for step in draw(SOMETIMES))
        labels = f'type="endpoint",status="unreachable",instance="{instance}"'
        found.append((f"cilium_node_health_connectivity_status{{{labels}}}", gauge))
        found.append((f'up{{instance="{instance}"}}', " ".join(str(int(step == 0)) for step in draw(SOMETIMES))))
    return found


quickly = settings(  # no shrinking: an example takes a quarter of a second
    max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)


@quickly
@given(manifest=manifests(), k=st.sampled_from([5, 12, 15, 30, 60]), first=STEPS_OF_A_SERIES, second=STEPS_OF_A_SERIES)
def test_any_rule_over_any_series(
    manifest: dict[str, Any], k: int, first: list[int | str], second: list[int | str]
) -> None:
    series = [('x{i="a"}', values(first)), ('x{i="b"}', values(second))]
    assert difference(manifest, scenario_of(series), k) == ""


@quickly
@given(series=clusters(), k=st.sampled_from([15, 60]))
def test_every_shipped_rule_over_any_series(series: list[tuple[str, str]], k: int) -> None:
    assert difference(SHIPPED, scenario_of(series), k) == ""


def test_the_generated_series_make_every_shipped_rule_fire() -> None:
    """The judge's own test: in a lively cluster nothing stays silent, so that a difference would be seen."""
    steady: list[int | str] = [5] * 40
    series = [(f'{name},instance="w1"}}', values(steady, factor)) for name, factor in WATCHED]
    health = 'cilium_node_health_connectivity_status{type="endpoint",status="unreachable",instance="w1"}'
    series.append((health, " ".join(["1"] * 30 + ["stale"])))
    fired = decided(SHIPPED, scenario_of(series, spare=16), 1)
    assert fired.keys() == {rule["alert"] for group in SHIPPED["spec"]["groups"] for rule in group["rules"]}
