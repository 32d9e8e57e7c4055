"""The host's side of a lab's birth and death: bind the sockets, unshare, hand over, wait, kill.

The lab's outermost process is ``unshare`` itself, a direct child of nobody once its starter has gone. ``--kill-child``
ties the lab's PID 1 to it, and the kernel ties everything else to PID 1: killing any of the two ends all.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drills
from drills.errors import DrillsError, InputError, WorldError
from drills.lab import plan
from drills.lab.init import DETACH, Handover
from drills.lab.settings import LabSettings
from drills.lab.state import VOLATILE, StateDir

LISTENERS = (
    "api",
    "prometheus",
    "alertmanager",
    "receiver",
    *(f"agent-{node}" for node in plan.NODES),
    *(f"hubble-{node}" for node in plan.NODES),
)
START_DEADLINE_SECONDS = 60.0
END_DEADLINE_SECONDS = 5.0

Progress = Callable[[str], None]


@dataclass(slots=True)
class Started:
    """A lab that is up. Closing ``channel`` ends it, unless it was told to `detach`."""

    pid: int
    channel: socket.socket
    process: subprocess.Popen[bytes]
    ports: Mapping[str, int]
    ready: Mapping[str, Any]

    def detach(self) -> None:
        """From now on the lab outlives its starter."""
        self.channel.sendall(DETACH)
        self.channel.close()
        self.process.returncode = 0  # not ours to wait for any more: Popen would complain that it still runs


def start(
    settings: LabSettings, state: StateDir, lock: int, progress: Progress, meanwhile: Callable[[], None] = lambda: None
) -> Started:
    """Start a lab and wait until it is ready; on any failure, Ctrl-C included, nothing of it is left.

    ``meanwhile`` is called once while it starts; what it raises is such a failure. ``lock`` is the locked descriptor of
    the state directory: the lab inherits it, and it is closed here. WorldError or InputError with the lab's own reason
    if it does not come up.
    """
    with ExitStack() as stack:
        stack.callback(os.close, lock)
        listeners = bind(settings.ports)
        for listener in listeners.values():
            stack.callback(listener.close)
        state.logs.mkdir(exist_ok=True, mode=0o700)
        for old in state.logs.glob("*"):
            old.unlink()
        ours, theirs = socket.socketpair()
        stack.callback(theirs.close)
        log = stack.enter_context(state.log.open("ab"))
        process = _spawn(theirs, [lock, *(listener.fileno() for listener in listeners.values())], log.fileno())
        state.note_owner(lock, process.pid)
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        handover = Handover(
            settings=settings.to_json(),
            state=str(state.path),
            listeners={name: listener.fileno() for name, listener in listeners.items()},
            volatile=VOLATILE,
        )
    try:
        ours.sendall(handover.to_json().encode() + b"\n")
        meanwhile()
        ready = _await_ready(ours, state, progress)
    except BaseException as error:
        ours.close()
        end(process.pid)
        process.wait()
        if isinstance(error, ConnectionError):
            raise _died(state) from None
        raise
    return Started(pid=process.pid, channel=ours, process=process, ports=ports, ready=ready)


def bind(ports: Mapping[str, int]) -> dict[str, socket.socket]:
    """Listening sockets on the host's loopback for everything that a user may reach; WorldError if a port is taken."""
    bound: dict[str, socket.socket] = {}
    try:
        for name in LISTENERS:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            bound[name] = listener
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", ports.get(name, 0)))
            listener.listen(512)
            listener.setblocking(False)
    except OSError as error:
        for listener in bound.values():
            listener.close()
        raise WorldError(
            f"Port {ports.get(name, 0)} on 127.0.0.1, wanted for the lab's {name}, cannot be had: {error.strerror}."
        ) from None
    return bound


def end(pid: int) -> None:
    """Kill the lab whose outermost process is ``pid`` and return when all of it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        children = children_of(pid)
        for child in children:  # PID 1: unshare then ends by itself, after the kernel has ended the rest
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if not children or not _ended(handle, END_DEADLINE_SECONDS):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            _ended(handle, END_DEADLINE_SECONDS)
    except ProcessLookupError:
        return
    except PermissionError:
        raise WorldError(f"The lab belongs to another user (process {pid}); only they can take it down.") from None
    finally:
        os.close(handle)


def children_of(pid: int) -> list[int]:
    """Direct children of a process, read from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            # the second field, the program's name, may itself contain blanks and parentheses
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def _spawn(channel: socket.socket, inherited: list[int], log: int) -> subprocess.Popen[bytes]:
    command = ["unshare", *unshare_user()]
    command += ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    command += [sys.executable, "-m", "drills.lab.init", str(channel.fileno())]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[channel.fileno(), *inherited],
            start_new_session=True,  # a Ctrl-C on the terminal is the starter's affair
            cwd="/",
            env=_environment(),
        )
    except FileNotFoundError:
        raise WorldError("The program unshare (package util-linux) is missing.") from None


def _environment() -> dict[str, str]:
    """Nothing of the user's environment but what Python needs: proxies and the like must not reach the lab."""
    package_root = str(Path(drills.__file__).resolve().parent.parent)
    kept = {name: os.environ[name] for name in ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE") if name in os.environ}
    python_path = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return kept | {
        "PATH": search_path(),
        "PYTHONPATH": os.pathsep.join(python_path),
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "HOME": "/run/drills/tmp",
        "TMPDIR": "/run/drills/tmp",
    }


def unshare_user() -> list[str]:
    """What unshare needs besides where the user is not root."""
    return [] if os.geteuid() == 0 else ["--user", "--map-root-user"]


def search_path() -> str:
    """PATH with the directories that an ordinary user's lacks on Debian (ip, nft and nginx live there)."""
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    extra = [directory for directory in ("/usr/local/sbin", "/usr/sbin", "/sbin") if directory not in parts]
    return os.pathsep.join([*parts, *extra])


def _await_ready(channel: socket.socket, state: StateDir, progress: Progress) -> Mapping[str, Any]:
    deadline = time.monotonic() + START_DEADLINE_SECONDS
    received = b""
    while True:
        channel.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            part = channel.recv(1 << 16)
        except TimeoutError:
            raise WorldError(
                f"The lab is not ready after {START_DEADLINE_SECONDS:.0f} s. {last_words(state)}"
            ) from None
        if not part:
            raise ConnectionResetError
        received += part
        *lines, received = received.split(b"\n")
        for message in map(json.loads, lines):
            if "ready" in message:
                ready: Mapping[str, Any] = message["ready"]
                return ready
            if "failed" in message:
                raise _failure(message["failed"])
            progress(message["progress"])


def _failure(failed: Mapping[str, str]) -> DrillsError:
    kind = InputError if failed["kind"] == "input" else WorldError
    return kind(failed["message"])


def _died(state: StateDir) -> WorldError:
    return WorldError(f"The lab ended while it was starting: `drills doctor` may say why. {last_words(state)}")


def last_words(state: StateDir) -> str:
    """The last line of the lab's log, and where the whole of it is."""
    try:
        lines = [line for line in state.log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    said = f"Its last words: {lines[-1].strip()[:300]} " if lines else "It said nothing. "
    return f"{said}(log: {state.log})"


def _ended(handle: int, seconds: float) -> bool:
    return bool(select.select([handle], [], [], seconds)[0])
