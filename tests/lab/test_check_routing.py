"""Generated route trees and labels: the model takes the routes that amtool takes, and refuses what amtool refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alerts.routing import routes_of
from drills.check import reading
from drills.check.delivery.configs import configs_of
from drills.check.world import Options

pytestmark = pytest.mark.lab

NAMES = st.sampled_from(["severity", "team", "namespace", "alertname"])
VALUES = st.sampled_from(["", "warning", "critical", "sec", "sec-ops", "a,b", 'quo"ted'])
PATTERNS = st.sampled_from(["warning|critical", "sec.*", ".+", "", "(a|b),b", "[a-z]+"])
RECEIVERS = ("root", "one", "two", "three")


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


EQUAL = st.builds(lambda name, op, value: f"{name}{op}{quoted(value)}", NAMES, st.sampled_from(["=", "!="]), VALUES)
REGEX = st.builds(
    lambda name, op, value: f"{name} {op} {quoted(value)}", NAMES, st.sampled_from(["=~", "!~"]), PATTERNS
)
BARE = st.builds("{}={}".format, NAMES, st.sampled_from(["warning", "critical", "sec-ops"]))
MATCHER = EQUAL | REGEX | BARE
MATCHERS = st.lists(
    MATCHER | st.builds("{},{}".format, MATCHER, MATCHER) | st.builds("{{{}, {}}}".format, MATCHER, MATCHER), max_size=2
)


@st.composite
def routes(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    route: dict[str, Any] = {"matchers": draw(MATCHERS)}
    if draw(st.booleans()):
        route["receiver"] = draw(st.sampled_from(RECEIVERS))
    if draw(st.integers(0, 3)) == 0:
        route["match"] = {draw(NAMES): draw(st.sampled_from(["warning", "sec"]))}
    if draw(st.integers(0, 3)) == 0:
        route["match_re"] = {draw(NAMES): draw(st.sampled_from(["w.*", "sec|sec-ops"]))}
    if draw(st.booleans()):
        route["continue"] = draw(st.booleans())
    if depth:
        route["routes"] = draw(st.lists(routes(depth=depth - 1), max_size=2))
    return route


TREES = st.lists(routes(), min_size=1, max_size=3).map(lambda below: {"receiver": "root", "routes": below})
LABELS = st.dictionaries(NAMES, VALUES.filter(bool), max_size=4)


def config(tree: dict[str, Any]) -> str:
    hook = [{"url": "http://hook.example/"}]
    receivers = [{"name": name, "webhook_configs": hook} for name in RECEIVERS]
    return yaml.safe_dump({"route": tree, "receivers": receivers})


@settings(
    max_examples=30, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(tree=TREES, labels=LABELS)
def test_an_alert_takes_the_routes_that_amtool_says(
    tree: dict[str, Any], labels: dict[str, str], tmp_path: Path
) -> None:
    text = config(tree)
    file = tmp_path / "alertmanager.yml"
    file.write_text(text)
    pairs = [f"{name}={quoted(value)}" for name, value in labels.items()]
    done = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={file}", *pairs],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [route.receiver for route in routes_of(text, labels, 0.0)] == done.stdout.strip().split(",")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("route: {receiver: root, routes: [{receiver: nobody}]}", 'there is no receiver "nobody"'),
        ("route: {receiver: root, routes: [{matchers: ['severity']}]}", "is not a matcher"),
        ("route: {receiver: root, routes: [{match_re: {severity: '('}}]}", "is not a regular expression"),
        ("route: {routes: [{receiver: root}]}", "the root route has no receiver"),
        ("route: {receiver: root, routes: 3}", "routes must be a list"),
        ("route: {receiver: root, group_wait: soon}", " says: "),
        ("route: {receiver: root, colour: blue}", " says: "),
        ("route: {receiver: root, mute_time_intervals: [never-defined]}", " says: "),
    ],
)
def test_what_amtool_refuses_is_refused(tmp_path: Path, wrong: str, words: str) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(f"{wrong}\nreceivers: [{{name: root}}]\n")
    (found,) = configs_of(reading.read([file], Options()))
    assert found.wrong is not None
    assert words in found.wrong[1]
    assert (
        subprocess.run(["amtool", "check-config", file], capture_output=True, timeout=20, check=False).returncode != 0
    )
