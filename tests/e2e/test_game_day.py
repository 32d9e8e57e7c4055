"""The whole game day as `make drill` runs it, once: every drill and alert, nothing left, and the password nowhere."""

from __future__ import annotations

import base64
import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, Ended, Lab, drills_of
from test_recovery import left_of, state
from test_wireguard_drill import keys

from drills.playbook import load

pytestmark = pytest.mark.lab

PLAYBOOK = ROOT / "playbooks" / "zero-trust.yaml"
DEMO_PASSWORD = "only-for-the-demo"
LOOK_SECONDS = 0.05
LOOKS = 20  # at a new process, one after another; later every twentieth time: looking must not slow the drills down
OURS = (b"drills.probe", b"drills.flood", b"/drills\0run\0")
IDENTITY = "CiliumIdentity "  # Cilium keeps one for a while after its last pod
STAGES = ("pendingAt", "firingAt", "atAlertmanagerAt", "notifiedAt")
# What the policy must answer; 403 is told to a gRPC client as its status 7.
DENIED = {
    "admin-path": "http-403", "method": "http-403", "missing-header": "http-403", "path-traversal": "http-403",
    "encoded-traversal": "http-403", "encoded-slashes": "http-403", "grpc-call": "grpc-7", "flood": "http-403",
    "refused-name": "dns-refused",
}  # fmt: skip
ALERTS = {
    "admin-path": "CiliumHTTPRequestsDenied",
    "refused-name": "CiliumDNSLookupsDenied",
    "address-without-lookup": "CiliumPolicyDrops",
    "database-from-frontend": "CiliumPolicyDrops",
    "flood": "CiliumRequestFlood",
    "wireguard-key": "CiliumNodePathBroken",
}


@dataclass
class Scan:
    """Looks at every process of the machine while the drills run: at its arguments, and at the environment of ours."""

    words: tuple[bytes, ...]
    found: set[bytes] = field(default_factory=set)
    seen: set[bytes] = field(default_factory=set)  # our programs that were looked at
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Scan:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        young: dict[str, int] = {}  # processes by how often they were looked at: what has begun is still itself soon
        while not self._over.wait(LOOK_SECONDS):
            there = [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]
            young = {name: young.get(name, 0) + 1 for name in there}
            for name in there:
                if young[name] <= LOOKS or (young[name] + int(name)) % LOOKS == 0:
                    with suppress(OSError):
                        self._read(Path("/proc") / name)

    def _read(self, process: Path) -> None:
        arguments = (process / "cmdline").read_bytes()
        self._note(arguments)
        if ours := [name for name in OURS if name in arguments]:
            self._note((process / "environ").read_bytes())
            self.seen.update(ours)

    def _note(self, text: bytes) -> None:
        if any(word in text for word in self.words):
            self.found.add(text)


@dataclass(frozen=True)
class Day:
    """The run, and what was there before it."""

    lab: Lab
    ended: Ended
    out: Path
    before: dict[str, Any]
    keys: dict[str, Any]
    scan: Scan

    def drill(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.result["drills"] if one["name"] == name)
        return found

    @property
    def result(self) -> dict[str, Any]:
        return self.lab.drills.result(self.out)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    """On a lab at the default time-lapse, with the shipped manifests but for a password that is nowhere else."""
    folder = tmp_path_factory.mktemp("day")
    password = secrets.token_hex(12)
    demo = folder / "demo"
    demo.mkdir()
    for path in (ROOT / "playbooks" / "demo").iterdir():
        (demo / path.name).write_text(path.read_text().replace(DEMO_PASSWORD, password))
    drills = drills_of(f"e2e-day-{os.getpid()}", folder)
    up = drills("lab", "up", "--manifests", demo, "--manifests", ROOT / "alerts" / "rules")
    assert up.status == 0, up.err
    try:
        lab = Lab(drills, Path(up.out.splitlines()[-1]))
        before, published = state(lab), keys(lab)
        with Scan((password.encode(), base64.b64encode(password.encode()))) as scan:
            ended = drills("run", PLAYBOOK, "--lab", "--out", folder / "out", seconds=300)
        yield Day(lab, ended, folder / "out", before, published, scan)
    finally:
        drills("lab", "down")


def test_every_drill_passes(day: Day) -> None:
    assert {one["name"]: one["reasons"] for one in day.result["drills"] if one["reasons"]} == {}
    assert (day.ended.status, day.result["verdict"]) == (0, "passed")
    assert [one["name"] for one in day.result["drills"]] == [one.name for one in load(PLAYBOOK).drills]
    for drill in day.result["drills"]:
        enforcement = drill["enforcement"]
        assert drill["verdict"] == "passed"
        assert enforcement["verdict"] == "held"
        assert drill["control"]["verdict"] == "up"
        assert drill["recovery"]["verdict"] == "restored"
        if drill["name"] != "wireguard-key":  # whose attempts before the path is closed may still cross it
            assert enforcement["outcomes"] == {DENIED.get(drill["name"], "connect-timeout"): enforcement["attempts"]}


def test_every_alert_went_through_all_its_stages(day: Day) -> None:
    told = {drill["name"]: drill["alerts"] for drill in day.result["drills"] if drill["alerts"]}
    assert {name: [one["name"] for one in alerts] for name, alerts in told.items()} == {
        name: [alert] for name, alert in ALERTS.items()
    }
    for name, (alert,) in told.items():
        assert alert["verdict"] == "detected", alert
        assert alert["flags"] == [], name
        times = [alert[stage] for stage in STAGES]
        if alert["resolvesWithinSeconds"] is not None:
            assert alert["resolution"] == "resolved", alert
            times.append(alert["resolvedAt"])
        assert None not in times
        assert times == sorted(times)
    assert [one["verdict"] for one in day.drill("wireguard-key")["quiet"]] == ["quiet"]


def test_a_lost_key_closed_the_path_and_nothing_left_in_clear(day: Day) -> None:
    enforcement = day.drill("wireguard-key")["enforcement"]
    (captured,) = enforcement["evidence"]
    assert (captured["kind"], captured["plaintext"], set(captured["packets"])) == ("capture", "none", set(day.keys))
    assert enforcement["denied"] >= 50
    assert keys(day.lab) == day.keys


def test_nothing_is_left(day: Day) -> None:
    assert left_of(day.lab, day.before, beside=IDENTITY) == []
    assert day.lab.kubectl("get", "leases,secrets", "-n", "drills", "-o", "name") == ""


def test_the_databases_password_is_nowhere(day: Day) -> None:
    assert day.scan.seen == set(OURS), "it looked at all of them"
    assert day.scan.found == set()
    status = json.loads(day.lab.drills("lab", "status", "--format", "json").out)
    written = [path for folder in (day.out, Path(status["logs"])) for path in folder.rglob("*") if path.is_file()]
    assert {"result.json", "journal.jsonl", "junit.xml", "report.html"} <= {path.name for path in written}
    assert any(path.is_relative_to(status["logs"]) for path in written)
    texts = [day.ended.out.encode(), day.ended.err.encode(), *(path.read_bytes() for path in written)]
    assert not any(word in text for word in day.scan.words for text in texts)
