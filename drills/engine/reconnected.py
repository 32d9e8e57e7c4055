"""After the undo of a change to a node's keys: do all nodes encrypt again as before, by what their agents say?

An object that is equal again is only the beginning: agents must take it up, and where a session had ended, WireGuard
needs a new handshake. Nobody here tries the path, and the text says so: a drill does, with its control.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from drills.cilium.encryption import UNKNOWN, Picture, is_key, published_in
from drills.cilium.peering import cut_off, unheard, unlike
from drills.engine.undo import Record, RepairAgent, Restore
from drills.engine.undone import Undone
from drills.errors import WorldError
from drills.kube import Cluster
from drills.kube.wireguard import WireGuard

REALISED_SECONDS: Final = 60.0  # on the wall, for agents to take up what was put back
HEARD_SECONDS: Final = 150.0  # on the wall, for a handshake: Cilium's health probes go from node to node each minute
LOOK_SECONDS: Final = 0.5
UNTRIED: Final = "the path itself was not tried"

Wait = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class Node:
    """Whose keys were changed; ``key`` is the public one that it had, empty where the record does not tell."""

    name: str
    key: str


def node_of(record: Record) -> Node | None:
    """Whose keys a change was about; None for any other change."""
    match record.undo:
        case RepairAgent(node=name, published=key):
            return Node(name, key)
        case Restore(object=where, before=before) if where.plural == "ciliumnodes" and is_key(published_in(before)):
            return Node(where.name, published_in(before))
    return None


class Reconnected:
    """Of one node. Made before the undo: it looks whether the change had ended any session."""

    def __init__(
        self, cluster: Cluster, node: Node, wait: Wait = time.sleep, stop: threading.Event | None = None
    ) -> None:
        self._wireguard = WireGuard(cluster, wait=wait)
        self._wait, self._stop = wait, stop
        self._node = node
        self._began = time.time()
        self._ended = self._cut_off()

    def _cut_off(self) -> bool:
        try:
            now = self._wireguard.picture()
        except WorldError:
            return True  # the undo is more than what can be said of it
        return cut_off(self._node.name, self._expected(now), now)

    def judge(self, undone: Undone) -> Undone:
        """What may be said of the undo, once the agents have had their time."""
        try:
            return self._judge(undone)
        except WorldError as error:
            text = f"{undone.text}, but whether the nodes know it cannot be asked: {error}"
            return replace(undone, verdict="not-verified", text=text, finished=False)

    def _judge(self, undone: Undone) -> Undone:
        now = self._awaited(lambda now: self._lacking(now) and not self._lost(undone, now), REALISED_SECONDS)
        if lacking := self._lacking(now):
            return self._unlike(undone, now, lacking)
        if undone.keyless and not self._node.key:
            text = f"{undone.text}, and its record does not tell whether the key of now is the one that the node had"
            return replace(undone, verdict="not-verified", text=text, finished=False, theirs=True)
        if not self._ended:
            return replace(undone, text=f"{undone.text}; all nodes have its key as before ({UNTRIED})")
        now = self._awaited(lambda now: unheard(self._node.name, now, self._began), HEARD_SECONDS)
        if missing := unheard(self._node.name, now, self._began):
            text = f"{undone.text}; all nodes have its key as before, but {'; '.join(missing)}"
            return replace(undone, verdict="not-verified", text=text, finished=False)
        text = f"{undone.text}; all nodes have its key as before, and there were handshakes since ({UNTRIED})"
        return replace(undone, text=text)

    def _awaited(self, unmet: Callable[[Picture], object], seconds: float) -> Picture:
        """The nodes as they are once nothing is unmet any more, or time is up, or recovery was stopped."""
        until = time.monotonic() + seconds
        while unmet(now := self._wireguard.picture()) and time.monotonic() < until:
            if self._stop is not None and self._stop.is_set():
                break
            self._wait(LOOK_SECONDS)
        return now

    def _expected(self, now: Picture) -> str:
        """The key that the node must have; that of now, where the record does not tell."""
        known = now.get(self._node.name)
        return self._node.key or (known.published if known else "")

    def _lacking(self, now: Picture) -> list[str]:
        return unlike(self._node.name, self._expected(now), now)

    def _lost(self, undone: Undone, now: Picture) -> bool:
        """Whether the agent has started with another key: there is no way back to one whose file is gone."""
        known = now.get(self._node.name)
        device = known.device if known else None
        key = self._node.key
        return undone.keyless and bool(key) and device is not None and device.public_key != key

    def _unlike(self, undone: Undone, now: Picture, lacking: list[str]) -> Undone:
        text = f"{undone.text}, but {'; '.join(lacking)}"
        if self._lost(undone, now):
            text += "; the key that it had is lost, and `drills recover --accept` leaves it with the new one"
            return replace(undone, verdict="not-restored", text=text, finished=False, theirs=True)
        silent = any(keys.encryption.mode == UNKNOWN for keys in now.values())
        return replace(undone, verdict="not-verified" if silent else "not-restored", text=text, finished=False)
