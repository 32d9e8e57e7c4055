"""One node's agent: it makes the packet filter, Envoy and the DNS proxy do what the policies say, and watches them."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from aiohttp import web

from drills.cilium import metrics
from drills.cilium.decide import Policies
from drills.cilium.metrics import Direction, DropReason
from drills.errors import DrillsError
from drills.lab import netns, plan
from drills.lab.agent import exporter, nflog, nftables
from drills.lab.agent.cluster import Cluster
from drills.lab.agent.compile import Compiled, PolicyNumbers
from drills.lab.agent.dns_proxy import DnsProxy
from drills.lab.agent.encryption import Encryption
from drills.lab.agent.envoy import Envoy
from drills.lab.agent.observer import Observer
from drills.lab.agent.program import NodeProgram
from drills.lab.agent.transition import bridging
from drills.lab.daemons import Daemons

log = logging.getLogger("drills.lab.agent")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RESPAWN_SECONDS = 0.2
# Connections that a proxy makes in a pod's name must not meet the pod's own source ports, nor the other node's.
_PROXY_PORTS = dict(zip(plan.NODES, ("15100 23999", "24000 31999"), strict=True))


class NodeAgent:
    """The agent of one node. `realise` is called by one task at a time."""

    def __init__(self, node: str, daemons: Daemons, numbers: PolicyNumbers, encryption: Encryption) -> None:
        self.node = node
        self._encryption = encryption
        self.observer = Observer(node, numbers)
        self.compiled = Compiled(NodeProgram(), {}, {})
        self.revision = 0  # of the policies, realised
        self.exporting = True  # whether there is an agent process whose metrics could be read
        self._envoy = Envoy(node, daemons, plan.RUN / "envoy" / node, self.observer.request, self._envoy_ended)
        self._dns = DnsProxy(node, self.observer, self._tell_envoy)
        self._envoy_lock = asyncio.Lock()
        self._names: frozenset[str] = frozenset()
        self._log: socket.socket | None = None
        self._runners: list[web.AppRunner] = []
        self._respawn: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bring everything up with no endpoint. WorldError if the node cannot be policed."""
        await asyncio.to_thread(self._prepare)
        await self._envoy.start()
        await self._dns.start()
        self._log = await asyncio.to_thread(nflog.open_log, self.node, nftables.LOG_GROUP)
        asyncio.get_running_loop().add_reader(self._log, self._read_log)
        await self._serve(plan.AGENT_METRICS_PORT, self._cilium_page)
        await self._serve(plan.HUBBLE_METRICS_PORT, self._hubble_page)

    async def stop(self) -> None:
        """End it; the node's packet filter stays as it is."""
        if self._respawn is not None:
            self._respawn.cancel()
            with suppress(asyncio.CancelledError):
                await self._respawn
        for runner in self._runners:
            await runner.cleanup()
        await self._envoy.stop()
        await self._dns.stop()
        if self._log is not None:
            asyncio.get_running_loop().remove_reader(self._log)
            self._log.close()
            self._log = None

    async def realise(self, compiled: Compiled, cluster: Cluster, policies: Policies, revision: int) -> None:
        """Enforce a program; when this returns, the kernel and Envoy have it. WorldError if they do not take it.

        Envoy goes first: it must know what to do with a request before one is sent to it. What an endpoint will no
        longer send to Envoy stays allowed there until the kernel has changed its mind.
        """
        old, new = self.compiled.program, compiled.program
        if new != old:
            await self._apply_to_envoy(bridging(old, new), compiled)
            names = nftables.names_of(new)
            script = nftables.script(new, self._names - names) + self._dns.learn(new, compiled.fqdns)
            await asyncio.to_thread(netns.nft, self.node, script)
            self._names = names
        self.compiled, self.revision = compiled, revision
        self.observer.learn(cluster, policies)

    async def _apply_to_envoy(self, program: NodeProgram, compiled: Compiled) -> None:
        async with self._envoy_lock:
            named = self._dns.named(program, compiled.fqdns)
            await self._envoy.apply(replace(program, named=named))

    async def _tell_envoy(self) -> None:
        await self._apply_to_envoy(self.compiled.program, self.compiled)

    def restart(self) -> None:
        """What a new agent process does not know: counters of requests, flows. The kernel's counters live on."""
        self.observer.restart()
        self.exporting = True

    def _prepare(self) -> None:
        netns.write_sysctls(self.node, {"ipv4/ip_local_port_range": _PROXY_PORTS[self.node]})
        netns.ip_batch(self.node, nftables.ROUTES)
        netns.nft(self.node, nftables.script(NodeProgram()))

    def _envoy_ended(self, status: int) -> None:
        log.error(
            "Envoy of %s ended (status %d): it is started again, HTTP traffic is closed meanwhile", self.node, status
        )
        self._respawn = asyncio.create_task(self._start_envoy_again(), name=f"respawn envoy {self.node}")

    async def _start_envoy_again(self) -> None:
        while True:
            await asyncio.sleep(RESPAWN_SECONDS)
            await self._envoy.stop()
            try:
                await self._envoy.start()
                await self._tell_envoy()
            except DrillsError as error:
                log.error("%s", error)  # noqa: TRY400 - the sentence is enough
            else:
                return

    def _read_log(self) -> None:
        if self._log is not None:
            packets, lost = nflog.receive(self._log)
            self.observer.packets(packets, lost=lost)

    async def _serve(self, port: int, page: Handler) -> None:
        app = web.Application()
        app.router.add_get("/metrics", page)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        sock = await asyncio.to_thread(netns.listener_in, self.node, str(plan.NODES[self.node]), port)
        await web.SockSite(runner, sock).start()
        self._runners.append(runner)

    async def _cilium_page(self, _request: web.Request) -> web.Response:
        if not self.exporting:
            raise web.HTTPServiceUnavailable(text="the agent is not running\n")
        await self.count()
        return exporter.text_response(self.observer.agent.cilium_page())

    async def _hubble_page(self, _request: web.Request) -> web.Response:
        if not self.exporting:
            raise web.HTTPServiceUnavailable(text="the agent is not running\n")
        return exporter.text_response(self.observer.agent.hubble_page())

    async def count(self) -> None:
        """Bring the counters of `observer.agent` up to date with the kernel's, and the gauges with what is realised."""
        counters = await asyncio.to_thread(exporter.read_counters, self.node)
        agent = self.observer.agent
        agent.packets(counters)
        if unencrypted := await asyncio.to_thread(self._encryption.unencrypted, self.node):
            labels = {"reason": DropReason.UNENCRYPTED_TRAFFIC.text, "direction": Direction.EGRESS.value}
            agent.cilium.set(metrics.DROP_COUNT, unencrypted, **labels)
        for protocol, redirects in self.compiled.program.proxied().items():
            agent.cilium.set(metrics.PROXY_REDIRECTS, len(redirects), protocol_l7=protocol)
        states: list[str] = [policy.enforcement for policy in self.compiled.policies.values()]
        for state in metrics.ENFORCEMENT:
            agent.cilium.set(metrics.POLICY_ENFORCEMENT, states.count(state), enforcement=state)
        agent.cilium.set(metrics.ENDPOINT_STATE, len(states), endpoint_state="ready")
