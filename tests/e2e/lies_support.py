"""Labs for the lie matrix: the demo application beside rules, routes and playbooks that are wrong on purpose."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from command import BIN, ROOT, Ended, Lab, drills_of

from drills.errors import WorldError

LIES = Path(__file__).parent / "lies"
K = 60
DEMO = ("10-namespaces", "20-frontend", "30-backend", "50-policies")  # without the database


@contextmanager
def lab_with(folder: Path, name: str, *manifests: Path) -> Iterator[Lab]:
    """A lab with the demo application and these manifests instead of the shipped rules."""
    drills = drills_of(f"{name}-{os.getpid()}", folder)
    paths = [*(ROOT / "playbooks" / "demo" / f"{one}.yaml" for one in DEMO), *manifests]
    up = drills("lab", "up", "--time-lapse", str(K), *(text for path in paths for text in ("--manifests", path)))
    assert up.status == 0, up.err
    try:
        yield Lab(drills, Path(up.out.splitlines()[-1]))
    finally:
        drills("lab", "down")


def drill_of(result: dict[str, Any], name: str) -> dict[str, Any]:
    """One drill of a result."""
    return next(one for one in result["drills"] if one["name"] == name)


def alert_of(drill: dict[str, Any], name: str) -> dict[str, Any]:
    """One expected alert of a drill."""
    return next(one for one in drill["alerts"] if one["name"] == name)


def quiet_of(drill: dict[str, Any], name: str) -> dict[str, Any]:
    """One alert that the drill wants quiet."""
    return next(one for one in drill["quiet"] if one["name"] == name)


def verdict(alert: dict[str, Any]) -> tuple[str, str | None]:
    """An alert's verdict and where it stopped."""
    return alert["verdict"], alert["stoppedAt"]


def events_of(out: Path) -> list[dict[str, Any]]:
    """The journal so far; empty before there is one."""
    path = out / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def eventually(holds: Callable[[], bool], seconds: float) -> None:
    """Return when something holds; what cannot be asked yet does not hold yet."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(WorldError):
            if holds():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Running:
    """A run in the background whose journal the test follows, to meddle at the right moment."""

    def __init__(self, lab: Lab, playbook: Path, out: Path, where: Sequence[str] = ("--lab",)) -> None:
        self._out = out
        self._process = subprocess.Popen(
            [BIN / "drills", "run", playbook, *where, "--out", out],
            env=lab.drills.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, drill: str, event: str, **values: str) -> None:
        """Wait for an event of a drill in the journal."""
        wanted = {"drill": drill, "event": event, **values}.items()
        deadline = time.monotonic() + 60
        while not any(wanted <= one.items() for one in events_of(self._out)):
            assert self._process.poll() is None, f"it ended before {drill}: {event}"
            assert time.monotonic() < deadline, f"{drill}: {event} did not come"
            time.sleep(0.03)

    def ended(self) -> Ended:
        out, _ = self._process.communicate(timeout=120)
        assert "Traceback" not in out, out
        return Ended(self._process.returncode, out, out)


class Inside:
    """The lab's Prometheus and the network that it scrapes through, as one who is root there can disturb them."""

    def __init__(self, lab: Lab) -> None:
        status = json.loads((lab.kubeconfig.parent / "status.json").read_text())
        self.alertmanager: str = status["alertmanager"]
        self.receiver: str = status["receiver"]
        self._pid = self._prometheus(status["pid"])
        self._command = Path(f"/proc/{self._pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        self._supervisor = _parent(self._pid)
        self._started: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def _prometheus(lab: int) -> int:
        """The process id on the host: a descendant of this very lab, never anybody else's."""
        for path in Path("/proc").glob("[0-9]*/comm"):
            with suppress(OSError):
                pid = int(path.parent.name)
                if path.read_text() == "prometheus\n" and lab in _ancestors(pid):
                    return pid
        raise AssertionError("the lab has no Prometheus")

    def enter(self, *command: str) -> list[str]:
        ours, labs = (Path(f"/proc/{pid}/ns/user").readlink() for pid in ("self", self._supervisor))
        user = [] if ours == labs else ["--user", "--preserve-credentials"]
        return ["nsenter", f"--target={self._supervisor}", *user, "--net", "--mount", "--pid", "--", *command]

    def stall(self, seconds: float) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self._pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def start(self) -> None:
        """Start Prometheus again as the lab had started it, on the same data."""
        self._started.append(
            subprocess.Popen(self.enter(*self._command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        deadline = time.monotonic() + 10
        while not (found := _children(self._started[-1].pid)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        self._pid = found[0]

    def filter(self, rules: str) -> None:
        subprocess.run(self.enter("nft", "-f", "-"), input=rules.encode(), check=True)

    def close(self) -> None:
        for process in self._started:
            process.wait(timeout=10)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        pid = _parent(pid)
        found.append(pid)
    return found


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
