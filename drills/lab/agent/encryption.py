"""WireGuard between all nodes: one task takes up what the API says of keys and switches, in its order.

The switches are in ConfigMap kube-system/cilium-config, and the lab follows them at once (Cilium: when its agents
start). ``enable-wireguard: "false"``: plaintext. ``enable-encryption-strict-mode: "true"``: plaintext between pods is
dropped, with reason "Traffic is unencrypted". ``lab-plaintext-fallback: "true"``, which is no key of Cilium's: a route
in plaintext takes over when the device is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from drills.errors import DrillsError, WorldError
from drills.lab import netns, plan
from drills.lab.agent import ciliumnode
from drills.lab.agent.wireguard import STRICT_TABLE, NodeWireGuard, Switches, strict_script
from drills.lab.agent.wireguard_device import INTERFACE, TUN, Device, DeviceStatus, unavailable
from drills.lab.api.resources import CILIUM_NODES, CONFIGMAPS, Resource
from drills.lab.api.store import Store
from drills.lab.api.types import Event, name_of, namespace_of
from drills.lab.daemons import Daemons

CONFIG = ("kube-system", "cilium-config")

log = logging.getLogger("drills.lab.agent")

Step = Callable[[], Awaitable[None]]


class Encryption:
    """WireGuard of all nodes' agents. Without the means for it the nodes talk in plaintext, and ``note`` says why."""

    def __init__(self, store: Store, daemons: Daemons, base: Path = plan.RUN / "cilium", tun: Path = TUN) -> None:
        self.note: str | None = None
        self._store = store
        self._tun = tun
        self._switches = Switches()
        self._strict = False  # in force
        self._nodes = {
            node: NodeWireGuard(node, store, Device(node, daemons), base / node / "state") for node in plan.NODES
        }
        self._queue: asyncio.Queue[Step] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Publish the nodes and open the tunnels between them."""
        for node in plan.NODES:
            ciliumnode.publish(self._store, node)
        self._switches = Switches.of(self._store.find(CONFIGMAPS, *CONFIG))
        why = unavailable(self._tun)
        if why is None and self._switches.wireguard:
            try:
                await self._open()
            except WorldError as error:
                why = str(error)
                await self._close()
        if why is not None:
            self.note = f"The lab runs without WireGuard, its nodes talk in plaintext: {why.rstrip('.')}."
            log.warning("%s", self.note)
        self._store.listen(self._changed)
        self._task = asyncio.create_task(self._work(), name="cilium wireguard")

    async def stop(self) -> None:
        """End the devices."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._each(lambda node: node.device.remove())

    def restart(self, node: str, then: Callable[[], None]) -> None:
        """An agent starts: it looks after key, device, annotation, peers and routes. ``then`` is called at the end."""

        async def step() -> None:
            try:
                if self._on:
                    await self._nodes[node].prepare()
                    await self._nodes[node].meet()
                    await self._nodes[node].route(self._switches)
            finally:
                then()

        self._queue.put_nowait(step)

    def state_of(self, node: str) -> Path:
        """What an agent's container shows as /var/run/cilium/state."""
        return self._nodes[node].state

    async def status(self, node: str) -> DeviceStatus | str | None:
        """A node's device; a sentence if it should be there and is not; None where encryption is off."""
        if not self._on:
            return None
        return await self._nodes[node].device.read() or f"device {INTERFACE} not found"

    def unencrypted(self, node: str) -> int:
        """Packets of a node that strict mode dropped so far. Blocks for about a millisecond."""
        if not self._strict:
            return 0
        answer = json.loads(netns.nft(node, f"list counters table {STRICT_TABLE}\n", json=True))
        return sum(int(entry["counter"]["packets"]) for entry in answer["nftables"] if "counter" in entry)

    @property
    def _on(self) -> bool:
        return self.note is None and self._switches.wireguard

    def _changed(self, resource: Resource, event: Event) -> None:
        if resource is CILIUM_NODES and event.type != "DELETED":
            name = name_of(event.obj)
            self._queue.put_nowait(lambda: self._follow(name))
        elif resource is CONFIGMAPS and (namespace_of(event.obj), name_of(event.obj)) == CONFIG:
            self._queue.put_nowait(self._switch)

    async def _work(self) -> None:
        while True:
            step = await self._queue.get()
            try:
                await step()
            except DrillsError as error:
                log.error("%s", error)  # noqa: TRY400  the sentence is enough
            except Exception:
                log.exception("WireGuard could not be changed")  # an edge: the next change must find somebody

    async def _follow(self, changed: str) -> None:
        """A node's key as it is now, for the agents of the others."""
        found = self._store.find(CILIUM_NODES, None, changed)
        if self._on and found is not None:
            key = ciliumnode.key_in(found)
            await self._each(lambda node: node.learn(changed, key), without=changed)

    async def _switch(self) -> None:
        new = Switches.of(self._store.find(CONFIGMAPS, *CONFIG))
        old, self._switches = self._switches, new
        if self.note is not None or new == old:
            return
        if new.wireguard and not old.wireguard:
            await self._open()
        elif old.wireguard and not new.wireguard:
            await self._close()
        elif new.fallback != old.fallback:
            await self._each(lambda node: node.set_fallback(new))
        if new.strict != old.strict:
            await self._each(lambda node: asyncio.to_thread(netns.nft, node.node, strict_script(new)))
            self._strict = self._strict or new.strict

    async def _open(self) -> None:
        await self._each(lambda node: node.prepare())
        await self._each(lambda node: node.meet())
        await self._each(lambda node: node.route(self._switches))

    async def _close(self) -> None:
        plain = Switches(wireguard=False)
        await self._each(lambda node: node.route(plain))
        await self._each(lambda node: node.device.remove())

    async def _each(self, what: Callable[[NodeWireGuard], Awaitable[object]], *, without: str = "") -> None:
        """On all nodes at once; the first failure of any, when all are through."""
        outcomes = await asyncio.gather(
            *(what(node) for node in self._nodes.values() if node.node != without), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
