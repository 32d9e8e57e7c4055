"""Rounds of generated policies and flows, in namespaces of their own: prints what became of each flow as JSON.

Run by test_policy_differential.py inside ``unshare``, with a seed and a number of rounds. Kernel, Envoy and DNS proxy
are real, and so are the attempts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from policy_flows import NAMESPACES, NODES, OUTSIDE, PODS, PORTS, WORLD, Chance, FlowSpec, PodSpec

from drills.lab import netns, plan, topology
from drills.lab.agent.agents import Agents
from drills.lab.api.resources import CCNP, CNP
from drills.lab.api.resources import NAMESPACES as NAMESPACE
from drills.lab.api.resources import PODS as POD
from drills.lab.api.store import Store
from drills.lab.api.types import Obj
from drills.lab.daemons import Daemons
from drills.lab.dns import Dns
from drills.lab.settings import LabSettings

FLOWS = 240
TIMEOUT = 3.0  # of each phase of an attempt, on the wall
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes"
PROBER = Path(__file__).with_name("policy_prober.py")


class Lab:
    """The pods, the agents and a prober in every namespace that flows come from."""

    def __init__(self) -> None:
        self.store = Store()
        self.agents = Agents(self.store, LabSettings(time_lapse=60), Daemons(Path("/run/log")))
        self.dns = Dns(self.store)
        self.probers: dict[str, asyncio.subprocess.Process] = {}

    async def start(self) -> None:
        topology.build()
        await self.agents.start()
        for name, labels in NAMESPACES.items():
            self.store.create(NAMESPACE, {"metadata": {"name": name, "labels": labels}})
        for pod in PODS:
            topology.add_pod(pod.name, pod.address)
            await self.agents.add_endpoint(self._pod(pod))
        await self.dns.start(self.store.get(POD, "kube-system", "dns"), "dns")
        for name in (*(pod.name for pod in PODS if pod.name != "dns"), WORLD):
            for port in PORTS:
                await asyncio.start_server(answer, sock=netns.listener_in(name, "0.0.0.0", port))
        for name in (*(pod.name for pod in PODS if pod.name != "dns"), WORLD, *NODES):
            self.probers[name] = await asyncio.create_subprocess_exec(
                *("nsenter", f"--net={netns.NETNS_DIR / name}", "--", sys.executable, str(PROBER)),
                *(() if name in NODES else ("own-ports",)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                limit=2**24,
            )

    def _pod(self, pod: PodSpec) -> Obj:
        spec = {
            "nodeName": plan.node_of(pod.address),
            "containers": [{"name": "c", "image": "x", "ports": [*pod.ports]}],
        }
        metadata = {"name": pod.name, "namespace": pod.namespace, "labels": pod.labels}
        self.store.create(POD, {"metadata": metadata, "spec": spec})
        return self.store.set_status(POD, pod.namespace, pod.name, {"podIP": pod.address, "phase": "Running"})

    async def apply(self, policies: list[Obj]) -> None:
        for policy in policies:
            self.store.create(CNP if "namespace" in policy["metadata"] else CCNP, policy)
        await self.agents.settled()

    async def remove(self, policies: list[Obj]) -> None:
        for policy in policies:
            metadata = policy["metadata"]
            self.store.delete(CNP if "namespace" in metadata else CCNP, metadata.get("namespace"), metadata["name"])

    async def probe(self, flows: list[FlowSpec]) -> list[Any]:
        """The probe's record of each flow."""
        sources = {name: [each for each in flows if each.source == name] for name in self.probers}
        found = await asyncio.gather(*(self._ask(name, wanted) for name, wanted in sources.items()))
        records = {id(flow): record for pairs in found for flow, record in pairs}
        return [records[id(flow)] for flow in flows]

    async def _ask(self, source: str, flows: list[FlowSpec]) -> list[tuple[FlowSpec, Any]]:
        prober = self.probers[source]
        assert prober.stdin is not None
        assert prober.stdout is not None
        prober.stdin.write(json.dumps([attempt(each) for each in flows]).encode() + b"\n")
        return list(zip(flows, json.loads(await prober.stdout.readline()), strict=True))

    async def stop(self) -> None:
        for prober in self.probers.values():
            prober.kill()
        await self.agents.stop()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """200 to whatever request; nothing to whoever asks nothing."""
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ANSWER)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


def attempt(flow: FlowSpec) -> tuple[str, str | None, Any]:
    """A flow as the prober takes it."""
    addresses = {pod.name: pod.address for pod in PODS}
    config: dict[str, Any] = {
        "host": "host",
        "port": flow.port,
        "rate": 1,
        "count": 1,
        "deadline": 60,
        "timeout": TIMEOUT,
    }
    if flow.kind == "dns":
        return "dns", None, config | {"host": f"{flow.name}.", "nameserver": addresses["dns"]}
    if flow.kind == "http":
        config |= {"method": flow.method, "target": flow.path, "headers": flow.headers}
    return flow.kind, addresses.get(flow.destination, flow.destination), config


async def main(seed: int, rounds: int) -> None:
    lab, chance, done = Lab(), Chance(seed), []
    await lab.start()
    for _ in range(rounds):
        policies, flows = chance.policies(), chance.flows(FLOWS)
        await lab.apply(policies)
        records = await lab.probe(flows)
        done.append({"policies": policies, "flows": [asdict(each) for each in flows], "records": records})
        await lab.remove(policies)
    await lab.stop()
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    assert OUTSIDE
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
