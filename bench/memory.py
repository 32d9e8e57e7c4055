"""What a tree of processes costs: PSS, so that pages which processes share are counted once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Process:
    """A process of the tree; ``pss`` is in bytes."""

    pid: int
    name: str
    pss: int


def tree(root: int) -> list[Process]:
    """The process ``root`` and all that descend from it, as far as they still live while they are read."""
    children = _children()
    found, waiting = list[Process](), [root]
    while waiting:
        pid = waiting.pop()
        waiting += children[pid]
        try:
            found.append(Process(pid, _name(pid), _pss(pid)))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _children() -> dict[int, list[int]]:
    children = defaultdict[int, list[int]](list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            children[int(stat.rpartition(")")[2].split()[1])].append(int(entry.name))
    return children


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0  # a process that is ending has no memory any more
