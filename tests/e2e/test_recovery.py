"""kill -9 at any step of a run, and `drills recover` puts everything back, byte for byte; it can be repeated."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import BIN, Drills, Lab

pytestmark = pytest.mark.lab

# Every line of the journal of an http drill and of a flood, as `step` names it, and how often it has come by then.
BEFORE = ["run", "plan", "prepare", "change"]
AFTER = ["recover", "undone"]
END = ["verdict", "finished"]
STEPS = {
    "http": [*BEFORE, "ready", "baseline", "warm-up", "inject", "attack", "attempts", "series", *AFTER, *END],
    "flood": [
        *(*BEFORE, "change 2", "change 3", "ready", "baseline", "warm-up", "inject", "flood", "attack"),
        *("attempts", "series", "load", *AFTER, "undone 2", "undone 3", *END),
    ],
    "silent": ["change 2", "attack"],  # the second change is the silence
}
OF_THE_SERVER = ("resourceVersion", "managedFields", "generation")  # the last counts in EndpointSlices, too
PASSING = ("events", "leases.coordination.k8s.io")  # kubelets renew theirs all the time; ours is looked at by itself
SECONDS = 60.0  # before something counts as hanging: two labs may share two busy cores
KINDS: dict[Path, list[str]] = {}  # what can be listed, by lab: asked once

QUICK_FLOOD = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: quick}
spec:
  guards: {namespaces: [frontend, backend], maxRequestsPerSecond: 20, maxDuration: 15m}
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
  drills:
  - name: flood
    inject:
      flood: {from: frontend, url: "http://http-api.backend/", users: 5, rate: 10/s, duration: 30s}
    control:
      http: {from: frontend, url: "http://http-api.backend/", status: 200}
    expect:
      during:
      - {http: {from: frontend, url: "http://http-api.backend/admin/config", rate: 2/s}, denied: {status: 403}}
"""

QUICK = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: quick}
spec:
  guards: {namespaces: [frontend, backend], maxRequestsPerSecond: 20, maxDuration: 15m}
  sources:
    frontend: {namespace: frontend, labels: {app: frontend}}
  drills:
  - name: admin-path
    inject:
      http: {from: frontend, url: "http://http-api.backend/admin/config", rate: 2/s, duration: 30s}
    control:
      http: {from: frontend, url: "http://http-api.backend/", status: 200}
    expect:
      denied: {status: 403}
"""


QUICK_SILENT = (
    QUICK.replace("spec:\n", "spec:\n  notify: silence\n")
    + """
      alerts: [{name: CiliumHTTPRequestsDenied, within: 6m}]
"""
)


def silences(lab: Lab) -> list[str]:
    """The comments of the silences that stand."""
    at = json.loads((lab.kubeconfig.parent / "status.json").read_text())["alertmanager"]
    found = requests.get(f"{at}/api/v2/silences", timeout=5).json()
    return [one["comment"] for one in found if one["status"]["state"] != "expired"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quick") / "quick.yaml"
    path.write_text(QUICK)
    return path


def state(lab: Lab) -> dict[str, Any]:
    """Every object of the cluster by its address, without what the server changes by itself."""
    kinds = (
        KINDS.setdefault(lab.kubeconfig, []) or lab.kubectl("api-resources", "--verbs", "list", "-o", "name").split()
    )
    KINDS[lab.kubeconfig] = kinds
    listed = lab.kubectl("get", ",".join(kind for kind in kinds if kind not in PASSING), "-A", "-o", "json")
    found = {}
    for item in json.loads(listed)["items"]:
        meta = item["metadata"]
        for key in OF_THE_SERVER:
            meta.pop(key, None)
        found[f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}"] = item
    return found


def different(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def start(lab: Lab, playbook: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [BIN / "drills", "run", playbook, "--lab", "--out", out, *more]
    return subprocess.Popen(
        command,
        env=lab.drills.environment,
        cwd=lab.drills.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def step(line: str) -> str:
    entry = json.loads(line)
    return str(entry["phase"] if entry["event"] == "phase" else entry["event"])


def has(journal: Path, wanted: str) -> bool:
    """Whether the journal has a step, as often as the number behind its name says."""
    name, _, times = wanted.partition(" ")
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    return [step(line) for line in lines if line.endswith("\n")].count(name) >= int(times or 1)


def reached(process: subprocess.Popen[str], journal: Path, wanted: str) -> None:
    """Return as soon as the journal has this step: within about a millisecond."""
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until and not has(journal, wanted):
        time.sleep(0.0005)


def kill_at(process: subprocess.Popen[str], journal: Path, wanted: str) -> None:
    """SIGKILL as soon as the journal has this step."""
    reached(process, journal, wanted)
    process.kill()
    process.communicate()
    assert has(journal, wanted)


@pytest.fixture(scope="module")
def at_first(lab: Lab) -> dict[str, Any]:
    """The state that every recovery goes back to."""
    return state(lab)


@pytest.mark.parametrize(("kind", "wanted"), [(kind, one) for kind, steps in STEPS.items() for one in steps])
def test_killed_at_any_step_and_recovered(
    lab: Lab, at_first: dict[str, Any], tmp_path: Path, kind: str, wanted: str
) -> None:
    playbook = tmp_path / "quick.yaml"
    playbook.write_text({"http": QUICK, "flood": QUICK_FLOOD, "silent": QUICK_SILENT}[kind])
    kill_at(start(lab, playbook, tmp_path / "out"), tmp_path / "out" / "journal.jsonl", wanted)

    recovered = lab.drills("recover")

    assert recovered.status == 0, recovered.out + recovered.err
    until = time.monotonic() + SECONDS  # the agents remove what belonged to the pod
    while (left := different(at_first, state(lab))) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []
    assert lab.kubectl("get", "leases,secrets", "-n", "drills", "-o", "name") == ""
    assert silences(lab) == []
    again = lab.drills("recover")
    assert (again.status, again.out.startswith("Nothing is left to undo")) == (0, True)


def test_a_silence_whose_alert_still_fires_is_left_until_recover_ends_it(lab: Lab, tmp_path: Path) -> None:
    playbook, out = tmp_path / "silent.yaml", tmp_path / "out"
    playbook.write_text(QUICK_SILENT.replace("rate: 2/s, duration: 30s", "rate: 2/s, duration: 90s"))
    process = start(lab, playbook, out)
    reached(process, out / "journal.jsonl", "observe")
    fires(process, out / "journal.jsonl")
    process.send_signal(signal.SIGINT)
    reached(process, out / "journal.jsonl", "recover 2")  # it waits for the alert to come to rest
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 4, err

    (drill,) = lab.drills.result(out)["drills"]
    assert drill["recovery"]["verdict"] == "not-verified"
    assert "left in place, because CiliumHTTPRequestsDenied still fires" in drill["recovery"]["reason"]
    assert len(silences(lab)) == 1
    recovered = lab.drills("recover")
    assert recovered.status == 0, recovered.out + recovered.err
    assert "ended, while CiliumHTTPRequestsDenied still fires: its receiver is told now" in recovered.out
    assert silences(lab) == []


def fires(process: subprocess.Popen[str], journal: Path) -> None:
    """Return as soon as an alert was seen to fire."""
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        if '"stage": "at Alertmanager"' in journal.read_text():
            return
        time.sleep(0.005)
    pytest.fail("the alert did not fire")


def test_run_refuses_to_start_over_what_is_left_and_undoes_it_if_told_to(lab: Lab, quick: Path, tmp_path: Path) -> None:
    kill_at(start(lab, quick, tmp_path / "killed"), tmp_path / "killed" / "journal.jsonl", "ready")

    refused = lab.drills("run", quick, "--lab", "--out", tmp_path / "refused")
    assert refused.status == 3
    assert "drills recover" in refused.err
    assert "pod frontend/drill-frontend-" in refused.err
    assert not (tmp_path / "refused" / "journal.jsonl").exists()

    done = lab.drills("run", quick, "--lab", "--recover", "--out", tmp_path / "done")
    assert done.status == 0, done.out + done.err
    assert "restored: pod frontend/drill-frontend-" in done.out
    assert lab.kubectl("get", "pods,configmaps", "-n", "frontend", "-o", "name").count("drill-") == 0


def test_two_runs_are_kept_apart(lab: Lab, quick: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(quick.read_text().replace("30s", "10m"))
    first = start(lab, slow, tmp_path / "first")
    try:
        until = time.monotonic() + SECONDS
        while not (tmp_path / "first" / "journal.jsonl").exists() and time.monotonic() < until:
            time.sleep(0.01)
        second = lab.drills("run", quick, "--lab", "--out", tmp_path / "second")
        recovery = lab.drills("recover")
    finally:
        first.send_signal(signal.SIGINT)
        _, err = first.communicate(timeout=60)
    assert second.status == 3
    assert f"process {first.pid} holds the Lease drills/drills-run until" in second.err
    assert recovery.status == 3
    assert first.returncode == 4, err


def test_without_a_lab_there_is_nothing_to_recover(drills: Drills) -> None:
    done = drills("recover")
    assert done.status == 0
    assert "--context" in done.out
