"""The network as text."""

from __future__ import annotations

from drills.lab import plan, topology


def test_every_node_reaches_every_other_pod_network() -> None:
    for node in plan.NODES:
        lines = topology.node_lines(node)
        for other, cidr in plan.POD_CIDRS.items():
            route = f"route add {cidr} via {plan.NODES[other]}"
            assert (route in lines) == (other != node)


def test_a_pods_two_ends() -> None:
    lines = topology.pod_node_lines("pod-1", "10.244.2.17")
    assert lines[0] == "link add lxc2-17 type veth peer name eth0 netns pod-1"
    assert lines[-1] == "route add 10.244.2.17/32 dev lxc2-17 src 10.244.2.1"
    assert "default via 169.254.1.1" in topology.pod_lines("10.244.2.17")[-1]


def test_the_world_owns_every_outside_address() -> None:
    assert f"route add local {plan.OUTSIDE} dev lo" in topology.world_lines()
