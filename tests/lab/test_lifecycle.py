"""A lab's birth and death, and that nothing of it is left, however it died."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from drills.errors import InputError, WorldError
from drills.lab import client, launcher
from drills.lab.client import LabRequest

pytestmark = pytest.mark.lab

NOBODY = 65534
ROOT = Path(client.__file__).resolve().parents[2]
PATIENCE_SECONDS = 10.0
NAMESPACES = ("net", "mnt", "pid")
T = TypeVar("T")
HOLD = """
import os, sys
from drills.lab import client
with client.held(client.LabRequest(), environment=os.environ) as lab:
    print(lab.pid, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Home:
    """Where a test's lab keeps its state, so that it never meets the user's."""

    path: Path
    environment: Mapping[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)  # descriptors

    def anatomy(self, unshare: int) -> Anatomy | None:
        """The lab below its outermost process; None until it is far enough.

        Its namespaces are held open: the kernel gives the number of one that is gone to the next, which may be that of
        a lab of a test beside this one.
        """
        for init in launcher.children_of(unshare):
            for supervisor in launcher.children_of(init):
                children = launcher.children_of(supervisor)
                if not children:
                    return None
                for pid in [init, supervisor, *children]:
                    self.hold(pid)
                found = frozenset(os.fstat(each).st_ino for each in self.held) - namespaces_of(os.getpid())
                return Anatomy(unshare, init, supervisor, found)
        return None

    def hold(self, pid: int) -> None:
        for kind in NAMESPACES:
            with suppress(OSError):
                self.held.append(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC))

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        """The host's side in a process of its own."""
        return self.python("-m", "drills", "lab", *arguments)

    def python(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=os.environ | dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def files(self) -> list[Path]:
        return [path for path in self.path.rglob("*") if path.is_file()]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path, {"XDG_STATE_HOME": str(tmp_path), "DRILLS_LAB": f"test-{os.getpid()}"})
    machine = machine_state()
    ignored = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # in a shell's background job, which passes it on
    yield found
    signal.signal(signal.SIGINT, ignored)
    for process in found.started:
        with process:
            process.kill()
    client.down(found.environment)
    for descriptor in found.held:
        os.close(descriptor)
    assert machine_state() == machine


def machine_state() -> dict[str, set[str]]:
    """What belongs to the machine and no lab may change."""
    return {
        "mounts": set(Path("/proc/self/mounts").read_text().splitlines()),
        "files": {str(path) for top in ("/run", "/etc") for path in Path(top).rglob("*")},
        "interfaces": {path.name for path in Path("/sys/class/net").iterdir()},
    }


@dataclass(frozen=True)
class Anatomy:
    """The processes of a living lab and the namespaces they are in, to look for after its death."""

    unshare: int
    init: int
    supervisor: int
    namespaces: frozenset[int]

    def remains(self) -> list[str]:
        """Processes that are still in one of the lab's namespaces."""
        return [f"{pid} {command_of(pid)}" for pid in processes() if namespaces_of(pid) & self.namespaces]


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def namespaces_of(pid: int) -> frozenset[int]:
    found = set()
    for kind in NAMESPACES:
        with suppress(OSError):
            found.add(Path(f"/proc/{pid}/ns/{kind}").stat().st_ino)
    return frozenset(found)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return "gone"


def eventually(get: Callable[[], T]) -> T:
    """The first true value of ``get``."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := get()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s"
        time.sleep(0.02)
    return value


def gone(lab: Anatomy) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while remains := lab.remains():
        assert time.monotonic() < deadline, remains
        time.sleep(0.02)


def starting(home: Home, starter: subprocess.Popen[str]) -> Anatomy:
    """The lab that ``starter`` is starting, once its first daemons run."""

    def look() -> Anatomy | None:
        found = [pid for pid in launcher.children_of(starter.pid) if "unshare" in command_of(pid)]
        return home.anatomy(found[0]) if found else None

    return eventually(look)  # type: ignore[return-value]


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_up_status_down(home: Home) -> None:
    status, out, err = finish(home.command("up"))
    assert status == 0, err
    kubeconfig = Path(out.splitlines()[-1])
    assert kubeconfig.stat().st_mode & 0o077 == 0
    found = client.status(home.environment)
    assert found is not None
    assert found.kubeconfig == kubeconfig
    lab = home.anatomy(found.pid)
    assert lab is not None
    kubectl = [str(Path(sys.executable).with_name("kubectl")), "--kubeconfig", str(kubeconfig)]
    nodes = subprocess.run([*kubectl, "get", "nodes", "-o", "name"], capture_output=True, text=True, check=True).stdout
    assert nodes.split() == ["node/k8s-w1", "node/k8s-w2"]
    curl = ["exec", "-n", "frontend", "deploy/frontend", "--", "curl", "-s", "-m", "5", "http://http-api.backend/"]
    answer = subprocess.run([*kubectl, *curl], capture_output=True, text=True, check=False)
    assert "Hostname: http-api" in answer.stdout, answer.stderr  # name, Service, policy, Envoy, pod on either node
    assert client.up(LabRequest(), environment=home.environment) == found
    with pytest.raises(InputError, match="time-lapse of 15, not 1"):
        client.up(LabRequest(time_lapse=1), environment=home.environment)
    with pytest.raises(InputError, match="--manifests"):
        client.up(LabRequest(manifests=[home.path]), environment=home.environment)
    assert any("ready" in line for line in client.logs(environment=home.environment))
    with pytest.raises(InputError, match="prometheus"):
        list(client.logs("nothing", environment=home.environment))
    assert client.down(home.environment)
    assert not lab.remains()
    assert home.files() == []
    assert client.status(home.environment) is None
    assert not client.down(home.environment)


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("unshare", signal.SIGKILL),
        ("init", signal.SIGKILL),
        ("init", signal.SIGTERM),
        ("supervisor", signal.SIGKILL),
    ],
)
def test_a_lab_that_is_killed_while_it_starts(home: Home, victim: str, number: signal.Signals) -> None:
    starter = home.command("up")
    lab = starting(home, starter)
    os.kill(getattr(lab, victim), number)
    status, _, err = finish(starter)
    assert status == 3
    assert "The lab ended while it was starting" in err.splitlines()[-1]
    assert "Traceback" not in err
    gone(lab)
    assert client.status(home.environment) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_starter_that_ends_takes_the_unfinished_lab_with_it(home: Home, number: signal.Signals) -> None:
    starter = home.command("up")
    lab = starting(home, starter)
    starter.send_signal(number)
    finish(starter)
    gone(lab)
    eventually(lambda: client.status(home.environment) is None)


def test_a_held_lab_ends_with_its_holder(home: Home) -> None:
    holder = home.python("-c", HOLD)
    assert holder.stdout is not None
    line = holder.stdout.readline()
    assert line, holder.communicate()[1]
    lab = home.anatomy(int(line))
    assert lab is not None
    holder.kill()
    finish(holder)
    gone(lab)
    assert client.status(home.environment) is None


def test_a_lab_that_is_killed_when_it_is_up(home: Home) -> None:
    directory = home.path / "manifests"
    directory.mkdir()
    (directory / "a.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, dta: {}}")
    found = client.up(LabRequest(manifests=[directory]), environment=home.environment)
    assert len(found.notes) == 1
    assert "a.yaml:1:1: ConfigMap a: skipped" in found.notes[0]
    lab = home.anatomy(found.pid)
    assert lab is not None
    os.kill(lab.unshare, signal.SIGKILL)
    os.waitpid(lab.unshare, 0)  # this test is its parent
    gone(lab)
    assert client.status(home.environment) is None
    assert not found.kubeconfig.exists()


def test_a_port_in_use(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        request = LabRequest(ports={"api": taken.getsockname()[1]})
        with pytest.raises(WorldError, match=r"Port .* lab's api"):
            client.up(request, environment=home.environment)
    assert home.files() == []


def test_missing_programs(home: Home) -> None:
    without = Home(home.path, {**home.environment, "PATH": str(home.path)})
    status, _, err = finish(without.command("up"))
    assert status == 3
    assert "program prometheus" in err
    assert "install" in err
    assert len(err.splitlines()) == 1


def test_an_unknown_image(home: Home) -> None:
    directory = home.path / "manifests"
    directory.mkdir()
    pod = "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: x, image: example.com/none:1}]}}"
    (directory / "pod.yaml").write_text(pod)
    status, _, err = finish(home.command("up", "--manifests", str(directory)))
    assert (status, "example.com/none:1" in err) == (2, True), err
    assert client.status(home.environment) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="changes to another user")
def test_without_root_and_without_a_home(home: Home, tmp_path_factory: pytest.TempPathFactory) -> None:
    python = python_for(NOBODY)
    temporary = Path("/tmp") / f"drills-test-{os.getpid()}"
    temporary.mkdir(mode=0o777)
    temporary.chmod(0o777)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "env", "-i"]
    command += ["PATH=/usr/bin:/bin", f"TMPDIR={temporary}", f"PYTHONPATH={ROOT}:{packages}", "HOME=/nonexistent"]
    command += [python, "-m", "drills", "lab"]
    try:
        up = subprocess.run([*command, "up"], cwd="/", capture_output=True, text=True, check=False)
        assert up.returncode == 0, up.stderr
        kubeconfig = Path(up.stdout.splitlines()[-1])
        assert kubeconfig.is_relative_to(temporary / f"drills-{NOBODY}")
        down = subprocess.run([*command, "down"], cwd="/", capture_output=True, text=True, check=False)
        assert (down.returncode, down.stdout) == (0, "The lab is down.\n")
        assert not [path for path in temporary.rglob("*") if path.is_file()]
    finally:
        subprocess.run([*command, "down"], cwd="/", capture_output=True, check=False)
        shutil.rmtree(temporary)


def python_for(user: int) -> str:
    """A Python of this version that another user may execute: root's own often lies in root's home."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        tried = subprocess.run(
            ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", candidate, "-c", ""],
            capture_output=True,
            check=False,
        )
        if tried.returncode == 0:
            return candidate
    pytest.skip("no Python that another user may execute")
