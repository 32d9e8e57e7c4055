"""Whether the nodes reach each other: cilium-health's probes of the other nodes and of their health endpoints.

The probe of a health endpoint is pod traffic: it comes from the node's router address and goes to an address of the
other node's pod network, so it takes the way (and the encryption) that pods take.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from drills.cilium import metrics
from drills.lab import netns, plan
from drills.lab.agent.observer import Observer
from drills.lab.settings import LabSettings

PERIOD_SECONDS = 60.0  # of playbook time: Cilium's probe interval
TIMEOUT_SECONDS = 3.0  # on the wall, at most; never longer than the period
FIRST_SECONDS = 0.25  # on the wall, between two probes until the nodes have met
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Health:
    """Probes between all nodes, and the listeners that answer them."""

    def __init__(self, observers: Mapping[str, Observer], settings: LabSettings) -> None:
        self._observers = observers
        self._period = settings.seconds(PERIOD_SECONDS)
        self._servers: list[asyncio.Server] = []
        self._task: asyncio.Task[None] | None = None
        self._now = asyncio.Event()
        self._met = asyncio.Event()

    async def start(self) -> None:
        """Listen on every node, and probe from now on. OSError if a port is taken."""
        for node in self._observers:
            for address in (plan.NODES[node], plan.health_of(node)):
                sock = await asyncio.to_thread(netns.listener_in, node, str(address), plan.HEALTH_PORT)
                self._servers.append(await asyncio.start_server(_answer, sock=sock))
        self._task = asyncio.create_task(self._probe_forever(), name="cilium-health")

    async def stop(self) -> None:
        """Stop probing and answering."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for server in self._servers:
            server.close()

    async def met(self) -> None:
        """Return when every node has reached all others as pods do: through the tunnels, if there are any."""
        await self._met.wait()

    def probe_now(self) -> None:
        """Probe without waiting for the period's end, as an agent does that has just started."""
        self._now.set()

    async def _probe_forever(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._now.clear()
            if all(await asyncio.gather(*(self._probe_from(node) for node in self._observers))):
                self._met.set()
            due = max(due + (self._period if self._met.is_set() else FIRST_SECONDS), loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._now.wait()

    async def _probe_from(self, node: str) -> bool:
        """Whether it reaches all others."""
        others = [other for other in self._observers if other != node]
        router = str(plan.router_of(node))
        nodes, endpoints = await asyncio.gather(
            asyncio.gather(*(self._reaches(node, str(plan.NODES[other])) for other in others)),
            asyncio.gather(*(self._reaches(node, str(plan.health_of(other)), source=router) for other in others)),
        )
        counts = self._observers[node].agent.cilium
        for kind, found in (("node", nodes), ("endpoint", endpoints)):
            for status, number in (("reachable", sum(found)), ("unreachable", len(found) - sum(found)), ("unknown", 0)):
                counts.set(metrics.HEALTH_STATUS, number, type=kind, status=status)
        counts.set(metrics.UNREACHABLE_NODES, len(nodes) - sum(nodes))
        counts.set(metrics.UNREACHABLE_HEALTH_ENDPOINTS, len(endpoints) - sum(endpoints))
        return all((*nodes, *endpoints))

    async def _reaches(self, node: str, address: str, *, source: str | None = None) -> bool:
        sock = netns.socket_in(node)
        sock.setblocking(False)
        try:
            if source is not None:
                sock.bind((source, 0))
            async with asyncio.timeout(min(TIMEOUT_SECONDS, self._period)):
                await asyncio.get_running_loop().sock_connect(sock, (address, plan.HEALTH_PORT))
        except (OSError, TimeoutError):
            return False
        finally:
            sock.close()
        return True


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    writer.close()
