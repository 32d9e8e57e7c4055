"""Who holds a Lease: a name for people, and a process that others on the same machine can look for.

A run that was killed leaves its Lease behind until it expires. Whoever runs in the same PID namespace can see at once
that the process has ended, and need not wait.
"""

from __future__ import annotations

import getpass
import os
import platform
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """``process`` is ``boot/pid-namespace/pid/start``, empty where the system does not tell (then nobody can look)."""

    name: str
    process: str

    @classmethod
    def here(cls, proc: Path = PROC) -> Holder:
        """This process."""
        name = f"{_user()}@{platform.node()}, process {os.getpid()}"
        place, started = _place(proc), _started(proc, os.getpid())
        return cls(name, f"{place}/{os.getpid()}/{started}" if place and started else "")


def has_ended(process: str, proc: Path = PROC) -> bool:
    """Whether a holder's process is certainly no more; False where that cannot be seen from here."""
    place, _, rest = process.rpartition("/")
    place, _, pid = place.rpartition("/")
    if not place or place != _place(proc) or not pid.isdecimal():
        return False
    return _started(proc, int(pid)) != rest


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry in /etc/passwd
        return str(os.getuid())


def _place(proc: Path) -> str | None:
    """This boot and this PID namespace: only within them does a process number mean anything."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{(proc / 'self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _started(proc: Path, pid: int) -> str | None:
    """When a process started, in ticks since the boot; None if there is none, or only its remains."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold anything
    return None if fields[0] in ("Z", "X") else fields[19]
