"""Series that do anything, and what promtool says fires over them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from promtool_scenarios import Scenario, rule_groups, run

from drills.units import parse_duration

STEP = 15_000
STEPS = 40
GOT = re.compile(r"alertname: (\w+), time: (\w+),.*?got:\[(.*?)\]\n", re.DOTALL)
LABELS = re.compile(r"Labels:{([^}]*)}")

# Counters with pauses, bursts, resets and missed scrapes.
STEPS_OF_A_SERIES = st.lists(
    st.one_of(st.integers(0, 12), st.just(0), st.just(40), st.just("reset"), st.just("missed")),
    min_size=STEPS,
    max_size=STEPS,
)


def values(steps: Sequence[int | str], factor: int = 1) -> str:
    """A series in promtool's notation; a missed scrape leaves a stale marker, as Prometheus does."""
    value, texts = 0, []
    for step in steps:
        if step == "missed":
            texts.append("stale" if texts and texts[-1] not in ("stale", "_") else "_")
            continue
        value = 0 if step == "reset" else value + factor * int(step)
        texts.append(str(value))
    return " ".join(texts)


def scenario_of(series: Sequence[tuple[str, str]], spare: int = 4) -> Scenario:
    """A scenario that asserts nothing yet, with some steps after the last sample."""
    return Scenario("any", STEP, STEP * (STEPS + spare), series, {})


def decided(manifest: Mapping[str, Any], scenario: Scenario, k: int) -> dict[str, list[dict[str, object]]]:
    """What fires when, asked of promtool by expecting nothing: alert -> spells of one step, in unscaled time."""
    with tempfile.TemporaryDirectory() as directory:
        output = run(rule_groups(manifest, k), [scenario], k, Path(directory))
    found: dict[str, list[dict[str, object]]] = {}
    for alert, time, got in GOT.findall(output):
        for labels in LABELS.findall(got):
            pairs = dict(re.findall(r'(\w+)="([^"]*)"', labels))
            pairs.pop("alertname")
            at = f"{parse_duration(time) * k}ms"
            found.setdefault(alert, []).append({"labels": pairs, "from": at, "to": at})
    return found


def difference(manifest: Mapping[str, Any], scenario: Scenario, k: int) -> str:
    """What promtool says where the scaled rules decide unlike the originals at some step; empty where they do not."""
    told = replace(scenario, firing=decided(manifest, scenario, 1))
    with tempfile.TemporaryDirectory() as directory:
        return run(rule_groups(manifest, k), [told], k, Path(directory))
