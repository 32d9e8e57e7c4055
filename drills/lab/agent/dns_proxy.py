"""The DNS proxy of a node: lookups of pods with DNS rules pass through it, and are refused where no rule allows them.

It asks the server in the pod's name, so that the server's own policy sees the pod, and answers in the server's. The
addresses of an answer are open to FQDN rules before the pod hears of them. Facts: Cilium 1.20 ``pkg/fqdn/dnsproxy``
(a refused lookup is REFUSED without an answer section; transparent mode).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from drills.cilium.l7 import DnsRule
from drills.cilium.peers import FqdnPeer
from drills.errors import DrillsError
from drills.lab import netns
from drills.lab.agent import dns_sockets, nftables
from drills.lab.agent.dns_sockets import Address
from drills.lab.agent.flows import Dns
from drills.lab.agent.lookups import Lookups, answers, elements
from drills.lab.agent.observer import Observer
from drills.lab.agent.program import Match, NodeProgram

log = logging.getLogger("drills.lab.agent")

SERVER_SECONDS = 5.0  # a server that is silent for so long answers no more
IDLE_SECONDS = 10.0


@dataclass(slots=True)
class _Asked:
    """A lookup that waits for its server."""

    client: Address
    server: Address
    number: int  # the client's id for it
    query: dns.message.Message
    at: float


class DnsProxy:
    """One node's proxy. ``tell_envoy`` is awaited when there are new addresses that Envoy must know (`named`)."""

    def __init__(self, node: str, observer: Observer, tell_envoy: Callable[[], Awaitable[None]]) -> None:
        self._node = node
        self._observer = observer
        self._tell_envoy = tell_envoy
        self._replying: set[asyncio.Task[None]] = set()
        self._program = NodeProgram()
        self._fqdns: Mapping[str, FqdnPeer] = {}
        self._lookups = Lookups()
        self._listener: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._upstream: dict[str, socket.socket] = {}  # by the client's address, in whose name it speaks
        self._replies: dict[Address, socket.socket] = {}  # by the server's address, in whose name it speaks
        self._asked: dict[tuple[str, int], _Asked] = {}  # by client's address and our id
        self._last = 0

    async def start(self) -> None:
        """Listen. OSError if the port is taken."""
        self._listener = await asyncio.to_thread(dns_sockets.datagram_listener, self._node)
        asyncio.get_running_loop().add_reader(self._listener, self._datagrams)
        stream = await asyncio.to_thread(dns_sockets.stream_listener, self._node)
        self._server = await asyncio.start_server(self._stream, sock=stream)

    async def stop(self) -> None:
        """Close everything."""
        loop = asyncio.get_running_loop()
        if self._server is not None:
            self._server.close()
        for sock in (self._listener, *self._upstream.values()):
            if sock is not None:
                loop.remove_reader(sock)
                sock.close()
        for sock in self._replies.values():
            sock.close()
        self._upstream.clear()
        self._replies.clear()

    def learn(self, program: NodeProgram, fqdns: Mapping[str, FqdnPeer]) -> str:
        """Follow a program from now on; returns the nftables commands that fill its FQDN sets."""
        self._program, self._fqdns = program, fqdns
        present = {str(endpoint.address) for endpoint in program.endpoints}
        for address in self._upstream.keys() - present:
            sock = self._upstream.pop(address)
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._lookups.forget(time.monotonic())
        return self._fill()

    def named(self, program: NodeProgram, fqdns: Mapping[str, FqdnPeer]) -> dict[str, tuple[IPv4Address, ...]]:
        """The addresses, known at this moment, of the sets that Envoy must know."""
        now = time.monotonic()
        sets = program.fqdn_sets_of_envoy & fqdns.keys()
        return {name: tuple(sorted(self._lookups.addresses(fqdns[name], now))) for name in sets}

    # UDP

    def _datagrams(self) -> None:
        assert self._listener is not None
        while (found := dns_sockets.receive(self._listener)) is not None:
            data, client, server = found
            try:
                query = dns.message.from_wire(data)
            except dns.exception.DNSException:
                continue
            if query.question and not query.flags & dns.flags.QR:
                self._query(data, query, client, server)

    def _query(self, data: bytes, query: dns.message.Message, client: Address, server: Address) -> None:
        if not self._allowed(query, client, server, "UDP"):
            self._reply(_refusal(query), client, server)
            return
        upstream = self._upstream_of(client[0])
        self._last = (self._last + 1) % 65_536
        self._asked[client[0], self._last] = _Asked(client, server, query.id, query, time.time())
        self._forget_unanswered()
        with suppress(OSError):
            upstream.sendto(self._last.to_bytes(2, "big") + data[2:], server)

    def _answers(self, client: str) -> None:
        upstream = self._upstream[client]
        while True:
            try:
                data, server = upstream.recvfrom(dns_sockets.MAX_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier datagram
            asked = self._asked.get((client, int.from_bytes(data[:2], "big")))
            if asked is None or asked.server != server:
                continue
            del self._asked[client, int.from_bytes(data[:2], "big")]
            wire = asked.number.to_bytes(2, "big") + data[2:]
            if self._answer(data, asked.query, "UDP", asked.client, asked.server, asked.at):
                task = asyncio.create_task(self._reply_after_envoy(wire, asked.client, asked.server))
                self._replying.add(task)
                task.add_done_callback(self._replying.discard)
            else:
                self._reply(wire, asked.client, asked.server)

    async def _reply_after_envoy(self, data: bytes, client: Address, server: Address) -> None:
        with suppress(DrillsError):  # what Envoy does not know stays closed there
            await self._tell_envoy()
        self._reply(data, client, server)

    def _upstream_of(self, client: str) -> socket.socket:
        sock = self._upstream.get(client)
        if sock is None:
            mark = nftables.FROM_EGRESS_PROXY
            sock = dns_sockets.transparent(self._node, socket.SOCK_DGRAM, (client, 0), mark=mark)
            self._upstream[client] = sock
            asyncio.get_running_loop().add_reader(sock, self._answers, client)
        return sock

    def _reply(self, data: bytes, client: Address, server: Address) -> None:
        sock = self._replies.get(server)
        if sock is None:
            sock = self._replies[server] = dns_sockets.transparent(self._node, socket.SOCK_DGRAM, server)
        with suppress(OSError):
            sock.sendto(data, client)

    def _forget_unanswered(self) -> None:
        limit = time.time() - SERVER_SECONDS
        while self._asked:
            key = next(iter(self._asked))
            if self._asked[key].at >= limit:
                return
            del self._asked[key]

    # TCP

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client, server = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
        try:
            while (data := await _read_message(reader)) is not None:
                query = dns.message.from_wire(data)
                if self._allowed(query, client, server, "TCP"):
                    at = time.time()
                    answer = await self._ask_by_stream(data, client, server)
                    if self._answer(answer, query, "TCP", client, server, at):
                        with suppress(DrillsError):
                            await self._tell_envoy()
                else:
                    answer = _refusal(query)
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, dns.exception.DNSException):
            pass
        finally:
            writer.close()

    async def _ask_by_stream(self, data: bytes, client: Address, server: Address) -> bytes:
        sock = dns_sockets.transparent(self._node, socket.SOCK_STREAM, (client[0], 0), mark=nftables.FROM_EGRESS_PROXY)
        async with asyncio.timeout(SERVER_SECONDS):
            try:
                await asyncio.get_running_loop().sock_connect(sock, server)
            except BaseException:
                sock.close()
                raise
            reader, writer = await asyncio.open_connection(sock=sock)
            try:
                writer.write(len(data).to_bytes(2, "big") + data)
                answer = await _read_message(reader)
            finally:
                writer.close()
        if answer is None:
            raise OSError("the DNS server hung up")
        return answer

    # both

    def _allowed(self, query: dns.message.Message, client: Address, server: Address, protocol: str) -> bool:
        name = query.question[0].name.to_text()
        allowed = any(rule.matches(name) for rule in self._rules(client, server, protocol))
        seen = Dns(name, (dns.rdatatype.to_text(query.question[0].rdtype),))
        self._observer.lookup(time.time(), protocol, _end(client), _end(server), seen, denied=not allowed)
        return allowed

    def _rules(self, client: Address, server: Address, protocol: str) -> Iterator[DnsRule]:
        """The rules for lookups of a client at a server; where its traffic is allowed without rules, one for all."""
        source, destination = IPv4Address(client[0]), IPv4Address(server[0])
        managed = frozenset(self._program.managed)

        def meant(match: Match) -> bool:
            named = frozenset(self._named(match.peers.fqdn))
            return match.ports.matches(protocol.lower(), server[1]) and match.peers.matches(destination, managed, named)

        for endpoint in self._program.endpoints:
            if endpoint.address == source:
                if any(meant(match) for match in endpoint.egress.allow):
                    yield DnsRule(pattern="*")
                for dns_match in endpoint.egress.dns:
                    if meant(dns_match.match):
                        yield from dns_match.rules

    def _named(self, fqdn: str | None) -> Mapping[IPv4Address, float]:
        peer = self._fqdns.get(fqdn or "")
        return {} if peer is None else self._lookups.addresses(peer, time.monotonic())

    def _answer(
        self, data: bytes, query: dns.message.Message, protocol: str, client: Address, server: Address, asked: float
    ) -> bool:
        """Learn what an answer says, and open its addresses, before the client gets it; true if Envoy must be told."""
        try:
            message = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return False
        found = answers(message)
        name = query.question[0].name.to_text()
        envoy_too = False
        if found:
            before = self.named(self._program, self._fqdns)
            self._lookups.learn(name, found, time.monotonic())
            envoy_too = self.named(self._program, self._fqdns) != before
            commands = self._fill(name)
            if commands:
                netns.nft(self._node, commands)  # 0.3 ms; the answer must not overtake it
        seen = Dns(
            query=name,
            qtypes=(dns.rdatatype.to_text(query.question[0].rdtype),),
            rcode=message.rcode(),
            ips=tuple(map(str, found)),
            ttl=min(found.values(), default=0),
        )
        now = time.time()
        self._observer.answer(now, protocol, _end(client), _end(server), seen, now - asked)
        return envoy_too

    def _fill(self, name: str | None = None) -> str:
        """Commands that put what is known into the FQDN sets: all, or those that mean one name."""
        now = time.monotonic()
        lines: list[str] = []
        for set_name, peer in self._fqdns.items():
            if name is not None and not peer.matches_name(name):
                continue
            inside = elements(self._lookups.addresses(peer, now).items())
            if inside:
                place = f"element {nftables.TABLE} {nftables.fqdn_set(set_name)} {{ {inside} }}"
                # an element that is there keeps its timeout: take it out and put it back, in one transaction
                lines += [f"add {place}", f"delete {place}", f"add {place}"]
        return "\n".join([*lines, ""]) if lines else ""


def _refusal(query: dns.message.Message) -> bytes:
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.REFUSED)
    return response.to_wire()


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    async with asyncio.timeout(IDLE_SECONDS):
        try:
            size = await reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return None
        return await reader.readexactly(int.from_bytes(size, "big"))


def _end(address: Address) -> tuple[IPv4Address, int]:
    return IPv4Address(address[0]), address[1]
