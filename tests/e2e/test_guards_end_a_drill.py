"""What ends a drill early, with everything put back: guards, a second signal; and a dead Alertmanager or exporter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from command import SHIPPED, Ended, K, Lab
from lies_support import Inside, Running, _ancestors, eventually, verdict
from test_recovery import QUICK, reached, start

from alerts.life import read
from alerts.prometheus import Prometheus
from alerts.receiver import Receiver

pytestmark = pytest.mark.lab

STEP_MS = 15_000 // K
UNREADABLE = """
add table inet unreadable
add chain inet unreadable out { type filter hook output priority 0; }
add rule inet unreadable out tcp dport 9962 reject with tcp reset
"""
HANGS = """
apiVersion: drills/v1
kind: Playbook
metadata: {name: hangs}
spec:
  guards: {namespaces: [backend, database], maxRequestsPerSecond: 20, maxDuration: 2m}
  sources:
    outsider: {namespace: backend, labels: {app: reporting}}
    backend: {namespace: backend, labels: {app: backend}}
  drills:
  - name: database
    inject:
      tcp: {from: outsider, host: database.database, port: 5432, rate: 2/s, duration: 2m}
    control:
      tcp: {from: backend, host: database.database, port: 5432}
    expect:
      denied: {connect: timeout}
"""


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    text = QUICK
    for old, new in (("duration: 30s", "duration: 10m"), *changes):
        assert old in text
        text = text.replace(old, new)
    path = folder / "quick.yaml"
    path.write_text(text)
    return path


def aborted(lab: Lab, ended: Ended, out: Path) -> dict[str, Any]:
    """The drill of a run that was aborted and put everything back."""
    assert ended.status == 4, ended.out + ended.err
    result = lab.drills.result(out)
    (drill,) = result["drills"]
    assert (result["verdict"], drill["verdict"]) == ("aborted", "aborted")
    assert 0 < drill["enforcement"]["attempts"] < drill["enforcement"]["planned"]
    assert drill["enforcement"]["leaked"] == 0
    assert drill["recovery"]["verdict"] == "restored"
    assert "drill-" not in lab.kubectl("get", "pods,configmaps", "-A", "-o", "name")
    assert lab.kubectl("get", "leases,secrets", "-n", "drills", "-o", "name") == ""
    found: dict[str, Any] = drill
    return found


def test_a_condition_of_the_guard_that_becomes_true(lab: Lab, tmp_path: Path) -> None:
    denied = 'cilium_policy_l7_total{rule="denied",proxy_type="envoy"}'
    condition = f"sum({denied}) - sum({denied} offset 30s) > 5"
    path = written(tmp_path, ("maxDuration: 15m", f"maxDuration: 15m, abortWhen: ['{condition}']"))

    drill = aborted(lab, lab.drills("run", path, "--lab", "--out", tmp_path), tmp_path)

    assert "the guard's condition holds: " in drill["reasons"][0]
    assert drill["enforcement"]["denied"] > 5


def test_a_drill_that_takes_longer_than_the_guard_allows(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "hangs.yaml"
    path.write_text(HANGS)  # its last attempts wait for 2 s on the wall, which is a minute of the playbook

    drill = aborted(lab, lab.drills("run", path, "--lab", "--out", tmp_path), tmp_path)

    assert drill["reasons"] == ["the drill database took longer than the guard's 120 s"]


def test_a_second_signal_skips_the_waiting_and_still_undoes(lab: Lab, tmp_path: Path) -> None:
    alert = "\n      alerts: [{name: CiliumHTTPRequestsDenied, within: 4m, resolvesWithin: 60m}]"
    path = written(tmp_path, ("denied: {status: 403}", f"denied: {{status: 403}}{alert}"))
    process = start(lab, path, tmp_path)
    reached(process, tmp_path / "journal.jsonl", "attack")
    reached(process, tmp_path / "journal.jsonl", "alert")  # pending: something to wait for

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)

    drill = aborted(lab, Ended(process.returncode, "", err), tmp_path)
    assert drill["reasons"] == ["interrupted by SIGINT"]


@pytest.fixture(scope="module", autouse=True)
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Programs that a test started in the lab. Made before the lab, so that they are waited for when it has gone."""
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for process in found:
        process.wait(timeout=10)


@contextmanager
def without_alertmanager(lab: Lab, started: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Kill the lab's Alertmanager, and start it again as the lab had started it."""
    inside = Inside(lab)
    status = json.loads((lab.kubeconfig.parent / "status.json").read_text())
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            if path.read_text() == "prometheus-aler\n" and status["pid"] in _ancestors(int(path.parent.name)):
                found.append(path.parent)
    (process,) = found
    command = (process / "cmdline").read_bytes().decode().rstrip("\0").split("\0")
    os.kill(int(process.name), signal.SIGKILL)
    try:
        yield
    finally:
        started.append(subprocess.Popen(inside.enter(*command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def test_an_alert_that_fires_without_an_alertmanager_is_undelivered(
    lab: Lab, started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    text = SHIPPED.read_text()
    for old, new in (("duration: 3m", "duration: 90s"), (", resolvesWithin: 12m", "")):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "playbook.yaml"
    path.write_text(text)
    run = Running(lab, path, tmp_path)
    run.until("admin-path", "attack")
    with without_alertmanager(lab, started):
        ended = run.ended()

    assert ended.status == 1, ended.out
    (drill,) = lab.drills.result(tmp_path)["drills"]
    (alert,) = drill["alerts"]
    assert verdict(alert) == ("undelivered", "not-at-alertmanager")
    assert alert["firingAt"] is not None
    assert (alert["atAlertmanagerAt"], alert["notifiedAt"]) == (None, None)
    assert "Alertmanager" in alert["reason"]
    assert drill["enforcement"]["verdict"] == "held"


def test_metrics_that_cannot_be_read_are_told_from_pending_to_resolved(lab: Lab) -> None:
    """No drill stops an exporter: this is what shows that the alert works which guards every quiet one."""
    alert, wait = "CiliumSecurityMetricsMissing", 120 / K
    status = json.loads((lab.kubeconfig.parent / "status.json").read_text())
    prometheus, receiver = Prometheus(status["prometheus"]), Receiver(status["receiver"])
    inside = Inside(lab)

    def told(word: str) -> bool:
        """Whether both of its alerts, of the policy's metrics and of the health's, have reached the receiver since.

        They fire where a lab's first scrape is late, too.
        """
        notes = [note for note in receiver.notifications() if note.received_at >= began]
        found = [one for note in notes for one in note.alerts if one.status == word]
        return len({tuple(one.labels.items()) for one in found if one.labels["alertname"] == alert}) == 2

    began = prometheus.now()
    assert not [one for one in prometheus.alerts() if one.name == alert]
    inside.filter(UNREADABLE)
    try:
        eventually(lambda: told("firing"), 60)
    finally:
        inside.filter("delete table inet unreadable")
    opened = prometheus.now()
    eventually(lambda: told("resolved"), 60)
    eventually(lambda: read(prometheus, alert, {}, since=began, until=prometheus.now(), interval_ms=STEP_MS).resolved_at
               is not None, 10)  # fmt: skip

    life = read(prometheus, alert, {}, since=began, until=prometheus.now(), interval_ms=STEP_MS)
    assert len(life.spells) == 2
    assert not life.active_before
    assert life.active_at is not None
    assert life.firing_at is not None
    assert life.resolved_at is not None
    assert round(life.firing_at - life.active_at, 3) >= wait
    assert began < life.active_at < life.firing_at < opened < life.resolved_at
