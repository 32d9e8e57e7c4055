"""The cluster's DNS: what CoreDNS does in a cluster, served on sockets in the network namespaces of the kube-dns pods.

Queries therefore travel through the real Service, the real policies and the DNS proxy before they
arrive here, and answers travel back the same way.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from contextlib import suppress
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from drills.lab.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, name_of, uid_of
from drills.lab.names import Answer, Endpoint, OutsideNames, ServiceName, resolve
from drills.lab.netns import listener_in

PORT = 53
IDLE_SECONDS = 10.0
RCODES = {"ok": dns.rcode.NOERROR, "nxdomain": dns.rcode.NXDOMAIN, "servfail": dns.rcode.SERVFAIL}

log = logging.getLogger("drills.lab.dns")


class StoreCatalog:
    """The Services of the Store, read anew for every question: nothing can be out of date."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def has_namespace(self, namespace: str) -> bool:
        return self._store.find(NAMESPACES, None, namespace) is not None

    def service(self, namespace: str, name: str) -> ServiceName | None:
        found = self._store.find(SERVICES, namespace, name)
        if found is None:
            return None
        spec = found.get("spec") or {}
        if spec.get("type") == "ExternalName":
            return ServiceName(external_name=spec.get("externalName", ""))
        if spec.get("clusterIP") not in (None, "", "None"):
            return ServiceName(cluster_ip=spec["clusterIP"])
        return ServiceName(endpoints=self._endpoints(namespace, name, spec))

    def _endpoints(self, namespace: str, name: str, spec: Obj) -> tuple[Endpoint, ...]:
        slices = self._store.list(ENDPOINTSLICES, namespace, {"kubernetes.io/service-name": name})
        return tuple(
            Endpoint(address, endpoint.get("hostname") or "")
            for piece in slices
            for endpoint in piece.get("endpoints") or []
            if spec.get("publishNotReadyAddresses") or (endpoint.get("conditions") or {}).get("ready", True)
            for address in endpoint.get("addresses") or []
        )


class Dns:
    """Answers for every pod it was started for. `start` and `stop` are the kubelet's `Served` container."""

    def __init__(self, store: Store) -> None:
        self.outside = OutsideNames()
        self._catalog = StoreCatalog(store)
        self._open: dict[str, tuple[asyncio.DatagramTransport, asyncio.Server]] = {}

    async def start(self, pod: Obj, netns: str) -> None:
        """Serve port 53, UDP and TCP, in the pod's namespace."""
        datagrams = listener_in(netns, "0.0.0.0", PORT, socket.SOCK_DGRAM)  # noqa: S104  the pod's own
        streams = listener_in(netns, "0.0.0.0", PORT)  # noqa: S104  the pod's own
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
        server = await asyncio.start_server(self._serve_stream, sock=streams)
        self._open[uid_of(pod)] = (transport, server)
        log.info("DNS answers in pod %s", name_of(pod))

    async def stop(self, pod: Obj) -> None:
        """Close the pod's sockets."""
        sockets = self._open.pop(uid_of(pod), None)
        if sockets is not None:
            transport, server = sockets
            transport.close()
            server.close()

    @property
    def servers(self) -> int:
        """How many pods answer."""
        return len(self._open)

    def answer(self, wire: bytes, *, limit: int | None = None) -> bytes | None:
        """The response to a query in wire format, cut to ``limit`` bytes (UDP); None for what is no query."""
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException:
            return None
        if query.flags & dns.flags.QR or len(query.question) != 1:
            return None
        response = self._respond(query)
        size = max(query.payload, 512) if limit is not None else 65535
        try:
            return response.to_wire(max_size=size)
        except dns.exception.TooBig:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _respond(self, query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query, recursion_available=True)
        question = query.question[0]
        if question.rdclass != dns.rdataclass.IN:
            response.set_rcode(dns.rcode.NOTIMP)
            return response
        found = resolve(question.name.to_text(), self._catalog, self.outside)
        response.set_rcode(RCODES[found.status])
        _fill(response, question.name, question.rdtype, found)
        if not response.answer and found.status != "servfail":
            response.authority.append(_start_of_authority(question.name))
        return response

    async def _serve_stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                async with asyncio.timeout(IDLE_SECONDS):
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    wire = await reader.readexactly(size)
                response = self.answer(wire)
                if response is None:
                    break
                writer.write(struct.pack("!H", len(response)) + response)
                await writer.drain()
        writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Dns) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # before Python 3.13 asyncio's own transport is no subclass of it
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        response = self._server.answer(data, limit=512)
        if response is not None:
            self._transport.sendto(response, addr)


def _fill(response: dns.message.Message, name: dns.name.Name, kind: dns.rdatatype.RdataType, found: Answer) -> None:
    if kind not in (dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.CNAME, dns.rdatatype.ANY):
        return
    for alias in found.aliases:
        target = dns.name.from_text(alias)
        response.answer.append(dns.rrset.from_text(name, found.ttl, "IN", "CNAME", target.to_text()))
        name = target
    if kind in (dns.rdatatype.A, dns.rdatatype.ANY) and found.addresses:
        response.answer.append(dns.rrset.from_text_list(name, found.ttl, "IN", "A", list(found.addresses)))


def _start_of_authority(name: dns.name.Name) -> dns.rrset.RRset:
    zone = dns.name.from_text("cluster.local")
    owner = zone if name.is_subdomain(zone) else dns.name.root
    return dns.rrset.from_text(
        owner, 5, "IN", "SOA", "ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5"
    )
