"""Pid 1 of a pod's sandbox: builds the pod's root file system, says so, and becomes `sleep`.

Runs as a script by ``python -I -S pause.py PLAN`` in fresh mount, pid and uts namespaces, hence imports
nothing of ours. The root is a tmpfs with the machine's programs bound in, all of them read-only: whatever a
container writes or deletes is its own and gone with the pod. PLAN is JSON: ``root`` (an empty directory),
``hostname``, ``binds`` (the machine's paths to show), ``directory`` (the pod's own, seen at /run/drills),
``shares`` (pairs of a directory that outlives the pod and its place inside), ``mounts`` (pairs of source, as seen
inside, and target). Standard output: the sandbox's pid as the starter sees it.
"""

# pathlib takes longer to import than everything here together:
# ruff: noqa: PTH101, PTH102, PTH103, PTH110, PTH112, PTH114, PTH115, PTH116, PTH120, PTH208, PTH211

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 1, 2, 4, 8, 4096, 16384
MNT_DETACH = 2
AT_RECURSIVE, AT_FDCWD = 0x8000, -100
MOUNT_ATTR_RDONLY = 1
SYS_MOUNT_SETATTR = 442  # the same number on every architecture; Linux 5.12
SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "dev", "sys")
OWN = ("tmp", "run", "var", "var/tmp", "var/lib", "var/log", "var/cache", "root", "home", "proc")
INSIDE = "/run/drills"

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    """Raise OSError for a failed call."""
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    check(libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}")


class MountAttributes(ctypes.Structure):
    """struct mount_attr of linux/mount.h."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def read_only(target: str) -> None:
    """Make a mount and all below it read-only; kernels before 5.12 cannot, and leave it as it is."""
    attributes = MountAttributes(set=MOUNT_ATTR_RDONLY)
    arguments = (AT_FDCWD, os.fsencode(target), AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes))
    result = libc.syscall(ctypes.c_long(SYS_MOUNT_SETATTR), *arguments)
    if result != 0 and ctypes.get_errno() != errno.ENOSYS:
        check(result, f"make {target} read-only")


def bind(source: str, target: str) -> None:
    """Show ``source`` at ``target``, which is made if it is missing."""
    make_place(target, directory=os.path.isdir(source))
    mount(source, target, None, MS_BIND | MS_REC)


def make_place(target: str, *, directory: bool) -> None:
    """Something to mount on."""
    if os.path.exists(target):
        return
    os.makedirs(target if directory else os.path.dirname(target), exist_ok=True)
    if not directory:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def build(plan: dict[str, Any]) -> None:
    """The new root, still at its place in the old one."""
    root = plan["root"]
    mount("pod", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for name in OWN:
        os.mkdir(f"{root}/{name}")
    os.chmod(f"{root}/tmp", 0o1777)  # noqa: S103, S108  what /tmp is
    os.symlink("/run", f"{root}/var/run")
    for name in SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            show(root, f"/{name}")
    mount("shm", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108  a mount of its own
    for path in plan["binds"]:
        if not os.path.lexists(root + path):
            show(root, path)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    bind(plan["directory"], root + INSIDE)
    for source, place in plan["shares"]:
        bind(source, root + place)


def show(root: str, path: str) -> None:
    """One of the machine's paths, read-only, at the same place."""
    bind(path, root + path)
    read_only(root + path)


def enter(root: str) -> None:
    """Make the new root the root of this mount namespace, so that whoever joins it sees nothing else."""
    os.chdir(root)
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", MNT_DETACH), "leave the old root")
    os.chdir("/")


def attach(source: str, target: str) -> None:
    """Mount a file or directory of the pod's own at any path, following links as a program would."""
    place = os.path.realpath(target)
    if not os.path.exists(place):
        make_room(os.path.dirname(place))
        make_place(place, directory=os.path.isdir(source))
    mount(source, place, None, MS_BIND | MS_REC)


def make_room(directory: str) -> None:
    """Let new entries be made in a directory: what is missing of it is made, what is read-only is mirrored."""
    existing = directory
    while not os.path.isdir(existing):
        existing = os.path.dirname(existing)
    if os.statvfs(existing).f_flag & os.ST_RDONLY:
        mirror(existing)
    os.makedirs(directory, exist_ok=True)


def mirror(directory: str) -> None:
    """Put a writable directory with the same entries over a read-only one."""
    names = os.listdir(directory)
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    mode = os.stat(directory).st_mode & 0o7777
    mount("mirror", directory, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}")
    for name in names:
        old, new = f"/proc/self/fd/{handle}/{name}", f"{directory}/{name}"
        if os.path.islink(old):
            os.symlink(os.readlink(old), new)
        else:
            bind(old, new)
    os.close(handle)


def main() -> None:
    """Everything in order; any failure ends with its sentence on standard error."""
    plan = json.loads(sys.argv[1])
    pid = os.readlink("/proc/self")  # still the starter's /proc, hence its numbers
    build(plan)
    enter(plan["root"])
    for source, target in plan["mounts"]:
        attach(source, target)
    name = plan["hostname"].encode()
    check(libc.sethostname(name, len(name)), "sethostname")
    os.write(1, f"{pid}\n".encode())
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # survives exec: orphans are reaped by the kernel
    os.execv("/bin/sleep", ["pause", "infinity"])  # noqa: S606  a fixed program, no shell


try:
    main()
except OSError as error:
    sys.exit(f"The pod's file system could not be built: {error.strerror or error}")
