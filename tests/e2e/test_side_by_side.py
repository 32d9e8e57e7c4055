"""Several drills at once: those that have nothing in common overlap, the others never do, and an interrupt ends all."""

from __future__ import annotations

import json
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from command import K, Lab
from test_recovery import QUICK, start

pytestmark = pytest.mark.lab

PLAYBOOK = Path(__file__).parent / "side_by_side.yaml"
TOGETHER = ("admin-path", "names", "database")
ONE_AFTER_ANOTHER = ("admin-path", "method", "missing-header")
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def out(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of all five drills."""
    folder = tmp_path_factory.mktemp("run")
    ended = lab.drills("run", PLAYBOOK, "--lab", "--out", folder)
    assert ended.status == 0, ended.err + ended.out
    return folder


@pytest.fixture(scope="module")
def result(lab: Lab, out: Path) -> dict[str, Any]:
    return lab.drills.result(out)


def journal(out: Path) -> Events:
    path = out / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def when(events: Events, drill: str, event: str, **values: str) -> datetime:
    wanted = {"drill": drill, "event": event, **values}.items()
    return datetime.fromisoformat(next(one["at"] for one in events if wanted <= one.items()))


def named(result: dict[str, Any], drill: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in result["drills"] if one["name"] == drill)
    return found


def test_the_result_keeps_the_playbooks_order_and_says_when_each_ran(result: dict[str, Any]) -> None:
    assert [one["name"] for one in result["drills"]] == ["method", "admin-path", "names", "database", "missing-header"]
    assert result["verdict"] == "passed"
    for one in result["drills"]:
        times = [one[key] for key in ("startedAt", "firstAttemptAt", "lastAttemptAt", "finishedAt")]
        assert times == sorted(times)


def test_what_has_nothing_in_common_attacks_at_the_same_time(result: dict[str, Any]) -> None:
    drills = [named(result, name) for name in TOGETHER]
    assert max(one["firstAttemptAt"] for one in drills) < min(one["lastAttemptAt"] for one in drills)


def test_what_shares_a_target_or_moves_anothers_alert_runs_one_after_another(out: Path) -> None:
    events = journal(out)
    (schedule,) = [one for one in events if one["event"] == "schedule"]
    first, second, third = sorted(ONE_AFTER_ANOTHER, key=schedule["order"].index)
    assert first == "admin-path"  # whose alert would else have to go before it begins
    for variant in (second, third):
        assert schedule["waits"][variant]["admin-path"]["until"] == "end"
        assert when(events, variant, "phase", phase="prepare") >= when(events, "admin-path", "verdict")
    assert when(events, third, "phase", phase="prepare") >= when(events, second, "attempts", role="attack")
    reasons = " ".join(schedule["waits"][second]["admin-path"]["why"])
    assert 'cilium_policy_l7_total{proxy_type="envoy", rule="denied"}' in reasons
    assert "CiliumHTTPRequestsDenied of admin-path reads" in reasons


def test_every_alert_belongs_to_its_own_drill(result: dict[str, Any]) -> None:
    for name in TOGETHER:
        assert [one["name"] for one in named(result, name)["collateral"] if "Denied" in one["name"]] == []
    for name in ("admin-path", "names"):
        (alert,) = named(result, name)["alerts"]
        assert (alert["verdict"], alert["resolution"], alert["flags"]) == ("detected", "resolved", [])


def test_the_alert_of_one_is_proven_in_silence_while_that_of_another_is_notified(
    lab: Lab, result: dict[str, Any]
) -> None:
    (loud,), (silent,) = (named(result, name)["alerts"] for name in ("admin-path", "names"))
    assert (loud["notifiedAt"] is not None, loud["silencedBy"]) == (True, [])
    assert (silent["notifiedAt"], silent["atAlertmanagerAt"] is not None) == (None, True)
    (laid,) = requests.get(f"{status(lab, 'alertmanager')}/api/v2/silences", timeout=5).json()
    assert silent["silencedBy"] == [laid["id"]]
    assert (laid["status"]["state"], laid["createdBy"], result["run"] in laid["comment"]) == ("expired", "drills", True)
    assert {one["name"]: one["value"] for one in laid["matchers"]} == {
        "alertname": "CiliumDNSLookupsDenied", "severity": "warning",
    }  # fmt: skip
    told = requests.get(f"{status(lab, 'receiver')}/notifications", timeout=5).json()
    firing = {one["labels"]["alertname"] for each in told for one in each["alerts"] if one["status"] == "firing"}
    assert "CiliumHTTPRequestsDenied" in firing
    assert "CiliumDNSLookupsDenied" not in firing


def status(lab: Lab, what: str) -> str:
    """Where something of the lab is."""
    return str(json.loads((lab.kubeconfig.parent / "status.json").read_text())[what])


def test_counters_count_for_one_drill_at_a_time(result: dict[str, Any]) -> None:
    for name in (*ONE_AFTER_ANOTHER, "names"):
        enforcement = named(result, name)["enforcement"]
        counter = next(one for one in enforcement["evidence"] if one["kind"] == "counter")
        assert counter["after"] - counter["before"] == enforcement["denied"] == enforcement["attempts"]


def test_a_baseline_that_was_shown_already_is_not_waited_for_again(result: dict[str, Any], out: Path) -> None:
    """The last drill's alert was at rest all the time while the others ran."""
    events = journal(out)
    assert [one["name"] for one in named(result, "missing-header")["quiet"]] == ["CiliumNodePathBroken"]
    warm, attack = (when(events, "missing-header", event) for event in ("warm-up", "attack"))
    assert (attack - warm).total_seconds() < 150 / K  # `for` + S + E


def test_an_interrupt_ends_all_drills_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    process = start(lab, PLAYBOOK, tmp_path)
    until = time.monotonic() + 60
    while len({one["drill"] for one in journal(tmp_path) if one["event"] == "attack"}) < 2:
        assert process.poll() is None, "it ended before two drills attacked"
        assert time.monotonic() < until
        time.sleep(0.01)

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert process.returncode == 4, err
    assert "Traceback" not in err
    found = lab.drills.result(tmp_path)
    assert found["verdict"] == "aborted"
    assert {one["name"] for one in found["drills"]} == set(TOGETHER)  # the others had not begun
    for one in found["drills"]:
        assert one["verdict"] == "aborted"
        assert one["recovery"]["verdict"] == "restored"
    assert all(change["undone"] for change in found["provenance"]["changes"])
    assert "drill-" not in lab.kubectl("get", "pods,configmaps", "-A", "-o", "name")
    assert lab.kubectl("get", "leases,secrets", "-n", "drills", "-o", "name") == ""
    silences = requests.get(f"{status(lab, 'alertmanager')}/api/v2/silences", timeout=5).json()
    assert [one["status"]["state"] for one in silences] == ["expired"] * len(silences)


def named_as(name: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """A quick playbook of that name."""
    text = QUICK
    for old, new in (("name: quick", f"name: {name}"), *changes):
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_several_playbooks_in_one_run_and_their_reports_made_again(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = lab.drills("run", named_as("one", tmp_path), named_as("two", tmp_path), "--lab", "--out", out)

    assert ended.status == 0, ended.out + ended.err
    summary = json.loads((out / "summary.json").read_text())
    assert summary["verdict"] == "passed"
    assert summary["playbooks"] == [
        {"name": name, "verdict": "passed", "result": f"{name}/result.json"} for name in ("one", "two")
    ]
    for name in ("one", "two"):
        assert lab.drills.result(out / name)["playbook"] == name
    written = {path: path.read_text() for path in out.glob("*/*") if path.suffix in (".xml", ".html")}
    assert len(written) == 4
    for path in written:
        path.unlink()
    again = lab.drills("report", out)
    assert (again.status, set(again.out.split())) == (0, {str(path) for path in written}), again.err
    assert {path: path.read_text() for path in written} == written


def test_nothing_begins_where_a_later_playbook_is_refused(lab: Lab, tmp_path: Path) -> None:
    early = "\n      alerts: [{name: CiliumHTTPRequestsDenied, within: 10s}]"
    wrong = named_as("wrong", tmp_path, ("denied: {status: 403}", f"denied: {{status: 403}}{early}"))
    out = tmp_path / "out"

    ended = lab.drills("run", named_as("right", tmp_path), wrong, "--lab", "--out", out)

    assert ended.status == 2, ended.out + ended.err
    assert "cannot fire within 10 s" in ended.err
    assert not out.exists()


def test_a_run_that_breaks_off_between_playbooks_leaves_a_summary(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "two").write_text("in the way of its directory")

    ended = lab.drills("run", named_as("one", tmp_path), named_as("two", tmp_path), "--lab", "--out", out)

    assert ended.status == 3, ended.out + ended.err
    assert json.loads((out / "summary.json").read_text()) == {
        "schema": "drills/summary/v1",
        "verdict": "inconclusive",
        "playbooks": [
            {"name": "one", "verdict": "passed", "result": "one/result.json"},
            {"name": "two", "verdict": None, "result": None},
        ],
    }
