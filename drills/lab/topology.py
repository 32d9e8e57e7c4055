"""The lab's network: an underlay bridge, two nodes, the world outside, and the wiring of one pod.

::

    underlay (the supervisor's own namespace)     br0 172.18.0.1
      |- k8s-w1   eth0 172.18.0.11   cilium_host 10.244.1.1   lxc1-N <-> eth0 of the pods 10.244.1.N
      |- k8s-w2   eth0 172.18.0.12   cilium_host 10.244.2.1   lxc2-N <-> eth0 of the pods 10.244.2.N
      `- world    eth0 172.18.0.2    owns every address of 198.18.0.0/15

The text of every `ip` batch is a pure function; one process per namespace runs it (0.05 s in all, LAB.md).
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from drills.lab import netns, plan

WORLD = "world"
POD_MTU = 1500
UNDERLAY_MTU = 1600  # so that a pod's largest packet still fits with WireGuard's 60 bytes around it
POD_GATEWAY = "169.254.1.1"  # on the node's end of every pod's veth pair; nothing else answers for it

NO_IPV6 = {  # its neighbour discovery would only be noise between the packets that matter
    "ipv6/conf/all/disable_ipv6": "1",
    "ipv6/conf/default/disable_ipv6": "1",
}
ROUTING = {
    **NO_IPV6,
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",  # a reply may leave by another interface than its request came in
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    "ipv4/conf/all/accept_local": "1",
    "ipv4/ip_nonlocal_bind": "1",  # Envoy and the DNS proxy answer in the name of the pods' peers
    "ipv4/ip_local_port_range": "20000 60999",
}
POD = {
    **NO_IPV6,
    "ipv4/ip_unprivileged_port_start": "0",  # as container runtimes do: anybody may listen on port 80
    "ipv4/ping_group_range": "0 0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
}


def underlay_lines() -> list[str]:
    """`ip` commands in the supervisor's namespace: the bridge and the nodes' and the world's ends of their links."""
    lines = [
        "link set lo up",
        f"link add br0 mtu {UNDERLAY_MTU} type bridge forward_delay 0",
        f"addr add {plan.SUPERVISOR}/{plan.UNDERLAY.prefixlen} dev br0",
        "link set br0 up",
    ]
    for name in (*plan.NODES, WORLD):
        port = f"to-{name}"
        lines += [
            f"link add {port} mtu {UNDERLAY_MTU} type veth peer name eth0 mtu {UNDERLAY_MTU} netns {name}",
            f"link set {port} master br0 up",
        ]
    lines += [f"route add {cidr} via {plan.NODES[node]}" for node, cidr in plan.POD_CIDRS.items()]
    lines.append(f"route add {plan.OUTSIDE} via {plan.WORLD}")
    return lines


def node_lines(node: str) -> list[str]:
    """`ip` commands in a node's namespace; its eth0 is there already."""
    lines = [
        "link set lo up",
        f"addr add {plan.NODES[node]}/{plan.UNDERLAY.prefixlen} dev eth0",
        "link set eth0 up",
        "link add cilium_host type veth peer name cilium_net",  # a pair, as in Cilium
        f"addr add {plan.router_of(node)}/32 dev cilium_host",
        f"addr add {plan.health_of(node)}/32 dev cilium_host",
        "link set cilium_net up",
        "link set cilium_host up",
        f"route add default via {plan.WORLD}",
        f"route add blackhole {plan.POD_CIDRS[node]}",  # of a pod that is gone: as in Cilium, it does not leave again
    ]
    lines += [f"route add {cidr} via {plan.NODES[other]}" for other, cidr in plan.POD_CIDRS.items() if other != node]
    return lines


def world_lines() -> list[str]:
    """`ip` commands in the world's namespace: it answers for every outside address."""
    return [
        "link set lo up",
        f"addr add {plan.WORLD}/{plan.UNDERLAY.prefixlen} dev eth0",
        "link set eth0 up",
        f"route add local {plan.OUTSIDE} dev lo",
        *(f"route add {cidr} via {plan.NODES[node]}" for node, cidr in plan.POD_CIDRS.items()),
    ]


def pod_node_lines(pod_netns: str, address: str) -> list[str]:
    """`ip` commands in the node's namespace that give a pod its interface."""
    interface = plan.interface_of(address)
    return [
        f"link add {interface} type veth peer name eth0 netns {pod_netns}",
        f"addr add {POD_GATEWAY}/32 dev {interface}",
        f"link set {interface} up",
        f"route add {address}/32 dev {interface} src {plan.router_of(_node_of(address))}",
    ]


def pod_lines(address: str) -> list[str]:
    """`ip` commands in the pod's own namespace."""
    return [
        "link set lo up",
        f"addr add {address}/32 dev eth0",
        "link set eth0 up",
        f"route add {POD_GATEWAY} dev eth0 scope link",
        f"route add default via {POD_GATEWAY} dev eth0",
    ]


def build() -> None:
    """Make all namespaces and links of an empty lab. Call it once, in the supervisor's own network namespace."""
    names = (*plan.NODES, WORLD)
    netns.NETNS_DIR.mkdir(parents=True, exist_ok=True)
    netns.ip_batch(None, [f"netns add {name}" for name in names])
    for name in names:
        netns.write_sysctls(name, ROUTING)
    netns.write_sysctls(None, NO_IPV6 | {"ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0"})
    netns.ip_batch(None, underlay_lines())
    for node in plan.NODES:
        netns.ip_batch(node, node_lines(node))
    netns.ip_batch(WORLD, world_lines())


def add_pod(pod_netns: str, address: str) -> None:
    """Make a pod's namespace and wire it to the node that owns its address."""
    netns.ip_batch(None, [f"netns add {pod_netns}"])
    netns.write_sysctls(pod_netns, POD)
    netns.ip_batch(_node_of(address), pod_node_lines(pod_netns, address))
    netns.ip_batch(pod_netns, pod_lines(address))


def remove_pod(pod_netns: str, address: str) -> None:
    """Take a pod's namespace and interface away; nothing happens to what is gone already."""
    interface = plan.interface_of(address)
    subprocess.run(
        ["ip", "-n", _node_of(address), "link", "del", interface],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if Path(netns.NETNS_DIR, pod_netns).exists():
        netns.ip_batch(None, [f"netns del {pod_netns}"])


def _node_of(address: str) -> str:
    node = plan.node_of(address)
    if node is None:
        raise ValueError(f"{address} belongs to no node's pod network")
    return node
