"""Programs that an agent's container has and that drills use: files of its state directory, ``ip`` on its node, and
``getent``, which asks the node's resolver for names outside of the cluster.

In the real image they are coreutils, iproute2 and libc-bin; what the lab has of them is what its agents need.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from drills.lab.runtime.builtin import Builtin, ExecIO

STATE = PurePosixPath("/var/run/cilium/state")
NOT_FOUND = 2  # getent's status for a name that its database does not have
_OBJECTS = ("link", "l", "addr", "address", "a", "route", "r", "ro", "neigh", "n", "rule")
_FLAGS = ("-j", "-json", "-d", "-details", "-s", "-stats", "-o", "-br", "-brief", "-4", "-p")


class ShellError(Exception):
    """What a program says on standard error, without its own name."""


def nothing_outside(_: str) -> Sequence[str]:
    """Of a resolver that has no names."""
    return ()


def commands(
    state_of: Callable[[str], Path], addresses: Callable[[str], Sequence[str]] = nothing_outside
) -> Mapping[str, Builtin]:
    """By name. ``state_of`` is a node's directory behind `STATE`, ``addresses`` what nodes resolve a name to."""

    def file_command(run: Callable[[_Files, Sequence[str]], str]) -> Builtin:
        async def builtin(node: str, argv: Sequence[str], io: ExecIO) -> int:
            try:
                await io.write_out(run(_Files(state_of(node)), argv[1:]).encode())
            except (ShellError, OSError) as error:
                said = error if isinstance(error, ShellError) else error.strerror
                await io.write_err(f"{argv[0]}: {said}\n".encode())
                return 1
            return 0

        return builtin

    async def getent(node: str, argv: Sequence[str], io: ExecIO) -> int:
        del node
        if len(argv) != 3 or argv[1] != "ahostsv4":
            await io.write_err(b"getent: the lab has only: getent ahostsv4 NAME\n")
            return 1
        found = addresses(argv[2])
        await io.write_out("".join(f"{address:<15} STREAM {argv[2]}\n" for address in found).encode())
        return 0 if found else NOT_FOUND

    found = {name: file_command(run) for name, run in _PROGRAMS.items()}
    return {**found, "ip": ip, "getent": getent}


async def ip(node: str, argv: Sequence[str], io: ExecIO) -> int:
    """``ip`` in the node's network namespace: links, addresses, routes, neighbours and rules of that node alone."""
    words = [word for word in argv[1:] if word not in _FLAGS]
    if not words or words[0] not in _OBJECTS:
        await io.write_err(f"ip: the lab has only: ip {'|'.join(_OBJECTS)} ...\n".encode())
        return 1
    process = await asyncio.create_subprocess_exec(
        *("ip", "-n", node, *argv[1:]), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    await io.write_out(out)
    await io.write_err(err)
    return process.returncode or 0


class _Files:
    """Paths of the container below `STATE`, as files of the machine."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def at(self, path: str) -> Path:
        """ShellError for a path that the container does not have."""
        place = PurePosixPath(path)
        if place == STATE:
            return self._state
        if place.parent != STATE or place.name == "..":
            raise ShellError(f"{path}: No such file or directory")
        return self._state / place.name

    def there(self, path: str) -> Path:
        """A file that must exist."""
        file = self.at(path)
        if not file.exists():
            raise ShellError(f"cannot access '{path}': No such file or directory")
        return file


def _words(argv: Sequence[str], count: int | None = None) -> list[str]:
    words = [word for word in argv if not word.startswith("-")]
    if not words or (count is not None and len(words) != count):
        raise ShellError("missing operand" if len(words) < (count or 1) else "too many operands for the lab")
    return words


def _rm(files: _Files, argv: Sequence[str]) -> str:
    for path in _words(argv):
        (files.at(path) if "-f" in argv else files.there(path)).unlink(missing_ok=True)
    return ""


def _mv(files: _Files, argv: Sequence[str]) -> str:
    source, target = _words(argv, 2)
    if not ("-n" in argv and files.at(target).exists()):
        files.there(source).rename(files.at(target))
    return ""


def _cp(files: _Files, argv: Sequence[str]) -> str:
    source, target = _words(argv, 2)
    shutil.copy(files.there(source), files.at(target))  # with its mode: keys stay private
    return ""


def _cat(files: _Files, argv: Sequence[str]) -> str:
    return "".join(files.there(path).read_text(errors="replace") for path in _words(argv))


def _ls(files: _Files, argv: Sequence[str]) -> str:
    place = files.there(_words(argv, 1)[0])
    names = sorted(each.name for each in place.iterdir()) if place.is_dir() else [_words(argv, 1)[0]]
    return "".join(f"{name}\n" for name in names)


_PROGRAMS: Mapping[str, Callable[[_Files, Sequence[str]], str]] = {
    "rm": _rm,
    "mv": _mv,
    "cp": _cp,
    "cat": _cat,
    "ls": _ls,
}
