"""A node's ``cilium_wg0``: wireguard-go in the node's namespace, and what it is told by its control socket.

wireguard-go names its control socket after the interface that it makes, and all nodes share one /run: so each gets a
name of its own, and the interface is renamed afterwards. Deleting the interface ends the program; nobody starts it
again but an agent that starts (as in Cilium). Protocol: https://www.wireguard.com/xplatform/#configuration-protocol
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from drills.errors import WorldError
from drills.lab import netns, topology
from drills.lab.agent import x25519
from drills.lab.daemons import Daemons

INTERFACE = "cilium_wg0"  # Cilium 1.20, pkg/wireguard/types/types.go
PORT = 51871
FIREWALL_MARK = 0xE00  # Cilium's MARK_MAGIC_ENCRYPT
TUN = Path("/dev/net/tun")
SOCKETS = Path("/var/run/wireguard")  # built into wireguard-go
START_SECONDS = 3.0
ANSWER_SECONDS = 2.0
_LOOK_SECONDS = 0.003

log = logging.getLogger("drills.lab.agent")


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node as WireGuard is told of it."""

    key: bytes
    endpoint: IPv4Address
    networks: tuple[IPv4Network, ...]


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """A peer as the device knows it. ``handshake``: Unix time of the last one, 0 before the first."""

    key: bytes
    endpoint: str = ""
    networks: tuple[str, ...] = ()
    handshake: float = 0.0
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a device says of itself."""

    public_key: bytes
    port: int
    peers: tuple[PeerStatus, ...]


class Device:
    """The interface of one node. Its methods are called one at a time."""

    def __init__(self, node: str, daemons: Daemons) -> None:
        self._node = node
        self._daemons = daemons
        self._name = f"wg-{node}"[:15]
        self._socket = SOCKETS / f"{self._name}.sock"

    async def ensure(self, private: bytes) -> None:
        """Make the interface if it is not there, and give it its key; peers stay. WorldError if that fails."""
        if not self._daemons.running(self._name):
            await self._start()
        words = f"private_key={private.hex()}\nlisten_port={PORT}\nfwmark={FIREWALL_MARK}\n"
        await self._ask(f"set=1\n{words}\n")

    async def set_peer(self, peer: Peer) -> None:
        """Add a peer, or change it. WorldError if the device is not there."""
        networks = "".join(f"allowed_ip={network}\n" for network in peer.networks)
        settings = f"replace_allowed_ips=true\nendpoint={peer.endpoint}:{PORT}\n{networks}"
        await self._ask(f"set=1\npublic_key={peer.key.hex()}\n{settings}\n")

    async def remove_peer(self, key: bytes) -> None:
        """Forget a peer and its session; one that is not known is no error. WorldError without a device."""
        await self._ask(f"set=1\npublic_key={key.hex()}\nremove=true\n\n")

    async def read(self) -> DeviceStatus | None:
        """How it stands; None if it is not there."""
        if not self._daemons.running(self._name):
            return None
        try:
            return parse(await self._ask("get=1\n\n"))
        except WorldError:
            return None  # it has just gone

    async def remove(self) -> None:
        """Take the interface away; the program ends with it."""
        if self._daemons.running(self._name):
            await self._daemons.stop(self._name)

    async def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        await self._daemons.start(self._name, ["wireguard-go", "-f", self._name], netns=self._node)
        try:
            async with asyncio.timeout(START_SECONDS):
                while not self._socket.exists() and self._daemons.running(self._name):
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            await self._daemons.stop(self._name)
        if not self._daemons.running(self._name):
            raise WorldError(f"wireguard-go does not start on {self._node}: {self._last_words()}")
        await asyncio.to_thread(netns.ip_batch, self._node, _interface_lines(self._name))

    def _last_words(self) -> str:
        file = self._daemons.log_of(self._name)
        lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
        return lines[-1] if lines else "it says nothing"

    async def _ask(self, question: str) -> str:
        """The answer without its last line. WorldError if there is none, or an error number in it."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(question.encode())
                    answer = (await reader.readuntil(b"\n\n")).decode()
                finally:
                    writer.close()
        except (OSError, EOFError, TimeoutError) as error:
            raise WorldError(f"{INTERFACE} of {self._node} does not answer: {error or type(error).__name__}") from None
        body, _, number = answer.strip().rpartition("errno=")
        if number != "0":
            raise WorldError(f"{INTERFACE} of {self._node} refuses its settings: error {number}")
        return body


def unavailable(tun: Path = TUN) -> str | None:
    """Why this machine cannot have WireGuard; None if it can."""
    try:
        with tun.open("r+b", buffering=0):
            return None
    except OSError as error:
        return f"{tun} cannot be opened ({error.strerror})"


def parse(answer: str) -> DeviceStatus:
    """The answer to ``get=1``."""
    public, port = b"", 0
    peers: list[dict[str, list[str]]] = []
    for key, value in _pairs(answer):
        if key == "private_key":
            public = x25519.public_of(bytes.fromhex(value))
        elif key == "listen_port":
            port = int(value)
        elif key == "public_key":
            peers.append({key: [value]})
        elif peers:
            peers[-1].setdefault(key, []).append(value)
    return DeviceStatus(public, port, tuple(_peer(each) for each in peers))


def _peer(found: dict[str, list[str]]) -> PeerStatus:
    def number(key: str) -> int:
        return int(found.get(key, ["0"])[0])

    return PeerStatus(
        key=bytes.fromhex(found["public_key"][0]),
        endpoint=found.get("endpoint", [""])[0],
        networks=tuple(found.get("allowed_ip", ())),
        handshake=number("last_handshake_time_sec") + number("last_handshake_time_nsec") / 1e9,
        received=number("rx_bytes"),
        sent=number("tx_bytes"),
    )


def _pairs(answer: str) -> Iterator[tuple[str, str]]:
    for line in answer.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            yield key, value


def _interface_lines(name: str) -> list[str]:
    return [f"link set {name} name {INTERFACE}", f"link set {INTERFACE} mtu {topology.POD_MTU} up"]
