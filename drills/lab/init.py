"""PID 1 of the lab: mounts, starts the supervisor, reaps, and ends the lab when it should end.

When this process is gone the kernel ends every other process of the lab and with them all its
namespaces, so it does nothing that could block or fail: standard library only, one loop over two
descriptors. It ends when the supervisor ends, on SIGTERM, and when its starter closes the channel
without having said ``detach`` first.

Protocol of the channel (a stream socket): the starter sends one line of JSON (`Handover`), later perhaps
``detach``; the supervisor sends lines of JSON (`drills.lab.launcher`).
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import selectors
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RUN = "/run"
MS_NOSUID, MS_NODEV, MS_BIND = 2, 4, 4096
DETACH = b"detach\n"


@dataclass(frozen=True, slots=True)
class Handover:
    """What the starter hands over; descriptors by number."""

    settings: str  # JSON
    state: str  # the state directory
    listeners: dict[str, int]  # bound in the host's network namespace
    volatile: tuple[str, ...]  # files in the state directory that end with the lab

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Handover:
        data: dict[str, Any] = json.loads(text)
        return cls(**(data | {"volatile": tuple(data["volatile"])}))


def main() -> int:
    """Run the lab; the exit status is the supervisor's."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    handover = Handover.from_json(_line(channel))
    # opened here: a descriptor from outside belongs to another mount namespace and cannot be mounted
    state = os.open(handover.state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _prepare(state)
    wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    supervisor = os.fork()
    if supervisor == 0:
        return _supervise(channel, handover)
    # the supervisor alone answers on these
    for descriptor in handover.listeners.values():
        os.close(descriptor)
    signal.set_wakeup_fd(wakeup_write)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _watch(channel, wakeup_read, supervisor)
    finally:
        for name in handover.volatile:
            with suppress(OSError):
                os.unlink(name, dir_fd=state)


def _line(channel: socket.socket) -> str:
    received = b""
    while not received.endswith(b"\n"):
        part = channel.recv(1 << 16)
        if not part:
            raise SystemExit(1)  # the starter is gone before the lab began
        received += part
    return received.decode()


def _prepare(state: int) -> None:
    mount("tmpfs", RUN, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755")
    for path in ("netns", "wireguard", "drills", "drills/tmp", "drills/log"):
        Path(RUN, path).mkdir(mode=0o755)
    # the logs outlive the lab, wherever the state directory is (even below /run, which is hidden now)
    mount(f"/proc/self/fd/{state}/log", f"{RUN}/drills/log", "", MS_BIND, "")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else soft, hard))


def _supervise(channel: socket.socket, handover: Handover) -> int:
    from drills.lab import supervisor  # noqa: PLC0415  after the fork: PID 1 stays small

    return supervisor.main(channel, handover)


def _watch(channel: socket.socket, wakeup: int, supervisor: int) -> int:
    detached = False
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        while (status := _reap(supervisor)) is None:
            for key, _ in selector.select():
                if key.fd == wakeup:
                    if signal.SIGTERM in os.read(wakeup, 4096):
                        return 0
                elif (word := _read(channel)) == DETACH:
                    detached = True
                elif not word:
                    if not detached:
                        return 0
                    selector.unregister(channel)
        return status


def _read(channel: socket.socket) -> bytes:
    try:
        return channel.recv(64)
    except OSError:
        return b""


def _reap(supervisor: int) -> int | None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 1
        if pid == 0:
            return None
        if pid == supervisor:
            return os.waitstatus_to_exitcode(status) & 0xFF


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2). OSError says which mount failed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"mount of {source} on {target}: {os.strerror(error)}")


if __name__ == "__main__":
    sys.exit(main())
