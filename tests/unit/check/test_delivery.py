"""Where expected alerts go: configurations in all their wrappings, receivers, inhibition."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.inhibition import could_mute, inhibitions
from drills.check import checks, reading
from drills.check.delivery.configs import configs_of
from drills.check.delivery.findings import deliveries, invalid
from drills.check.given import rules_of
from drills.check.world import Options

CONFIG = """\
route:
  receiver: security
  routes:
  - {receiver: nobody, matchers: [team="shop"]}
receivers:
- {name: security, webhook_configs: [{url: "http://hook.example/"}]}
- {name: nobody}
inhibit_rules:
- {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [namespace]}
"""


def manifest(kind: str, **data: Any) -> str:
    return yaml.safe_dump({"apiVersion": "v1", "kind": kind, "metadata": {"name": "alertmanager"}, **data})


def wrong(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "given.yaml").write_text(text)
    return [each.wrong[1] if each.wrong else "" for each in configs_of(reading.read([tmp_path], Options()))]


@pytest.mark.parametrize(
    "text",
    [
        CONFIG,
        manifest("Secret", stringData={"alertmanager.yaml": CONFIG}),
        manifest("Secret", data={"alertmanager.yml": base64.b64encode(CONFIG.encode()).decode()}),
        manifest("ConfigMap", data={"alertmanager.yml": CONFIG}),
    ],
    ids=["plain", "stringData", "base64", "ConfigMap"],
)
def test_a_configuration_is_found_in_what_holds_it(tmp_path: Path, text: str) -> None:
    assert wrong(tmp_path, text) == [""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (manifest("Secret", data={"alertmanager.yaml": "not base64!"}), "it is not base64"),
        (manifest("Secret", stringData={"alertmanager.yaml": "a: ["}), "broken YAML"),
        (manifest("ConfigMap", data={"alertmanager.yaml": "a: 1\n---\nb: 2"}), "one YAML document"),
        (manifest("ConfigMap", data={"alertmanager.yaml": "global: {}"}), "there is no route"),
        ("route: {receiver: a}\nreceivers: [{name: a, email_configs: 3}]\n", "receivers must be a list of mappings"),
        ("route: {receiver: a, match: [1]}\nreceivers: [{name: a}]\n", "match must be a mapping"),
        ("route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [3]\n", "an inhibition must be a mapping"),
        ("route: {receiver: a}\nreceivers: [{name: a}]\ninhibit_rules: [{equal: x}]\n", "equal must be a list"),
    ],
)
def test_what_alertmanager_would_not_load_is_said(tmp_path: Path, text: str, words: str) -> None:
    (found,) = wrong(tmp_path, text)
    assert words in found


def playbook(alerts: str) -> str:
    return f"""\
apiVersion: drills/v1
kind: Playbook
metadata: {{name: shop}}
spec:
  sources: {{web: {{namespace: shop, labels: {{app: web}}}}}}
  drills:
  - name: admin-path
    inject: {{http: {{from: web, url: "http://api.shop/admin", rate: 5/s, duration: 3m}}}}
    control: {{http: {{from: web, url: "http://api.shop/"}}}}
    expect: {{denied: {{status: 403}}, alerts: [{alerts}]}}
"""


def delivered(tmp_path: Path, alerts: str, rules: Mapping[str, Mapping[str, str]], config: str = CONFIG) -> list[str]:
    """What is found about alerts with these labels, none of which promtool was asked about."""
    written = [{"alert": name, "expr": "vector(1)", "labels": dict(labels)} for name, labels in rules.items()]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": written}]}))
    (tmp_path / "playbook.yaml").write_text(playbook(alerts))
    (tmp_path / "alertmanager.yaml").write_text(config)
    world = reading.read([tmp_path], Options())
    return [f"{each.rule}: {each.message}" for each in deliveries(world, rules_of(world), configs_of(world), [])]


def test_an_alert_that_reaches_its_receiver_is_left_alone(tmp_path: Path) -> None:
    alerts = "{name: A, within: 4m, receiver: security}, {name: A, within: 4m}"
    assert delivered(tmp_path, alerts, {"A": {"severity": "warning"}}) == []


def test_the_receiver_that_swallows_and_the_one_that_is_not_meant(tmp_path: Path) -> None:
    alerts = "{name: A, within: 4m}, {name: B, within: 4m, receiver: pager}"
    found = delivered(tmp_path, alerts, {"A": {"team": "shop"}, "B": {"team": "bank"}})
    assert found == [
        "alertmanager/no-receiver: A with {team=shop} is routed to nobody, which sends nothing",
        "alertmanager/wrong-receiver: B with {team=bank} is routed to security, not to pager",
    ]


def test_a_critical_alert_of_the_same_drill_mutes_the_warning(tmp_path: Path) -> None:
    alerts = "{name: A, within: 4m}, {name: B, within: 4m}"
    both = {"A": {"severity": "warning"}, "B": {"severity": "critical"}}
    (found,) = delivered(tmp_path, alerts, both)
    assert found.startswith("alertmanager/inhibited: A is muted while B fires, which the drill admin-path expects")
    apart = {"A": {"severity": "warning", "namespace": "a"}, "B": {"severity": "critical", "namespace": "b"}}
    assert delivered(tmp_path, alerts, apart) == []


def test_a_route_that_is_active_in_some_hours_is_not_muted_always(tmp_path: Path) -> None:
    times = "time_intervals:\n- {name: office, time_intervals: [{weekdays: ['monday:friday'], times: [%s]}]}\n"
    hours = "{start_time: '09:00', end_time: '17:00'}"
    config = CONFIG.replace("{receiver: nobody,", "{receiver: security, active_time_intervals: [office],")
    assert delivered(tmp_path, "{name: A, within: 4m}", {"A": {"team": "shop"}}, config + times % hours) == []
    never = config + "time_intervals:\n- {name: office, time_intervals: [{years: ['2020']}]}\n"
    (found,) = delivered(tmp_path, "{name: A, within: 4m}", {"A": {"team": "shop"}}, never)
    assert found.startswith("alertmanager/muted-always")


@pytest.mark.parametrize(
    ("target", "source", "equal", "mutes"),
    [
        ({"s": "w"}, {"s": "c"}, [], True),
        ({"s": "w"}, {"s": "c"}, ["ns"], True),  # missing on both: as good as equal
        ({"s": "w", "ns": "a"}, {"s": "c"}, ["ns"], False),
        ({"s": "w", "ns": "a"}, {"s": "c", "ns": "a"}, ["ns"], True),
        ({"s": "w", "ns": "a"}, {"s": "c", "ns": "b"}, ["ns"], False),
        ({"s": "w"}, {"s": "w"}, [], False),
        ({"s": "c"}, {"s": "c"}, [], False),
    ],
)
def test_inhibition(target: dict[str, str], source: dict[str, str], equal: list[str], mutes: bool) -> None:
    config = {"inhibit_rules": [{"source_match": {"s": "c"}, "target_match_re": {"s": "w|x"}, "equal": equal}]}
    assert bool(list(inhibitions(config, target, source))) is mutes


def test_an_alert_that_fits_both_sides_does_not_mute_itself() -> None:
    config = {"inhibit_rules": [{"source_matchers": ['a=~".+"'], "target_matchers": ['a=~".+"']}]}
    assert list(inhibitions(config, {"a": "1"}, {"a": "1"})) == []
    one_side = {"inhibit_rules": [{"source_matchers": ['a=~".+"'], "target_matchers": ['a="1"']}]}
    assert [each.number for each in inhibitions(one_side, {"a": "1"}, {"a": "2"})] == [0]


def test_labels_that_are_not_known_yet_may_be_anything() -> None:
    config = {
        "inhibit_rules": [{"source_matchers": ["severity=critical", "x=1"], "target_matchers": ["severity=warning"]}]
    }
    assert could_mute(config, {"severity": "warning"}, {"severity": "critical"})
    assert not could_mute(config, {"severity": "warning"}, {"severity": "warning"})


def judged(tmp_path: Path, text: str) -> list[tuple[str, int, int, str]]:
    """What is found in a configuration: rule, line, column, message."""
    (tmp_path / "given.yaml").write_text(text)
    configs = configs_of(reading.read([tmp_path], Options()))
    return [(each.rule, each.place.line, each.place.column, each.message) for each in invalid(configs)]


ROOT = "route: {receiver: a}\n"
INHIBITED = "alertmanager/inhibited"
INVALID, NEWER = "alertmanager/invalid", "alertmanager/newer-than-amtool"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("receivers: [{name: a}]\nroute:\n  receiver: a\n  group_wait: 5x\n", 4, 15, 'duration string: "5x"'),
        (ROOT + "receivers:\n- name: a\n- name: b\n- name: a\n", 5, 9, '"a" is not unique'),
        (
            "receivers: [{name: a}]\nroute:\n  receiver: a\n  routes:\n  - mute_time_intervals: [nights, never]\n"
            "time_intervals:\n- {name: nights, time_intervals: [{months: ['1']}]}\n",
            5,
            35,
            '"never"',
        ),
        (ROOT + "receivers:\n- name: a\n  colour: blue\n", 4, 3, "says: field colour not found"),
        (ROOT + "receivers:\n- name: a\n  webhook_configs:\n  - url: ftp://x\n", 5, 5, "unsupported scheme"),
        (ROOT + "receivers:\n- name: a\n  webhook_configs:\n  - {url: 'http://x', timeot: 5s}\n", 5, 23, "timeot"),
        (
            ROOT + "receivers:\n- name: a\n  webhook_configs:\n  - {url: 'http://x', bot_token_file: /x}\n",
            5,
            23,
            "bot_",
        ),
        (ROOT + "receivers: [{name: a}]\nglobal:\n  resolve_timeout: soon\n", 4, 20, '"soon"'),
        (
            "receivers: [{name: a}]\nroute:\n  receiver: a\n  group_interval: 0s\n",
            4,
            3,
            "group_interval cannot be zero",
        ),
    ],
)
def test_what_amtool_says_points_at_what_it_means(
    tmp_path: Path, text: str, line: int, column: int, words: str
) -> None:
    (found,) = judged(tmp_path, text)
    assert found[:3] == (INVALID, line, column)
    assert found[3].startswith("amtool 0.")
    assert words in found[3]


@pytest.mark.parametrize(
    ("receiver", "key"),
    [
        ("webhook_configs: [{url_file: /x}]", "url_file"),
        ("webhook_configs: [{url: 'http://x', timeout: 10s}]", "timeout"),
        ("webhook_configs: [{url: 'http://x', http_config: {proxy_from_environment: true}}]", "proxy_from_environment"),
        ("msteams_configs: [{webhook_url: 'http://x'}]", "msteams_configs"),
        ("msteamsv2_configs: [{webhook_url: 'http://x'}]", "msteamsv2_configs"),
        ("jira_configs: [{api_url: 'http://x'}]", "jira_configs"),
        ("telegram_configs: [{bot_token_file: /x, chat_id: 1}]", "bot_token_file"),
        ("pushover_configs: [{user_key_file: /x, token: y}]", "user_key_file"),
    ],
)
def test_what_only_newer_versions_know_is_a_warning(tmp_path: Path, receiver: str, key: str) -> None:
    ((rule, line, _, message),) = judged(tmp_path, f"{ROOT}receivers:\n- name: a\n  {receiver}\n")
    assert (rule, line) == (NEWER, 4)
    assert message == f"amtool 0.25.0 does not know {key}; Alertmanager 0.34 does"


def test_beside_what_is_newer_the_real_mistakes_are_still_found(tmp_path: Path) -> None:
    text = f"""\
{ROOT}receivers:
- name: a
  webhook_configs:
  - {{url_file: /x}}
  - {{url: 'http://x', max_alert: 3}}
  - {{url_file: /y}}
global: {{jira_api_url: 'http://jira'}}
"""
    assert [(rule, line) for rule, line, _, _ in judged(tmp_path, text)] == [
        (NEWER, 5),
        (NEWER, 7),
        (NEWER, 8),
        (INVALID, 6),
    ]


def test_a_label_in_quotes_is_newer_than_amtool(tmp_path: Path) -> None:
    text = 'route:\n  receiver: a\n  routes:\n  - matchers: [\'"team.name"="shop"\']\nreceivers: [{name: a}]\n'
    ((rule, line, column, _),) = judged(tmp_path, text)
    assert (rule, line, column) == (NEWER, 4, 16)


MUTING = """\
route: {receiver: a}
receivers: [{name: a, webhook_configs: [{url: "http://hook.example/"}]}]
inhibit_rules: [{source_matchers: ['alertname="%s"'], target_matchers: ['severity="warning"']}]
"""
DENIED = 'sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="envoy"}[5m])) > 10'


@pytest.mark.parametrize(
    ("expr", "mutes"),
    [
        ("vector(1)", True),
        ("up == 1", True),
        ("up == 0", False),
        ("cilium_unreachable_nodes > 0", False),
        ("absent(up)", False),
        ("shop_up == 1", False),  # nobody here knows
    ],
)
def test_an_alert_that_always_fires_mutes_too(tmp_path: Path, expr: str, mutes: bool) -> None:
    rules = [
        {"alert": "Denied", "expr": DENIED, "for": "1m", "labels": {"severity": "warning"}},
        {"alert": "Watchdog", "expr": expr},
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    (tmp_path / "playbook.yaml").write_text(playbook("{name: Denied, within: 4m}"))
    (tmp_path / "alertmanager.yaml").write_text(MUTING % "Watchdog")
    found = [each for each in checks.findings(reading.read([tmp_path], Options())) if each.rule == INHIBITED]
    assert ["as it does in a healthy cluster" in each.message for each in found] == [True] * mutes
