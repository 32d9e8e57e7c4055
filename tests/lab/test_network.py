"""The lab's network without the rest of the lab: real namespaces, in a throw-away one of our own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from drills.lab.launcher import unshare_user

pytestmark = pytest.mark.lab

PREAMBLE = """
import json, socket, threading
from pathlib import Path
from drills.errors import WorldError
from drills.lab import init, netns, topology
init.mount("tmpfs", "/run", "tmpfs", 0, "")
topology.build()
topology.add_pod("pod-a", "10.244.1.10")
topology.add_pod("pod-b", "10.244.2.10")

def connect(source, target, address):
    # the peer's address as the target sees it
    server = netns.listener_in(target, address, 80)
    server.setblocking(True)
    server.settimeout(2)
    client = netns.socket_in(source) if source else socket.socket()
    client.settimeout(2)
    client.connect((address, 80))
    accepted, peer = server.accept()
    for each in (server, client, accepted):
        each.close()
    return peer[0]
"""


def inside(script: str) -> Any:
    """What the script prints as JSON from within fresh namespaces."""
    command = ["unshare", *unshare_user(), "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
    done = subprocess.run(
        [*command, sys.executable, "-c", PREAMBLE + script], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_everybody_reaches_everybody_and_is_seen_by_its_own_address() -> None:
    seen = inside("""
print(json.dumps({
    "pod to pod": connect("pod-a", "pod-b", "10.244.2.10"),
    "pod to world": connect("pod-a", "world", "198.19.200.7"),
    "pod to node": connect("pod-a", "k8s-w2", "172.18.0.12"),
    "node to its pod": connect("k8s-w1", "pod-a", "10.244.1.10"),
    "node to another's pod": connect("k8s-w1", "pod-b", "10.244.2.10"),
    "supervisor to pod": connect(None, "pod-a", "10.244.1.10"),
    "health": connect("k8s-w1", "k8s-w2", "10.244.2.2"),
}))
""")
    assert seen == {
        "pod to pod": "10.244.1.10",
        "pod to world": "10.244.1.10",
        "pod to node": "10.244.1.10",
        "node to its pod": "10.244.1.1",
        "node to another's pod": "172.18.0.11",
        "supervisor to pod": "172.18.0.1",
        "health": "172.18.0.11",
    }


def test_a_removed_pod_leaves_nothing() -> None:
    found = inside("""
topology.remove_pod("pod-a", "10.244.1.10")
topology.remove_pod("pod-a", "10.244.1.10")
links = netns.in_netns("k8s-w1", lambda: Path("/proc/thread-self/net/dev").read_text())
print(json.dumps({"netns": netns.exists("pod-a"), "link": "lxc1-10" in links}))
""")
    assert found == {"netns": False, "link": False}


@pytest.mark.parametrize("way", ["nft", "nft_program"])
def test_nft_acts_in_its_namespace_as_a_transaction(way: str) -> None:
    found = inside(
        f"nft = netns.{way}"
        + """
nft("k8s-w1", "add table ip t; add counter ip t c")
try:
    nft("k8s-w1", "add table ip u; add rule ip t absent accept")
    complaint = ""
except WorldError as error:
    complaint = str(error)
listed = json.loads(nft("k8s-w1", "list counters", json=True))
print(json.dumps({
    "complaint": complaint,
    "counters": [item["counter"]["name"] for item in listed["nftables"] if "counter" in item],
    "tables": nft("k8s-w1", "list tables").split(),
    "elsewhere": nft("k8s-w2", "list tables"),
}))
"""
    )
    assert "No such file or directory" in found.pop("complaint")
    assert found == {"counters": ["c"], "tables": ["table", "ip", "t"], "elsewhere": ""}


def test_failures_inside_a_namespace_reach_the_caller() -> None:
    found = inside("""
def attempt(action):
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
print(json.dumps([
    attempt(lambda: netns.in_netns("nowhere", lambda: None)),
    attempt(lambda: netns.in_netns("world", lambda: 1 / 0)),
    attempt(lambda: netns.ip_batch("world", ["link set nothing up"])),
]))
""")
    assert found[0].startswith("FileNotFoundError")
    assert found[1].startswith("ZeroDivisionError")
    assert found[2].startswith("WorldError: `ip -n world -batch -` failed: Cannot find device")


def test_dns_answers_in_a_pods_namespace_over_udp_and_tcp() -> None:
    found = inside("""
import asyncio, subprocess, sys
import dns.message, dns.query
from drills.lab.api.resources import NAMESPACES, SERVICES
from drills.lab.api.store import Store
from drills.lab.dns import Dns

store = Store()
store.create(NAMESPACES, {"metadata": {"name": "a"}})
store.create(SERVICES, {"metadata": {"name": "web", "namespace": "a"}, "spec": {"clusterIP": "10.96.0.7", "ports": []}})

def ask(way, name):
    answer = getattr(dns.query, way)(dns.message.make_query(name, "A"), "10.244.1.10", timeout=2)
    return sorted(item.address for rrset in answer.answer for item in rrset)

async def main():
    server = Dns(store)
    pod = {"metadata": {"uid": "1", "name": "coredns"}}
    await server.start(pod, "pod-a")
    seen = [
        await asyncio.to_thread(netns.in_netns, "pod-b", lambda way=way: ask(way, "web.a.svc.cluster.local."))
        for way in ("udp", "tcp")
    ]
    outside = await asyncio.to_thread(netns.in_netns, "pod-b", lambda: ask("udp", "example.com."))
    await server.stop(pod)
    print(json.dumps({"seen": seen, "outside": outside == [server.outside.address_of("example.com")]}))

asyncio.run(main())
""")
    assert found == {"seen": [["10.96.0.7"], ["10.96.0.7"]], "outside": True}
