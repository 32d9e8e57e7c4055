"""What one node's agent does about WireGuard: its key, its device, the peers that it knows, the routes to them.

As Cilium's agents do it (1.20, pkg/wireguard/agent): an agent that starts loads its private
key from its state directory or makes one, makes the device if it is not there, publishes its public key, and sets the
peers that the API tells. While it runs it follows the other nodes' keys: a changed one replaces the peer, an empty one
is ignored, one that another node has is an error and changes nothing. A device, a peer or a key file that somebody
takes away stays away until the agent starts again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from drills.errors import WorldError
from drills.lab import netns, plan
from drills.lab.agent import ciliumnode, x25519
from drills.lab.agent.wireguard_device import INTERFACE, Device, Peer
from drills.lab.api.resources import CILIUM_NODES
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, name_of

KEY_FILE = "cilium_wg0.key"
UNDERLAY_INTERFACE = "eth0"
STRICT_TABLE = "ip cilium_encryption"
FALLBACK_METRIC, BLACKHOLE_METRIC = 3000, 4000

log = logging.getLogger("drills.lab.agent")


@dataclass(frozen=True, slots=True)
class Switches:
    """What ConfigMap kube-system/cilium-config says of encryption. The third is the lab's own: see `route_lines`."""

    wireguard: bool = True
    strict: bool = False
    fallback: bool = False

    @classmethod
    def of(cls, config: Obj | None) -> Switches:
        """Without a ConfigMap, or without a key of it, the default."""
        data = (config or {}).get("data") or {}
        return cls(**{field: str(data[key]) == "true" for field, key in SWITCHES.items() if key in data})


SWITCHES = {
    "wireguard": "enable-wireguard",
    "strict": "enable-encryption-strict-mode",
    "fallback": "lab-plaintext-fallback",
}


class News(StrEnum):
    """What another node's public key means to an agent."""

    NONE = "none"  # empty, or known already
    NEW = "new"
    DUPLICATE = "duplicate"
    INVALID = "invalid"


def news_of(node: str, key: str, known: Mapping[str, str], own: str) -> News:
    """What to make of ``key`` in the CiliumNode of another ``node``, by the keys that are known so far."""
    if not key or known.get(node) == key:
        return News.NONE
    try:
        x25519.key_of(key)
    except ValueError:
        return News.INVALID
    taken = key == own or any(other != node and each == key for other, each in known.items())
    return News.DUPLICATE if taken else News.NEW


def route_lines(node: str, switches: Switches) -> list[str]:
    """`ip` commands for the way to the other nodes' pods.

    When the device goes, its route goes with it, and what is left is a black hole, as in Cilium; unless there is a
    fallback, a second route in plaintext of a worse metric, which is what a careless set-up has.
    """
    lines = []
    for other, cidr in plan.POD_CIDRS.items():
        if other == node:
            continue
        plain = f"{cidr} via {plan.NODES[other]}"
        if not switches.wireguard:
            lines.append(f"route replace {plain}")
            continue
        lines += [
            f"route replace {cidr} dev {INTERFACE} src {plan.router_of(node)}",
            f"route replace blackhole {cidr} metric {BLACKHOLE_METRIC}",
        ]
    return lines


def fallback_lines(node: str, switches: Switches) -> list[str]:
    """`ip` commands for the second route; deleting one that is not there fails."""
    action = "replace" if switches.fallback else "del"
    others = {other: cidr for other, cidr in plan.POD_CIDRS.items() if other != node}
    return [f"route {action} {cidr} via {plan.NODES[to]} metric {FALLBACK_METRIC}" for to, cidr in others.items()]


def strict_script(switches: Switches) -> str:
    """The packet filter of strict mode: what goes from pod to pod in plaintext is dropped where it would leave."""
    lines = [
        f"add table {STRICT_TABLE}",
        f"add counter {STRICT_TABLE} unencrypted",
        f"add chain {STRICT_TABLE} postrouting {{ type filter hook postrouting priority 0; }}",
        f"flush chain {STRICT_TABLE} postrouting",
    ]
    if switches.strict:
        pods = f"ip saddr {plan.CLUSTER_CIDR} ip daddr {plan.CLUSTER_CIDR}"
        drop = f'oifname "{UNDERLAY_INTERFACE}" {pods} counter name unencrypted drop'
        lines.append(f"add rule {STRICT_TABLE} postrouting {drop}")
    return "\n".join((*lines, ""))


class NodeWireGuard:
    """WireGuard of one node. Its methods are called one at a time."""

    def __init__(self, node: str, store: Store, device: Device, state: Path) -> None:
        self.node = node
        self.state = state  # what the agent's container shows as /var/run/cilium/state
        self.device = device
        self._store = store
        self._own = ""
        self._peers: dict[str, str] = {}  # public key by node

    async def prepare(self) -> None:
        """Key, device and annotation, as an agent that starts. WorldError if the device cannot be had."""
        private = await asyncio.to_thread(self._load_key)
        self._own = x25519.text_of(await asyncio.to_thread(x25519.public_of, private))
        await self.device.ensure(private)
        ciliumnode.publish(self._store, self.node, self._own)

    async def meet(self) -> None:
        """The peers that the API tells at this moment, and no others."""
        self._peers = {}
        found = await self.device.read()
        wanted = {name_of(each): ciliumnode.key_in(each) for each in self._store.list(CILIUM_NODES)}
        wanted.pop(self.node, None)
        for peer in found.peers if found else ():
            if x25519.text_of(peer.key) not in wanted.values():
                await self.device.remove_peer(peer.key)
        for node, key in wanted.items():
            await self.learn(node, key)

    async def learn(self, node: str, key: str) -> None:
        """Another node's public key, as its CiliumNode has it now. WorldError if the device is not there."""
        if node not in plan.NODES:
            return
        match news_of(node, key, self._peers, self._own):
            case News.NEW:
                await self._replace(node, key)
            case News.DUPLICATE:
                log.error("%s: detected duplicate public key: CiliumNode %s has that of another node", self.node, node)
            case News.INVALID:
                log.error("%s: the public key in CiliumNode %s is none: nothing changes", self.node, node)

    async def route(self, switches: Switches) -> None:
        """Send what goes to other nodes' pods the right way."""
        if switches.wireguard and await self.device.read() is None:
            return  # its routes went with it; the agent's next start brings them
        await asyncio.to_thread(netns.ip_batch, self.node, route_lines(self.node, switches))
        await self.set_fallback(switches)

    async def set_fallback(self, switches: Switches) -> None:
        """Add or take away the second route in plaintext."""
        try:
            await asyncio.to_thread(netns.ip_batch, self.node, fallback_lines(self.node, switches))
        except WorldError:
            if switches.fallback:
                raise

    async def _replace(self, node: str, key: str) -> None:
        old = self._peers.get(node)
        if old is not None:
            await self.device.remove_peer(x25519.key_of(old))
        await self.device.set_peer(Peer(x25519.key_of(key), plan.NODES[node], (plan.POD_CIDRS[node],)))
        self._peers[node] = key
        log.info("%s: the peer %s has the public key %s", self.node, node, key)

    def _load_key(self) -> bytes:
        file = self.state / KEY_FILE
        try:
            return x25519.key_of(file.read_text())
        except FileNotFoundError:
            private = x25519.generate()
        except ValueError:
            raise WorldError(f"{self.node}: {KEY_FILE} holds no key") from None
        self.state.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(x25519.text_of(private))
        return private
