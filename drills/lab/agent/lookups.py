"""What pods have looked up: names and their addresses, as long as they live. Pure but for the times passed in.

FQDN rules mean the addresses that a node's pods learnt through its DNS proxy (Cilium 1.20, pkg/fqdn/namemanager).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address

import dns.message
import dns.rdatatype

from drills.cilium.patterns import absolute
from drills.cilium.peers import FqdnPeer

GRACE_SECONDS = 60.0  # an address outlives its TTL until the next collection: Cilium's dns-garbage-collector-job


class Lookups:
    """Names that were looked up on one node, with addresses and when they end (seconds of any one clock)."""

    def __init__(self) -> None:
        self._ends: dict[str, dict[IPv4Address, float]] = {}

    def learn(self, name: str, addresses: Mapping[IPv4Address, int], now: float) -> None:
        """An answer: addresses with their TTL in seconds. A longer life than known is kept."""
        known = self._ends.setdefault(absolute(name), {})
        for address, ttl in addresses.items():
            known[address] = max(known.get(address, 0.0), now + ttl + GRACE_SECONDS)

    def forget(self, now: float) -> None:
        """Drop what has ended."""
        for name in list(self._ends):
            left = {address: end for address, end in self._ends[name].items() if end > now}
            if left:
                self._ends[name] = left
            else:
                del self._ends[name]

    def addresses(self, peer: FqdnPeer, now: float) -> dict[IPv4Address, float]:
        """Addresses that a rule means now, with the seconds that they have left."""
        found: dict[IPv4Address, float] = {}
        for name, ends in self._ends.items():
            if peer.matches_name(name):
                for address, end in ends.items():
                    if end > now:
                        found[address] = max(found.get(address, 0.0), end - now)
        return found

    def names(self, address: IPv4Address, now: float) -> Iterator[str]:
        """Names under which an address is known."""
        return (name for name, ends in self._ends.items() if ends.get(address, 0.0) > now)


def answers(message: dns.message.Message) -> dict[IPv4Address, int]:
    """The IPv4 addresses of an answer, whatever aliases led to them, with the smallest TTL in seconds."""
    smallest: int = min((rrset.ttl for rrset in message.answer), default=0)
    found: dict[IPv4Address, int] = {}
    for rrset in message.answer:
        if rrset.rdtype == dns.rdatatype.A:
            found |= {IPv4Address(item.address): smallest for item in rrset}
    return found


def elements(addresses: Iterable[tuple[IPv4Address, float]]) -> str:
    """Elements of an nftables set, each with its own timeout."""
    return ", ".join(f"{address} timeout {max(1, round(left))}s" for address, left in addresses)
