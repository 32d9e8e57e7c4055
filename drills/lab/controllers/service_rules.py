"""Cluster IPs: their translation to a ready pod, in the network namespace of whoever connects.

Translating in the client's own namespace (nat output) is close to Cilium's socket load balancing: policy
and logs see the pod's address and port, and the client's address is kept (LAB.md). A Service without a
ready pod answers with a reset, as Cilium does with ``service-no-backend-response=reject``.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from drills.errors import WorldError
from drills.lab import netns, plan
from drills.lab.api.resources import ENDPOINTSLICES, SERVICES, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Obj, name_of, namespace_of
from drills.lab.controllers.endpoints import SERVICE_NAME

log = logging.getLogger("drills.lab.services")

TABLE = "services"
SETTLE = 0.02  # seconds in which changes are gathered: a starting lab makes many at once


@dataclass(frozen=True, slots=True)
class Frontend:
    """One port of a cluster IP and the pods that answer for it."""

    address: str
    port: int
    protocol: str  # tcp or udp
    backends: tuple[tuple[str, int], ...]  # address, port


def frontends(services: Iterable[Obj], slices: Iterable[Obj]) -> list[Frontend]:
    """All ports of all cluster IPs, in a stable order."""
    behind: dict[tuple[str | None, str], list[Obj]] = {}
    for piece in slices:
        owner = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME)
        if owner:
            behind.setdefault((namespace_of(piece), owner), []).append(piece)
    found = []
    for service in services:
        spec = service.get("spec") or {}
        address = spec.get("clusterIP")
        if spec.get("type") == "ExternalName" or address in (None, "", "None"):
            continue
        pieces = behind.get((namespace_of(service), name_of(service)), [])
        for port in spec.get("ports") or []:
            protocol = (port.get("protocol") or "TCP").lower()
            if protocol in ("tcp", "udp"):
                found.append(Frontend(address, int(port["port"]), protocol, _backends(pieces, port)))
    return sorted(found, key=lambda item: (item.address, item.port, item.protocol))


def render(found: Iterable[Frontend]) -> str:
    """One nftables transaction that puts exactly these rules in place; connections that are there go on."""
    lines = [
        f"add table ip {TABLE}",
        f"add chain ip {TABLE} translate {{ type nat hook output priority -100; }}",
        f"add chain ip {TABLE} refuse {{ type filter hook output priority 0; }}",
        f"flush chain ip {TABLE} translate",
        f"flush chain ip {TABLE} refuse",
    ]
    for item in found:
        match = f"ip daddr {item.address} {item.protocol} dport {item.port}"
        if item.backends:
            choices = ", ".join(f"{i} : {address} . {port}" for i, (address, port) in enumerate(item.backends))
            target = f"numgen random mod {len(item.backends)} map {{ {choices} }}"
            lines.append(f"add rule ip {TABLE} translate {match} dnat ip to {target}")
        else:
            answer = "tcp reset" if item.protocol == "tcp" else "icmp port-unreachable"
            lines.append(f"add rule ip {TABLE} refuse {match} reject with {answer}")
    return "\n".join(lines) + "\n"


class ServiceProxy:
    """Keeps the rules in every namespace that has attached; implements `ServiceRules`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, None] = {}
        self._script = self._render()
        self._dirty = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._writing = threading.Lock()

    async def attach(self, netns: str) -> None:
        """Write the present rules into a namespace and keep them up to date."""
        self._names[netns] = None
        await asyncio.to_thread(self._write, netns)

    def detach(self, netns: str) -> None:
        """Forget a namespace that is about to go."""
        self._names.pop(netns, None)

    async def run(self) -> None:
        """Follow the Store for ever; cancel to end. The nodes' own namespaces are attached first."""
        for node in plan.NODES:
            await self.attach(node)
        followers = [asyncio.create_task(self._follow(resource)) for resource in (SERVICES, ENDPOINTSLICES)]
        try:
            while True:
                await self._dirty.wait()
                await asyncio.sleep(SETTLE)
                self._dirty.clear()
                await self.refresh()
        finally:
            for follower in followers:
                follower.cancel()
            await asyncio.gather(*followers, return_exceptions=True)

    async def refresh(self) -> None:
        """Bring all namespaces up to date with the Store: 10 ms for each, most of which the kernel waits for itself.

        When it returns, they are, whoever began to.
        """
        async with self._refreshing:
            script = self._render()
            if script == self._script:
                return
            self._script = script
            await asyncio.to_thread(self._write_all, list(self._names))

    async def _follow(self, resource: Resource) -> None:
        watch = self._store.watch(resource)
        try:
            async for _ in watch:
                self._dirty.set()
        finally:
            watch.close()

    def _render(self) -> str:
        return render(frontends(self._store.list(SERVICES), self._store.list(ENDPOINTSLICES)))

    def _write_all(self, names: list[str]) -> None:
        for name in names:
            self._write(name)

    def _write(self, name: str) -> None:
        try:
            with self._writing:  # what is written last is what was rendered last
                netns.nft(name, self._script)
        except FileNotFoundError:
            log.debug("namespace %s is gone", name)
            self._names.pop(name, None)
        except WorldError as error:
            log.error("cluster IPs in %s: %s", name, error)  # noqa: TRY400  nft's own message is all there is


def _backends(pieces: Iterable[Obj], port: Obj) -> tuple[tuple[str, int], ...]:
    wanted = (port.get("name") or "", port.get("protocol") or "TCP")
    found = []
    for piece in pieces:
        for number in _numbers(piece, wanted):
            for endpoint in piece.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready", True):
                    found += [(address, number) for address in endpoint.get("addresses") or []]
    return tuple(sorted(set(found)))


def _numbers(piece: Obj, wanted: tuple[str, str]) -> list[int]:
    ports = [port for port in piece.get("ports") or [] if port.get("port")]
    return [int(port["port"]) for port in ports if (port.get("name") or "", port.get("protocol") or "TCP") == wanted]
