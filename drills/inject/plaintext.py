"""Whether pod traffic left a node in plaintext, by what captures on all nodes saw (`drills.capture`). Pure.

One packet is enough to say *seen*. To say *none*, every capture must have been able to see: its own packets on each
watched interface and on the way to every other node, before and after, nothing lost, no interface come or gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

BEFORE, AFTER = "before", "after"  # the marks
SHOWN = 3


class PlaintextVerdict(StrEnum):
    """What the captures prove."""

    NONE = "none"
    SEEN = "seen"
    NOT_PROVEN = "not-proven"


@dataclass(frozen=True, slots=True)
class CaptureEnd:
    """The last line of a capture."""

    interfaces: tuple[str, ...]
    plaintext: Mapping[str, int]  # packets by interface
    lost: int
    marks: Mapping[str, Mapping[str, Any]]  # by name
    changes: tuple[str, ...]
    samples: tuple[Mapping[str, Any], ...]
    began: float
    ended: float

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> CaptureEnd:
        """From the value of ``end``. KeyError if it is none."""
        return cls(
            interfaces=tuple(data["interfaces"]),
            plaintext=dict(data["plaintext"]),
            lost=int(data["lost"]),
            marks={each["mark"]: each for each in data["marks"]},
            changes=tuple(data["changes"]),
            samples=tuple(data["samples"]),
            began=float(data["from"]),
            ended=float(data["to"]),
        )


@dataclass(frozen=True, slots=True)
class Plaintext:
    """The verdict, packets seen in clear by node, and why it is no better: sentences."""

    verdict: PlaintextVerdict
    packets: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def judge(nodes: Sequence[str], ends: Mapping[str, CaptureEnd | str], since: float, until: float) -> Plaintext:
    """By the captures of ``nodes`` (an end, or why there is none), for the time of the fault (Unix times)."""
    captured = {node: end for node, end in ends.items() if isinstance(end, CaptureEnd)}
    packets = {node: sum(end.plaintext.values()) for node, end in captured.items()}
    if any(packets.values()):
        texts = [_sample(node, each) for node, end in captured.items() for each in end.samples]
        return Plaintext(PlaintextVerdict.SEEN, packets, tuple(texts[:SHOWN]))
    found = [(node, ends.get(node, "nothing was captured")) for node in nodes]
    doubts = tuple(text for node, end in found for text in _doubts(node, end, since, until))
    return Plaintext(PlaintextVerdict.NOT_PROVEN if doubts or not nodes else PlaintextVerdict.NONE, packets, doubts)


def _doubts(node: str, end: CaptureEnd | str, since: float, until: float) -> list[str]:
    if isinstance(end, str):
        return [f"{node}: {end}"]
    found = []
    if not end.interfaces:
        found.append(f"{node}: no interface was watched")
    if end.lost:
        found.append(f"{node}: the kernel lost {end.lost} packets before they were looked at")
    found += [f"{node}: {change} during the capture" for change in end.changes]
    for name in (BEFORE, AFTER):
        found += [f"{node}: {text}" for text in _blind(end, name)]
    times = {name: float(mark["at"]) for name, mark in end.marks.items()}
    if not times.get(BEFORE, until) <= since or not times.get(AFTER, since) >= until:
        found.append(f"{node}: its marks do not enclose the fault")
    return found


def _blind(end: CaptureEnd, name: str) -> list[str]:
    mark = end.marks.get(name)
    if mark is None:
        return [f"no known packet was sent {name} the fault"]
    links = [link for link in end.interfaces if not mark["interfaces"].get(link)]
    paths = [node for node, seen in mark["paths"].items() if not seen]
    found = [f"a known packet on {link} was not seen {name} the fault" for link in links]
    found += [f"the way to {node} is not watched: a known packet was not seen {name} the fault" for node in paths]
    return found if mark["paths"] else [*found, "no other node was reached for"]


def _sample(node: str, found: Mapping[str, Any]) -> str:
    ports = "" if found.get("target_port") is None else f":{found['target_port']}"
    inside = f" inside {found['inside']}" if found.get("inside") else ""
    return (
        f"{node}: {found['protocol']} from {found['source']} to {found['target']}{ports} in clear on "
        f"{found['interface']} ({found['way']}){inside}"
    )
