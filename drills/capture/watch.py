"""One capture: what was counted, and whether it can see at all."""

from __future__ import annotations

import errno
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from drills.capture import links
from drills.capture.packets import DISCARD, Canary, Config, Packet, Watcher, canary_payload, datagram

SAMPLES = 20
BATCH = 500
MARK_SECONDS = 1.0

Json = dict[str, Any]


class Capture:
    """Counts from when it is made. OSError without CAP_NET_RAW."""

    def __init__(self, config: Config) -> None:
        self.taps: dict[str, links.Tap] = {}
        self._config = config
        self._watcher = Watcher(config)
        self._began = time.time()
        self._looked = 0
        self._plaintext: Counter[str] = Counter()  # by interface
        self._samples: list[Json] = []
        self._own: set[Canary] = set()  # of the present mark, seen
        self._foreign: Counter[str] = Counter()  # other nodes' marks, by node
        self._changes: list[str] = []  # interfaces that came or went
        self._marks: list[Json] = []
        self._lost = 0  # of interfaces that are gone
        self.look_around()
        self._changes.clear()  # those that were there are no news

    def look_around(self) -> None:
        """Watch interfaces that have come, forget those that have gone."""
        there = {name for name in links.names() if not name.startswith(self._config.ignore)}
        for name in sorted(there - self.taps.keys()):
            try:
                self.taps[name] = links.Tap(name, self._config)
            except OSError as error:
                if error.errno != errno.ENODEV:
                    raise
                continue
            self._note(f"{name} came")
        for name in sorted(self.taps.keys() - there):
            self._drop(name, "went")

    def read(self, tap: links.Tap) -> None:
        """Take what has come on one interface."""
        try:
            for kind, outgoing, data in tap.read(BATCH):
                self._looked += 1
                self._take(tap.link, outgoing, self._watcher.look(kind, data))
        except OSError as error:
            if error.errno != errno.ENETDOWN:
                raise
            self._note(f"{tap.link} went down")

    def send_mark(self, name: str) -> list[Canary]:
        """Send what must be seen; the packets, by which `mark` tells."""
        config = self._config
        self._own.clear()
        sent = []
        for link in self.taps:
            canary = Canary(config.node, name, link, config.target)
            with suppress(OSError):  # not sent, not seen
                links.put(link, datagram(config.source, config.target, canary_payload(config.nonce, canary)))
            sent.append(canary)
        for peer in config.peers:
            canary = Canary(config.node, name, "", peer)
            with suppress(OSError):
                links.send(peer, DISCARD, canary_payload(config.nonce, canary))
            sent.append(canary)
        return sent

    def all_seen(self, sent: list[Canary]) -> bool:
        """Whether there is nothing left to wait for."""
        return self._own.issuperset(sent)

    def mark(self, name: str, sent: list[Canary]) -> Json:
        """What became of a mark: interfaces and nodes by whether their packet was seen."""
        found = {
            "mark": name,
            "at": time.time(),
            "interfaces": {each.link: each in self._own for each in sent if each.link},
            "paths": {each.target: each in self._own for each in sent if not each.link},
        }
        self._marks.append(found)
        return found

    def state(self) -> Json:
        """The counts so far."""
        return {"at": time.time(), "plaintext": self._plaintext.total(), "lost": self._losses()}

    def end(self) -> Json:
        """Everything."""
        return {
            "from": self._began,
            "to": time.time(),
            "interfaces": sorted(self.taps),
            "packets": self._looked,
            "plaintext": dict(self._plaintext),
            "samples": self._samples,
            "lost": self._losses(),
            "changes": self._changes,
            "marks": self._marks,
            "othersMarks": dict(self._foreign),
        }

    def _take(self, link: str, outgoing: bool, found: Packet | Canary | None) -> None:
        if isinstance(found, Canary):
            if found.node == self._config.node:
                if not found.link or found.link == link:
                    self._own.add(found)
            else:
                self._foreign[found.node] += 1
        elif found is not None:
            self._plaintext[link] += 1
            if len(self._samples) < SAMPLES:
                way = "out" if outgoing else "in"
                self._samples.append({"at": time.time(), "interface": link, "way": way, **found._asdict()})

    def _losses(self) -> int:
        return self._lost + sum(tap.losses() for tap in self.taps.values())

    def _drop(self, name: str, why: str) -> None:
        tap = self.taps.pop(name)
        with suppress(OSError):
            self._lost += tap.losses()
        tap.close()
        self._note(f"{name} {why}")

    def _note(self, change: str) -> None:
        self._changes.append(change)
