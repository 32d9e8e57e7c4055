"""kill -9 at any step of a run, and `drills recover` puts everything back, byte for byte; it can be repeated."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from command import BIN, Drills, Lab

pytestmark = pytest.mark.lab

# Every line of a journal, as `steps` names it: a kind of drill in each.
BEFORE = ["run", "schedule", "plan", "prepare", "change"]
READY = ["ready", "baseline", "warm-up"]
AFTER = ["recover", "undone"]
END = ["verdict", "finished"]
STEPS = {
    "http": [
        *BEFORE,
        *READY,
        "inject",
        "attack",
        "attempts",
        "series",
        "attempts 2",
        "series 2",
        "evidence",
        *AFTER,
        *END,
    ],
    "flood": [
        *(*BEFORE, "change 2", "change 3", *READY, "inject", "flood", "attack"),
        *(
            "attempts",
            "attempts 2",
            "series",
            "series 2",
            "load",
            "series 3",
            "evidence",
            *AFTER,
            "undone 2",
            "undone 3",
            *END,
        ),
    ],
    "silent": ["change 2", "attack"],  # the second change is the silence
}
# An http drill's steps are a flood's, too: killed once in each phase it is enough.
KILLED = {**STEPS, "http": ["run", "change", "ready", "inject", "attack", "recover", "undone", "finished"]}
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


def left_of(lab: Lab, before: dict[str, Any], beside: str = "nothing") -> list[str]:
    """What still differs once the agents have removed what belonged to the drill pods, but names like ``beside``."""
    until = time.monotonic() + SECONDS
    while True:
        left = [name for name in different(before, state(lab)) if not name.startswith(beside)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)


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


def steps(journal: Path) -> list[str]:
    """What a journal has so far, each with how often it has come by then, without notes, which come at any time."""
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    names = [step(line) for line in lines if line.endswith("\n")]
    times = [names[: place + 1].count(name) for place, name in enumerate(names)]
    return [name if many == 1 else f"{name} {many}" for name, many in zip(names, times, strict=True) if name != "note"]


def reached(process: subprocess.Popen[str], journal: Path, wanted: str) -> None:
    """Return as soon as the journal has this step: within about a millisecond."""
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until and wanted not in steps(journal):
        time.sleep(0.0005)


def kill_at(process: subprocess.Popen[str], journal: Path, wanted: str) -> None:
    """SIGKILL as soon as the journal has this step."""
    reached(process, journal, wanted)
    process.kill()
    process.communicate()
    assert wanted in steps(journal)


@pytest.fixture(scope="module")
def at_first(lab: Lab) -> dict[str, Any]:
    """The state that every recovery goes back to."""
    return state(lab)


@pytest.mark.parametrize(("kind", "wanted"), [(kind, one) for kind, steps in KILLED.items() for one in steps])
def test_killed_at_any_step_and_recovered(
    lab: Lab, at_first: dict[str, Any], tmp_path: Path, kind: str, wanted: str
) -> None:
    playbook, journal = tmp_path / "quick.yaml", tmp_path / "out" / "journal.jsonl"
    playbook.write_text({"http": QUICK, "flood": QUICK_FLOOD, "silent": QUICK_SILENT}[kind])
    kill_at(start(lab, playbook, tmp_path / "out"), journal, wanted)
    if wanted == END[-1]:
        assert steps(journal) == STEPS[kind], "killed at every step that there is"

    recovered = lab.drills("recover")

    assert recovered.status == 0, recovered.out + recovered.err
    assert left_of(lab, at_first) == []
    assert lab.kubectl("get", "leases,secrets", "-n", "drills", "-o", "name") == ""
    assert silences(lab) == []


def test_recovery_can_be_repeated(lab: Lab, quick: Path, tmp_path: Path) -> None:
    kill_at(start(lab, quick, tmp_path / "out"), tmp_path / "out" / "journal.jsonl", "ready")
    assert lab.drills("recover").status == 0
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


TOOLBOX = """
apiVersion: v1
kind: Pod
metadata: {name: toolbox, namespace: frontend, labels: {app: frontend}}
spec:
  containers: [{name: main, image: "nicolaka/netshoot:v0.13", command: [sleep, infinity]}]
  terminationGracePeriodSeconds: 1
"""


@pytest.fixture
def toolbox(lab: Lab) -> Iterator[tuple[str, ...]]:
    """An ordinary pod, as arguments of kubectl."""
    pod = ("-n", "frontend", "pod/toolbox")
    lab.kubectl("apply", "-f", "-", stdin=TOOLBOX)
    lab.kubectl("wait", "--for=condition=Ready", *pod, "--timeout=30s")
    yield pod
    lab.kubectl("delete", *pod)


@pytest.mark.parametrize("wanted", ["change", "attack"])
def test_killed_while_an_ephemeral_container_runs(
    lab: Lab, toolbox: tuple[str, ...], tmp_path: Path, wanted: str
) -> None:
    playbook = tmp_path / "quick.yaml"
    source = "frontend: {pod: frontend/toolbox, ephemeral: true}"
    playbook.write_text(QUICK.replace("frontend: {namespace: frontend, labels: {app: frontend}}", source))
    planned = lab.drills("plan", playbook, "--lab")
    assert planned.status == 0, planned.out + planned.err
    assert "its entry stays until the pod goes" in planned.out
    before = json.loads(lab.kubectl("get", *toolbox, "-o", "json"))["status"]["containerStatuses"]
    kill_at(start(lab, playbook, tmp_path / "out"), tmp_path / "out" / "journal.jsonl", wanted)

    recovered = lab.drills("recover")

    assert recovered.status == 0, recovered.out + recovered.err
    assert "restored: ephemeral container drill-frontend-" in recovered.out
    status = json.loads(lab.kubectl("get", *toolbox, "-o", "json"))["status"]
    added = status.get("ephemeralContainerStatuses") or []
    assert all("terminated" in one["state"] for one in added)
    assert len(added) == 1 or wanted == "change"
    assert ("it has ended; its entry stays" if added else "it was never added") in recovered.out
    assert status["containerStatuses"] == before
    assert lab.kubectl("get", "leases,secrets", "-n", "drills", "-o", "name") == ""


def test_kubectl_debug_runs_a_container_beside_those_of_a_pod(lab: Lab, toolbox: tuple[str, ...]) -> None:
    command = "echo hello; hostname; sleep 30"
    lab.kubectl("debug", *toolbox, "--image=busybox", "--container=box", "--", "sh", "-c", command)
    until = time.monotonic() + SECONDS
    while "hello" not in (told := said(lab, toolbox)) and time.monotonic() < until:
        time.sleep(0.1)
    assert told == "hello\ntoolbox\n"
    inside = lab.kubectl("exec", *toolbox, "-c", "box", "--", "hostname", "-i")
    assert inside.split() == [json.loads(lab.kubectl("get", *toolbox, "-o", "json"))["status"]["podIP"]]


def said(lab: Lab, pod: tuple[str, ...]) -> str:
    try:
        return lab.kubectl("logs", *pod, "-c", "box")
    except AssertionError:  # it is being made
        return ""


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
