"""Pod addresses of one node."""

from __future__ import annotations

from drills.lab import plan


class NoAddressError(Exception):
    """The node's pod network is full."""


class Addresses:
    """Hands out addresses in turn, so that one that was just freed is the last to be used again."""

    def __init__(self, node: str) -> None:
        self._network = plan.POD_CIDRS[node]
        self._last = plan.FIRST_POD - 1
        self._used: set[int] = set()

    def take(self) -> str:
        """A free address. Raises NoAddressError."""
        size = self._network.num_addresses - 1 - plan.FIRST_POD  # without the broadcast address
        for step in range(size):
            host = plan.FIRST_POD + (self._last - plan.FIRST_POD + 1 + step) % size
            if host not in self._used:
                self._used.add(host)
                self._last = host
                return str(self._network[host])
        raise NoAddressError(f"all {size} addresses of {self._network} are in use")

    def give_back(self, address: str) -> None:
        """Let the address be used again."""
        self._used.discard(int(address.rpartition(".")[2]))
