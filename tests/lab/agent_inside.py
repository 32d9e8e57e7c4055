"""Two nodes, four pods and the agents, in namespaces of their own: prints what happened as one JSON document.

Run by test_agent.py inside ``unshare``; the network, the packet filter, Envoy and the web servers are real.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp

from drills.lab import netns, plan, topology
from drills.lab.agent.agents import Agents
from drills.lab.api.resources import CILIUM_ENDPOINTS, CNP, NAMESPACES, PODS
from drills.lab.api.store import Store
from drills.lab.api.types import Obj
from drills.lab.daemons import Daemons
from drills.lab.dns import Dns
from drills.lab.runtime.builtin import BuiltinProcess
from drills.lab.settings import LabSettings

WEB = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{self.client_address[0]} {self.command} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
Server(("", 80), Handler).serve_forever()
"""
PODS_WANTED = {
    "client": ("frontend", {"app": "frontend"}, "10.244.1.10"),
    "stranger": ("frontend", {"app": "stranger"}, "10.244.1.11"),
    "near": ("backend", {"app": "api"}, "10.244.1.12"),
    "far": ("backend", {"app": "api"}, "10.244.2.10"),
    "dns": ("kube-system", {"k8s-app": "kube-dns"}, "10.244.2.11"),
}
FRONTEND = {"matchLabels": {"app": "frontend", "io.kubernetes.pod.namespace": "frontend"}}
HTTP = {"http": [{"method": "GET", "path": "/public/.*"}, {"method": "GET", "path": "/", "headers": ["X-Key: 1"]}]}
PORT = {"ports": [{"port": "80", "protocol": "TCP"}]}


def policy(name: str, namespace: str, **spec: Any) -> Obj:
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


class World:
    def __init__(self) -> None:
        self.store = Store()
        self.agents = Agents(self.store, LabSettings(time_lapse=60), Daemons(Path("/run/log")))
        self.dns = Dns(self.store)
        self.facts: dict[str, Any] = {}
        self.web: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        topology.build()
        began = time.monotonic()
        await self.agents.start()
        self.facts["start"] = time.monotonic() - began
        for namespace in ("kube-system", "frontend", "backend"):
            self.store.create(NAMESPACES, {"metadata": {"name": namespace}})
        for name, (namespace, labels, address) in PODS_WANTED.items():
            topology.add_pod(name, address)
            began = time.monotonic()
            await self.agents.add_endpoint(self.pod(name, namespace, labels, address))
            self.facts["add"] = time.monotonic() - began
        await self.dns.start(self.store.get(PODS, "kube-system", "dns"), "dns")
        for name in ("near", "far", "world"):
            command = ["nsenter", f"--net={netns.NETNS_DIR / name}", "--", sys.executable, "-c", WEB]
            self.web.append(subprocess.Popen(command))
        for name in ("near", "far"):
            while (await self.curl("client", name, "/"))["code"] != 200:
                await asyncio.sleep(0.02)

    def pod(self, name: str, namespace: str, labels: dict[str, str], address: str) -> Obj:
        self.store.create(
            PODS,
            {
                "metadata": {"name": name, "namespace": namespace, "labels": labels},
                "spec": {
                    "nodeName": plan.node_of(address),
                    "containers": [{"name": "c", "image": "x", "ports": [{"name": "web", "containerPort": 80}]}],
                },
            },
        )
        return self.store.set_status(PODS, namespace, name, {"podIP": address, "phase": "Running"})

    async def apply(self, obj: Obj) -> float:
        """Create or replace a policy; seconds until every node has it."""
        began = time.monotonic()
        meta = obj["metadata"]
        if self.store.find(CNP, meta["namespace"], meta["name"]) is None:
            self.store.create(CNP, obj)
        else:
            self.store.update(CNP, obj)
        await self.agents.settled()
        return time.monotonic() - began

    async def remove(self, namespace: str, name: str) -> None:
        self.store.delete(CNP, namespace, name)
        await self.agents.settled()

    async def curl(self, source: str, target: str, path: str, *extra: str, timeout: str = "1.2") -> dict[str, Any]:
        address = PODS_WANTED[target][2] if target in PODS_WANTED else target
        process = await asyncio.create_subprocess_exec(
            *("nsenter", f"--net={netns.NETNS_DIR / source}", "--", "curl", "-sS", "--path-as-is", "-m", timeout),
            *("-D", "/dev/stderr", "-w", "\n%{http_code} %{local_port}", *extra, f"http://{address}{path}"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        body, _, last = out.decode().rpartition("\n")
        code, port = last.split()
        return {
            "code": int(code), "body": body, "head": err.decode().lower(), "exit": process.returncode, "port": int(port)
        }  # fmt: skip

    async def code(self, source: str, target: str, path: str, *extra: str) -> int:
        found = await self.curl(source, target, path, *extra)
        return int(found["code"])

    async def metrics(self, node: str, port: int = plan.AGENT_METRICS_PORT) -> dict[str, float]:
        await asyncio.sleep(0.12)  # Envoy hands its log over every 50 ms
        async with aiohttp.ClientSession() as session, session.get(f"http://{plan.NODES[node]}:{port}/metrics") as got:
            lines = (await got.text()).splitlines()
        return {key: float(value) for key, _, value in (s.rpartition(" ") for s in lines if not s.startswith("#"))}

    async def exec(self, node: str, *argv: str) -> tuple[int, str, str]:
        process = BuiltinProcess(self.agents.commands()[argv[0]], node, argv)
        out = b"".join([chunk async for chunk in process.stdout]).decode()
        err = b"".join([chunk async for chunk in process.stderr]).decode()
        return await process.wait(), out, err


async def http_rules(world: World) -> None:
    facts = world.facts
    rule = {"fromEndpoints": [FRONTEND], "toPorts": [{**PORT, "rules": HTTP}]}
    before = {node: await world.metrics(node) for node in plan.NODES}
    facts["apply"] = await world.apply(
        policy("http", "backend", endpointSelector={"matchLabels": {"app": "api"}}, ingress=[rule])
    )
    paths = ("/public/x", "/public/x?q=1", "/", "/admin", "/public/../admin", "//admin", "/public/%2e%2e/admin",
             "/public/..%2fadmin", "/public/%2E%2E%2Fadmin", "/PUBLIC/x", "/publicx")  # fmt: skip
    facts["paths"] = {
        target: {path: await world.code("client", target, path) for path in paths} for target in ("near", "far")
    }
    facts["header"] = await world.code("client", "far", "/", "-H", "X-Key: 1")
    facts["wrong header"] = await world.code("client", "far", "/", "-H", "X-Key: 12")
    facts["post"] = await world.code("client", "far", "/public/x", "-X", "POST", "-d", "x")
    facts["denied"] = await world.curl("client", "far", "/admin/config")
    facts["allowed"] = await world.curl("client", "far", "/public/y")
    facts["upgrade"] = await world.curl("client", "far", "/public/y", "-H", "Connection: upgrade", "-H", "Upgrade: x")
    facts["before"], facts["after"] = before, {node: await world.metrics(node) for node in plan.NODES}
    _, out, _ = await world.exec("k8s-w2", "hubble", "observe", "-o", "jsonpb", "-t", "l7", "--since", "1m")
    facts["l7 flows"] = [json.loads(line) for line in out.splitlines()]
    facts["policy"] = world.store.get(CNP, "backend", "http")["status"]


async def drops(world: World) -> None:
    facts = world.facts
    ingress = await world.metrics("k8s-w2")
    facts["stranger"] = await world.curl("stranger", "far", "/public/x")
    await world.apply(policy("cut", "frontend", endpointSelector={"matchLabels": {"app": "stranger"}}, egress=[{}]))
    egress = await world.metrics("k8s-w1")
    facts["cut"] = await world.curl("stranger", "far", "/public/x")
    deny = [{"fromEndpoints": [FRONTEND], "toPorts": [PORT]}]
    await world.apply(policy("deny", "backend", endpointSelector={}, ingressDeny=deny, log={"value": "drill-7"}))
    facts["deny"] = await world.curl("client", "far", "/public/x")
    facts["from node"] = (await _from_node("k8s-w2", "far"), await _from_node("k8s-w1", "far"))
    facts["drop counts"] = {
        "ingress": (ingress, await world.metrics("k8s-w2")),
        "egress": (egress, await world.metrics("k8s-w1")),
    }
    for node in plan.NODES:
        _, out, _ = await world.exec(node, "hubble", "observe", "-o", "json", "--verdict", "DROPPED", "--since", "1m")
        facts[f"drops {node}"] = [json.loads(line) for line in out.splitlines()]
    facts["hubble"] = await world.metrics("k8s-w2", plan.HUBBLE_METRICS_PORT)
    await world.remove("backend", "deny")
    await world.remove("frontend", "cut")


async def _from_node(node: str, target: str) -> int:
    command = ["nsenter", f"--net={netns.NETNS_DIR / node}", "--", "curl", "-s", "-m", "1.2", "-o", "/dev/null"]
    process = await asyncio.create_subprocess_exec(
        *command, "-w", "%{http_code}", f"http://{PODS_WANTED[target][2]}/public/x", stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    return int(out)


async def egress_rules(world: World) -> None:
    facts = world.facts
    peers = [{"matchLabels": {"app": "api", "io.kubernetes.pod.namespace": "backend"}}]
    rules = {"http": [{"path": "/(public/.*|admin)"}]}
    egress = [{"toEndpoints": peers, "toPorts": [{**PORT, "rules": rules}]}]
    await world.apply(policy("out", "frontend", endpointSelector={"matchLabels": {"app": "frontend"}}, egress=egress))
    facts["egress"] = {
        target: {path: await world.curl("client", target, path) for path in ("/public/x", "/admin", "/other")}
        for target in ("near", "far")
    }
    # the target's own policy still sees the client behind the proxy: allow nobody, and it must not get through
    await world.apply(policy("http", "backend", endpointSelector={"matchLabels": {"app": "api"}}, ingress=[{}]))
    facts["egress closed"] = await asyncio.gather(
        *(world.curl("client", target, "/public/x", timeout="2.5") for target in ("near", "far"))
    )
    await world.remove("frontend", "out")
    await world.remove("backend", "http")


LOOKUP = """
import sys
import dns.exception, dns.message, dns.query, dns.rcode
server, name, tcp = sys.argv[1:]
query = dns.message.make_query(name, "A")
try:
    answer = (dns.query.tcp if tcp == "tcp" else dns.query.udp)(query, server, timeout=1.2)
except (dns.exception.Timeout, OSError) as error:
    print(type(error).__name__)
else:
    print(dns.rcode.to_text(answer.rcode()), *(item.address for rrset in answer.answer for item in rrset))
"""


async def lookup(source: str, name: str, how: str = "udp") -> list[str]:
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={netns.NETNS_DIR / source}", "--", sys.executable, "-c", LOOKUP),
        *(PODS_WANTED["dns"][2], name, how),
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return out.decode().split()


async def names(world: World) -> None:
    """Only lookups of *.example.com, and only one name may be connected to; the DNS pod admits the client alone."""
    facts = world.facts
    dns_pod = {"matchLabels": {"k8s-app": "kube-dns", "io.kubernetes.pod.namespace": "kube-system"}}
    port = {"ports": [{"port": "53", "protocol": "ANY"}]}
    egress = [
        {"toEndpoints": [dns_pod], "toPorts": [{**port, "rules": {"dns": [{"matchPattern": "*.example.com"}]}}]},
        {"toFQDNs": [{"matchName": "good.example.com"}], "toPorts": [PORT]},
    ]
    frontend = {"matchLabels": {"app": "frontend"}}
    await world.apply(policy("names", "frontend", endpointSelector=frontend, egress=egress))
    only_client = [{"fromEndpoints": [FRONTEND], "toPorts": [port]}]
    dns_subject = {"matchLabels": {"k8s-app": "kube-dns"}}
    await world.apply(policy("dns", "kube-system", endpointSelector=dns_subject, ingress=only_client))
    free = await lookup("world", "good.example.com")  # from outside: the DNS pod's own policy drops it
    before = await world.metrics("k8s-w1")
    asked = {
        (name, how): await lookup("client", name, how)
        for name in ("good.example.com", "bad.example.com", "evil.org", "a.b.example.com")
        for how in ("udp", "tcp")
    }
    facts["lookups"] = {f"{name} {how}": answer[:1] for (name, how), answer in asked.items()}
    facts["lookup from outside"] = free
    facts["stranger lookup"] = await lookup("stranger", "good.example.com")
    good, bad = asked["good.example.com", "udp"][1], asked["bad.example.com", "udp"][1]
    facts["connect"] = {"good": await world.code("client", good, "/"), "bad": await world.code("client", bad, "/")}
    facts["dns counts"] = (before, await world.metrics("k8s-w1"))
    _, out, _ = await world.exec("k8s-w1", "hubble", "observe", "-o", "jsonpb", "--protocol", "dns", "--last", "50")
    facts["dns flows"] = [json.loads(line) for line in out.splitlines()]
    facts["dns hubble"] = await world.metrics("k8s-w1", plan.HUBBLE_METRICS_PORT)
    _, facts["text flows"], _ = await world.exec("k8s-w1", "hubble", "observe", "--last", "4")
    await world.remove("frontend", "names")
    await world.remove("kube-system", "dns")


async def changes(world: World) -> None:
    facts = world.facts
    only_frontend = [{"fromEndpoints": [FRONTEND], "toPorts": [{"ports": [{"port": "web"}]}]}]
    spec = {"endpointSelector": {"matchLabels": {"app": "api"}}, "ingress": only_frontend}
    await world.apply(policy("plain", "backend", **spec))
    facts["before label"] = await world.code("stranger", "far", "/")
    pod = json.loads(json.dumps(world.store.get(PODS, "frontend", "stranger")))
    pod["metadata"]["labels"] = {"app": "frontend"}
    began = time.monotonic()
    world.store.update(PODS, pod)
    await world.agents.settled()
    facts["relabel"] = time.monotonic() - began
    facts["after label"] = await world.code("stranger", "far", "/")
    same = {world.store.get(CILIUM_ENDPOINTS, "frontend", name)["status"]["identity"]["id"]
            for name in ("client", "stranger")}  # fmt: skip
    facts["same identity"] = len(same)
    facts["endpoint"] = world.store.get(CILIUM_ENDPOINTS, "backend", "far")
    _, out, _ = await world.exec("k8s-w2", "cilium-dbg", "endpoint", "get", "-l", "app=api", "-o", "json")
    facts["dbg"] = json.loads(out)
    await world.apply(policy("bad", "backend", endpointSelector={}, ingress=[]))
    facts["bad"] = world.store.get(CNP, "backend", "bad")["status"]
    tls = {"ports": [{"port": "443", "protocol": "TCP"}], "serverNames": ["example.com"]}
    await world.apply(policy("tls", "backend", endpointSelector={}, egress=[{"toEntities": ["all"], "toPorts": [tls]}]))
    facts["unenforced"] = world.store.get(CNP, "backend", "tls")["status"]
    await world.remove("backend", "tls")
    await world.remove("backend", "bad")
    facts["gauges"] = await world.metrics("k8s-w2")
    await world.agents.remove_endpoint(world.store.get(PODS, "frontend", "stranger"))
    facts["ruleset has stranger"] = "10.244.1.11" in netns.nft("k8s-w2", "list ruleset")
    facts["gone"] = world.store.find(CILIUM_ENDPOINTS, "frontend", "stranger") is None
    await world.remove("backend", "plain")


async def flood(world: World, requests: int = 2000) -> None:
    """Many requests on few connections: counts stay exact."""
    rule = {"fromEndpoints": [FRONTEND], "toPorts": [{**PORT, "rules": HTTP}]}
    await world.apply(policy("http", "backend", endpointSelector={"matchLabels": {"app": "api"}}, ingress=[rule]))
    before = await world.metrics("k8s-w2")
    script = (
        "import http.client\n"
        f"c = http.client.HTTPConnection('{PODS_WANTED['far'][2]}')\n"
        f"for i in range({requests}):\n"
        " c.request('GET', '/admin'); r = c.getresponse(); r.read(); assert r.status == 403"
    )
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        "nsenter", f"--net={netns.NETNS_DIR / 'client'}", "--", sys.executable, "-c", script
    )
    assert await process.wait() == 0
    world.facts["flood seconds"] = time.monotonic() - began
    world.facts["flood"] = (before, await world.metrics("k8s-w2"))


async def agent_restarts(world: World) -> None:
    """The agent's pod is replaced: no metrics without it, and then counters from zero; the rules stay in force."""
    facts = world.facts
    labels = {"k8s-app": "cilium"}
    metadata = {"namespace": "kube-system", "labels": labels}
    for name in ("cilium-a", "cilium-b"):
        spec = {"nodeName": "k8s-w2", "hostNetwork": True, "containers": [{"name": "c", "image": "x"}]}
        world.store.create(PODS, {"metadata": {**metadata, "name": name}, "spec": spec})
        world.store.set_status(PODS, "kube-system", name, {"phase": "Running", "podIP": "172.18.0.12"})
        if name == "cilium-a":
            before = await world.metrics("k8s-w2")
            world.store.remove(PODS, "kube-system", name)
            async with aiohttp.ClientSession() as session, session.get("http://172.18.0.12:9962/metrics") as got:
                facts["without agent"] = (got.status, await world.code("client", "far", "/admin"))
            await asyncio.sleep(0.12)  # Envoy's log of that request belongs to the old agent
    await world.agents.settled()
    facts["restart"] = (before, await world.metrics("k8s-w2"))


async def envoy_dies(world: World) -> None:
    subprocess.run(["pkill", "-KILL", "-f", "k8s-w2/bootstrap.json"], check=False)  # our own pid namespace
    await asyncio.sleep(0.05)
    closed = await world.curl("client", "far", "/public/x", timeout="0.5")
    for _ in range(100):
        if (await world.code("client", "far", "/public/x")) == 200:
            break
        await asyncio.sleep(0.1)
    world.facts["envoy"] = (closed["code"], await world.code("client", "far", "/admin"))


async def main() -> None:
    world = World()
    await world.start()
    for scenario in (http_rules, drops, egress_rules, names, changes, flood, agent_restarts, envoy_dies):
        began = time.monotonic()
        await scenario(world)
        world.facts[f"took {scenario.__name__}"] = time.monotonic() - began
    await world.agents.stop()
    for process in world.web:
        process.kill()
    json.dump(world.facts, sys.stdout)


if __name__ == "__main__":
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    asyncio.run(main())
