"""Alerts tried against attacks by promtool: what it decides is what the lab's Prometheus is known to decide."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from alerts import promtool
from drills.check import checks, reading
from drills.check.finding import Finding
from drills.check.firing.findings import try_all
from drills.check.given import rules_of
from drills.check.predict.cluster import Cluster
from drills.check.world import Options
from drills.cli import cli

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "playbooks", ROOT / "alerts")
LIES = ROOT / "tests" / "e2e" / "lies" / "detection"


def found(*paths: Path, options: Options | None = None) -> list[Finding]:
    return checks.findings(reading.read(paths, options or Options()))


@pytest.fixture(scope="module")
def lies() -> list[Finding]:
    return found(LIES, ROOT / "playbooks" / "demo")


@pytest.mark.parametrize(
    ("alert", "rule", "words"),  # as tests/e2e/test_lies_detection.py shows them in the lab
    [
        ("MisspeltMetric", "alert/does-not-fire", ("cilium_policy_l7_denied_total has no series", "no-series")),
        ("WrongValue", "alert/does-not-fire", ("rule is one of denied, forwarded, parse_errors, received", "no-match")),
        ("TooHigh", "alert/does-not-fire", ("was 120, never > 1000", "below-threshold")),
        ("Absent", "alert/not-loaded", ("no rule is called Absent", "rule-not-loaded")),
        ("ManyToMany", "alert/does-not-fire", ("many-to-many matching not allowed", "rule-error")),
        ("TooPatient", "alert/does-not-fire", ("and ended, `for` asks for 2m", "condition-too-short")),
        ("WithoutSum", "alert/does-not-fire", ("by series, which no sum brings together", "spread over 2 nodes")),
        ("Newborn", "alert/does-not-fire", ("which increase() and rate() do not see", "birth")),
        ("Always", "alert/fires-without-attack", ("in a healthy cluster",)),
        ("TooSlow", "alert/too-late", ("1m15s to 1m30s after the first attempt", "allows 1m")),
        ("AlwaysNoisy", "alert/fires-without-attack", ("in a healthy cluster",)),
        ("NoisyByAttack", "alert/not-quiet", ("is to stay quiet in the drill lies",)),
    ],
)
def test_every_lie_is_found_for_the_reason_that_the_lab_gives(
    lies: list[Finding], alert: str, rule: str, words: tuple[str, ...]
) -> None:
    (finding,) = [each for each in lies if each.rule == rule and re.search(rf"\b{alert}\b", each.message)]
    assert all(word in finding.message + finding.effect for word in words)


def test_right_rules_among_the_wrong_ones_are_left_alone(lies: list[Finding]) -> None:
    judged = [each.message.partition("; known alerts:")[0] for each in lies if each.rule.startswith("alert/")]
    for right in ("Right", "Lasting", "NearThing", "Calm"):
        assert not [each for each in judged if re.search(rf"\b{right}\b", each)]


def test_the_shipped_rules_fire_when_the_lab_says(tmp_path: Path) -> None:
    """HTTP and DNS from 75 s, the database although its series are newborn, WireGuard from 120 s."""
    world = reading.read(SHIPPED, Options())
    tried = try_all(world, rules_of(world), Cluster.of(world))
    assert tried.findings == []
    first: dict[str, tuple[float, float]] = {}
    for verdict in tried.verdicts:
        if verdict.trial.expected is None:
            continue
        cases = verdict.seen[1:]
        times = [(each.firing(verdict.trial.labels)[0] - each.clock.attack_ms) / 1000 for each in cases]
        first[f"{verdict.trial.drill.name}/{verdict.trial.name}"] = (min(times), max(times))
        assert verdict.seen[0].firing({}) == []
    assert first["admin-path/CiliumHTTPRequestsDenied"] == (75, 90)
    assert first["refused-name/CiliumDNSLookupsDenied"] == (75, 90)
    assert first["database-from-frontend/CiliumPolicyDrops"] == (75, 90)
    assert first["wireguard-key/CiliumNodePathBroken"] == (135, 195)
    assert first.keys() >= {"address-without-lookup/CiliumPolicyDrops", "flood/CiliumRequestFlood"}


def test_a_spell_with_gaps_is_read_step_by_step(tmp_path: Path) -> None:
    """A rule that fires, stops and fires again; its resolution is that of the last spell."""
    rules = tmp_path / "rules.yaml"
    denied = 'cilium_policy_l7_total{rule="denied",proxy_type="envoy"}'
    expr = f"(sum(increase({denied}[1m])) > 10) or (sum(increase({denied}[1m] offset 6m)) > 10)"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [{"alert": "Comes", "expr": expr}]}]}))
    playbook = tmp_path / "playbook.yaml"
    text = (ROOT / "playbooks" / "admin-path.yaml").read_text()
    start, end = text.index("      alerts:"), len(text)
    expected = "      alerts: [{name: Comes, within: 4m, resolvesWithin: %s}]\n"
    playbook.write_text(text[:start] + expected % "8m" + text[end:])
    world = reading.read([rules, playbook], Options())
    (verdict,) = try_all(world, rules_of(world), Cluster.of(world)).good
    times = verdict.seen[1].firing({})
    gaps = [after - before for before, after in pairwise(times) if after - before > 15_000]
    assert len(gaps) == 1
    playbook.write_text(text[:start] + expected % "4m" + text[end:])
    (late,) = [each for each in found(rules, playbook) if each.rule == "alert/does-not-resolve"]
    assert "resolves 7m" in late.message


def test_recording_rules_are_evaluated_too(tmp_path: Path) -> None:
    text = (ROOT / "playbooks" / "admin-path.yaml").read_text()
    (tmp_path / "playbook.yaml").write_text(text.replace("      quiet: [CiliumNodePathBroken]\n", ""))
    record = {"record": "denied:sum", "expr": 'sum(cilium_policy_l7_total{rule="denied",proxy_type="envoy"})'}
    alert = {"alert": "CiliumHTTPRequestsDenied", "expr": "increase(denied:sum[5m]) > %d", "for": "1m",
             "labels": {"severity": "warning"}}  # fmt: skip
    for threshold, rules in ((10, []), (1000, ["alert/does-not-fire"])):
        groups = [{"name": "g", "rules": [record, {**alert, "expr": alert["expr"] % threshold}]}]  # type: ignore[operator]
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        assert [each.rule for each in found(tmp_path) if each.rule.startswith("alert/")] == rules


def test_written_tests_are_passed_by_promtool_alone_and_notice_every_change(tmp_path: Path) -> None:
    out = tmp_path / "tests"
    ended = CliRunner().invoke(cli, ["check", *map(str, SHIPPED), "--write-tests", str(out)], standalone_mode=False)
    assert ended.exit_code == 0, ended.output
    tests = sorted(each.name for each in out.glob("*.test.yaml"))
    assert len(tests) == 10
    assert promtool.run("test", "rules", *tests, cwd=out).returncode == 0
    loud = [each for each in tests if ".quiet" not in each]
    right = {test: (out / test.replace(".test.", ".rules.")).read_text() for test in loud}
    for old, new in ((r"> (\d+)\b", lambda found: f"> {int(found[1]) * 300 + 1}"), ("for: ", lambda _: "for: 15s #")):
        for test in loud:
            (out / test.replace(".test.", ".rules.")).write_text(re.sub(old, new, right[test]))
        sections = promtool.run("test", "rules", *loud, cwd=out).stdout.split("Unit Testing:  ")[1:]
        assert [section.split()[0] for section in sections if "FAILED" in section] == loud, old


def test_written_tests_are_no_input_and_are_written_anew(tmp_path: Path) -> None:
    shipped = (ROOT / "playbooks" / "admin-path.yaml", ROOT / "alerts")
    for given in (shipped, (*shipped, tmp_path)):
        found(*given, options=Options(write_tests=tmp_path))
    assert len(list(tmp_path.iterdir())) == 4
    assert rules_of(reading.read([tmp_path], Options())).alerts == []


def test_no_file_of_somebody_elses_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "tests"
    out.mkdir()
    own = out / "admin-path.admin-path.alerts1.CiliumHTTPRequestsDenied.test.yaml"
    own.write_text("mine\n")
    arguments = ["check", str(ROOT / "playbooks" / "admin-path.yaml"), str(ROOT / "alerts"), "--write-tests", str(out)]
    ended = CliRunner().invoke(cli, arguments)
    assert "is left as it is" in str(ended.exception)
    assert [each.name for each in out.iterdir()] == [own.name]
    assert own.read_text() == "mine\n"


def test_an_alert_that_a_drill_does_not_expect_mutes_the_one_that_it_does(tmp_path: Path) -> None:
    """The missing label counts as equal; narrowed to an alert that the drill does not move, nothing is muted."""
    denied = 'sum(increase(cilium_policy_l7_total{rule="denied",proxy_type="%s"}[5m])) > 100'
    alerts = [
        {"alert": "CiliumHTTPRequestsDenied", "expr": denied % "envoy", "labels": {"severity": "warning"}},
        {"alert": "ManyRequestsDenied", "expr": denied % "envoy", "labels": {"severity": "critical"}},
        {"alert": "ManyLookupsDenied", "expr": denied % "fqdn", "labels": {"severity": "critical"}},
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": alerts}]}))
    text = (ROOT / "playbooks" / "admin-path.yaml").read_text()
    (tmp_path / "playbook.yaml").write_text(text.replace("      quiet: [CiliumNodePathBroken]\n", ""))
    for name, muted in (("ManyRequestsDenied", True), ("ManyLookupsDenied", False)):
        rule = {
            "source_matchers": ["severity=critical", f"alertname={name}"],
            "target_matchers": ["severity=warning"],
            "equal": ["namespace"],
        }
        receiver = {"name": "security", "webhook_configs": [{"url": "http://hook.example/"}]}
        config = {"route": {"receiver": "security"}, "receivers": [receiver], "inhibit_rules": [rule]}
        (tmp_path / "alertmanager.yaml").write_text(yaml.safe_dump(config))
        inhibited = [each for each in found(tmp_path) if each.rule == "alertmanager/inhibited"]
        assert [f"is muted while {name} fires" in each.message for each in inhibited] == ([True] if muted else [])
        assert all("has the label namespace, which counts as equal" in each.effect for each in inhibited)


def test_every_lie_about_delivery_that_files_can_tell_is_found() -> None:
    """As tests/e2e/test_lies_delivery.py shows them in the lab; silences and failing endpoints no file can tell."""
    lies = ROOT / "tests" / "e2e" / "lies" / "delivery"
    playbook, rules, config = (lies / f"{each}.yaml" for each in ("playbook", "rules", "alertmanager"))
    told = found(playbook, rules, config, ROOT / "playbooks" / "demo")
    assert {(each.rule, each.message.split()[0]) for each in told if each.rule.startswith("alertmanager/")} == {
        ("alertmanager/inhibited", "Inhibited"),
        *(("alertmanager/muted-always", name) for name in ("TimeMuted", "HushedAndMuted")),
        *(("alertmanager/no-receiver", name) for name in ("Swallowed", "HushedAndSwallowed")),
        *(("alertmanager/wrong-receiver", name) for name in ("Misrouted", "HushedElsewhere")),
    }
    (unsure,) = [each for each in told if each.rule.startswith("alert/")]  # it reads another alert
    assert (unsure.rule, "Breaking" in unsure.message) == ("alert/not-judged", True)
