"""WireGuard faults on a real lab, by the same API as on a cluster: what each does, what leaves in plaintext, and that
everything is as before afterwards."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from drills.cilium.encryption import NodeKeys
from drills.inject import plaintext, wireguard
from drills.inject.plaintext import CaptureEnd, Plaintext, PlaintextVerdict
from drills.inject.wireguard import Effect, EffectState, Missing, Plan, RepairAgent, RestoreObject
from drills.kube import Cluster, DrillPodSpec
from drills.kube.api import Obj, core
from drills.kube.captures import Capture, Ends, configuration, create_capture_pod, wait_capture_pod
from drills.kube.references import read, replace
from drills.kube.wireguard import WireGuard
from drills.lab import client
from drills.lab.client import LabRequest
from drills.playbook import WireguardInjection

pytestmark = pytest.mark.lab

PATIENCE = 15.0
NODE, OTHER = "k8s-w1", "k8s-w2"
RUN = "run-1"


@dataclass(frozen=True)
class World:
    cluster: Cluster
    wireguard: WireGuard
    ends: dict[str, str]  # node -> address of a pod of backend on it
    status: client.LabStatus

    def until(self, what: Callable[[], bool], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end
            time.sleep(0.1)

    def open(self) -> bool:
        """From a pod on the one node to a pod on the other, and back."""
        return all(self._reaches(node) for node in (NODE, OTHER))

    def _reaches(self, node: str) -> bool:
        target = self.ends[OTHER if node == NODE else NODE]
        command = ["curl", "-sS", "-o", "/dev/null", "-m", "1", f"http://{target}/"]
        with self.cluster.exec("default", f"path-{node}", command) as stream:
            list(stream.lines(time.monotonic() + 5))
            return stream.failure() is None

    def patch(self, path: str, change: Callable[[Obj], None]) -> None:
        found = self.cluster.call("read", "GET", path)
        change(found)
        self.cluster.call("write", "PUT", path, body=found)


def pod(name: str, node: str, **container: Any) -> Obj:
    spec = {"nodeName": node, "containers": [{"name": "c", **container}], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "XDG_STATE_HOME": str(home), "DRILLS_LAB": "wireguard-test"}
    with client.held(LabRequest(time_lapse=60), environment=environment) as lab:
        cluster = Cluster.connect(kubeconfig=lab.kubeconfig)
        ends = {}
        for node in (NODE, OTHER):
            idle = {"image": "nicolaka/netshoot", "command": ["sleep", "infinity"]}
            for body in (pod(f"web-{node}", node, image="traefik/whoami"), pod(f"path-{node}", node, **idle)):
                cluster.call("create a pod", "POST", core("pods", "default"), body=body)
        for node in (NODE, OTHER):
            cluster.wait_running("default", f"path-{node}", time.monotonic() + PATIENCE)
            ends[node] = cluster.wait_running("default", f"web-{node}", time.monotonic() + PATIENCE).address
        made = World(cluster, WireGuard(cluster), ends, lab)
        for node in (NODE, OTHER):
            create_capture_pod(cluster, spec_of(node))
        for node in (NODE, OTHER):
            wait_capture_pod(cluster, spec_of(node), time.monotonic() + PATIENCE)
        made.until(made.open)
        yield made


def spec_of(node: str) -> DrillPodSpec:
    return DrillPodSpec(RUN, "wg", f"capture-{node}", "drills", {}, lifetime=600, node=node)


class Captures:
    """Captures on both nodes."""

    def __init__(self, world: World) -> None:
        nodes = world.wireguard.nodes()
        self._captures = {}
        for node in (NODE, OTHER):
            ends = Ends(world.ends[node], world.ends[OTHER if node == NODE else NODE])
            line = configuration("nonce-1234", node, nodes, ends)
            self._captures[node] = Capture.start(world.cluster, spec_of(node), line)
        self.mark(plaintext.BEFORE)
        self.since = time.time()

    def mark(self, name: str) -> None:
        for capture in self._captures.values():
            capture.mark(name)

    def judge(self) -> Plaintext:
        until = time.time()
        self.mark(plaintext.AFTER)
        ends = {node: CaptureEnd.read(capture.end()) for node, capture in self._captures.items()}
        return plaintext.judge([NODE, OTHER], ends, self.since, until)


@dataclass
class Seen:
    effect: Effect
    path_open: bool
    plaintext: Plaintext
    missing: Missing
    before: dict[str, NodeKeys]
    after: dict[str, NodeKeys]
    open_again: bool


def make(world: World, plan: Plan) -> None:
    for step in plan.steps:
        match step.change:
            case wireguard.Replace(object=where, after=after):
                replace(world.cluster, where, after)
            case wireguard.HideKeyFile(node=node, run=run):
                world.wireguard.hide_key_file(node, run)
            case wireguard.DeleteDevice(node=node):
                world.wireguard.delete_device(node)
            case wireguard.RestartAgent(node=node):
                world.wireguard.restart_agent(node)


def undo(world: World, plan: Plan) -> None:
    for step in reversed(plan.steps):
        match step.undo:
            case RestoreObject(object=where, before=before):
                now = read(world.cluster, where)
                assert now is not None
                replace(world.cluster, where, {**before, "metadata": {**before["metadata"],
                                               "resourceVersion": now["metadata"]["resourceVersion"]}})  # fmt: skip
            case RepairAgent(node=node, run=run):
                if run is not None:
                    assert world.wireguard.put_key_file_back(node, run)
                    assert not world.wireguard.put_key_file_back(node, run), "it can be repeated"
                world.wireguard.restart_agent(node)


def drill(world: World, fault: str, *, path_closes: bool) -> Seen:
    """One fault from beginning to end."""
    injection = WireguardInjection.model_validate({"node": NODE, "fault": fault, "duration": "1m"})
    before = world.wireguard.picture()
    plan = wireguard.plan(injection, RUN, world.wireguard.nodes())
    captures = Captures(world)
    make(world, plan)
    effect = lambda: wireguard.effect(plan, before, world.wireguard.picture())  # noqa: E731
    world.until(lambda: effect().state is EffectState.EFFECTIVE)
    happened = effect()
    world.until(lambda: world.open() is not path_closes)  # a new key costs some seconds of handshakes
    opened = world.open()
    since = time.time()
    undo(world, plan)
    world.until(world.open, 25)
    missing = lambda: wireguard.missing_after(plan, before, world.wireguard.picture(), since)  # noqa: E731
    world.until(lambda: missing() == Missing())
    verdict = captures.judge()
    return Seen(happened, opened, verdict, missing(), before, world.wireguard.picture(), world.open())


def test_pods_of_different_nodes_talk_through_the_tunnel(world: World) -> None:
    captures = Captures(world)
    before = world.wireguard.picture()
    assert world.open()
    after = world.wireguard.picture()
    assert captures.judge().verdict is PlaintextVerdict.NONE
    for node, other in ((NODE, OTHER), (OTHER, NODE)):
        device, earlier = after[node].device, before[node].device
        assert device is not None
        assert earlier is not None
        assert (device.public_key, device.port) == (after[node].published, 51871)
        peer, then = device.peer(after[other].published), earlier.peer(after[other].published)
        assert peer is not None
        assert then is not None
        assert peer.sent > then.sent + 1000, "that went through the tunnel"


@pytest.mark.parametrize(
    ("fault", "closes"),
    [("key-replaced", True), ("key-removed", False), ("key-file-deleted", False), ("device-deleted", True)],
)
def test_a_fault_takes_effect_leaks_nothing_and_is_undone(world: World, fault: str, closes: bool) -> None:
    seen = drill(world, fault, path_closes=closes)
    assert seen.effect.state is EffectState.EFFECTIVE, seen.effect.reason
    assert seen.path_open is not closes
    assert seen.plaintext.verdict is PlaintextVerdict.NONE, seen.plaintext.reasons
    assert seen.missing == Missing()
    assert seen.open_again
    assert {n: k.published for n, k in seen.before.items()} == {n: k.published for n, k in seen.after.items()}


def test_a_plaintext_fallback_route_is_seen(world: World) -> None:
    path = core("configmaps", "kube-system", "cilium-config")
    world.patch(path, lambda config: config["data"].update({"lab-plaintext-fallback": "true"}))
    try:
        seen = drill(world, "device-deleted", path_closes=True)
    finally:
        world.patch(path, lambda config: config["data"].update({"lab-plaintext-fallback": "false"}))
    assert seen.plaintext.verdict is PlaintextVerdict.SEEN
    assert seen.plaintext.packets[NODE] > 0
    assert (
        f"from {world.ends[NODE]}" in " ".join(seen.plaintext.reasons)
        or "in clear on eth0" in seen.plaintext.reasons[0]
    )


def test_strict_mode_drops_what_would_leave_in_plaintext(world: World) -> None:
    path = core("configmaps", "kube-system", "cilium-config")
    both = {"lab-plaintext-fallback": "true", "enable-encryption-strict-mode": "true"}
    world.patch(path, lambda config: config["data"].update(both))
    try:
        seen = drill(world, "device-deleted", path_closes=True)
    finally:
        world.patch(path, lambda config: config["data"].update(dict.fromkeys(both, "false")))
    assert seen.plaintext.verdict is PlaintextVerdict.NONE, seen.plaintext.reasons
    agent = next(agent for agent in world.cluster.agents() if agent.node == NODE)
    lines = world.cluster.agent_run(agent, ["cilium-dbg", "metrics", "list"])
    assert any("Traffic is unencrypted" in line for line in lines)
