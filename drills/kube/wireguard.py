"""WireGuard through the API: what the nodes say of it, and the changes that only an agent's pod can make."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from drills.cilium.encryption import DEVICE, KEY_FILE, STATE, UNKNOWN, Encryption, NodeKeys, parse, published_in
from drills.errors import WorldError
from drills.kube.api import Obj, core, custom
from drills.kube.cilium import AGENTS, GROUP, VERSION, Agent
from drills.kube.cluster import Cluster

LOOK_SECONDS: Final = 0.1

Wait = Callable[[float], object]


class WireGuard:
    """Of one cluster."""

    def __init__(self, cluster: Cluster, *, wait: Wait = time.sleep) -> None:
        self._cluster = cluster
        self._wait = wait

    def nodes(self) -> dict[str, Obj]:
        """The CiliumNodes by name."""
        listed = self._cluster.call("list CiliumNodes", "GET", custom(GROUP, VERSION, "ciliumnodes"))["items"]
        # items of a list do not say what they are
        return {
            each["metadata"]["name"]: {"apiVersion": f"{GROUP}/{VERSION}", "kind": "CiliumNode", **each}
            for each in listed
        }

    def picture(self) -> dict[str, NodeKeys]:
        """Every node as it is now; an agent that does not answer makes no error, but its node's mode unknown."""
        agents = {agent.node: agent for agent in self._cluster.agents()}
        return {
            name: NodeKeys(published_in(node), self._encryption(agents.get(name)))
            for name, node in self.nodes().items()
        }

    def hide_key_file(self, node: str, run: str) -> None:
        """Rename the private key's file; the running agent does not mind. WorldError if there is none."""
        self._run(node, "mv", f"{STATE}/{KEY_FILE}", _hidden(run))

    def put_key_file_back(self, node: str, run: str) -> bool:
        """Undo `hide_key_file`; False if nothing is hidden (any more)."""
        names = self._cluster.agent_run(self._agent(node), ["ls", STATE])
        if _hidden(run).rpartition("/")[2] not in {name.strip() for name in names}:
            return False
        self._run(node, "mv", "-f", _hidden(run), f"{STATE}/{KEY_FILE}")
        return True

    def delete_device(self, node: str) -> None:
        """Take ``cilium_wg0`` away."""
        self._run(node, "ip", "link", "del", DEVICE)

    def wait_agent(self, node: str, seconds: float = 60.0) -> None:
        """Return when an agent of the node is ready. WorldError if that takes longer."""
        until = time.monotonic() + seconds
        namespace, labels, _ = AGENTS
        while not any(
            pod["spec"].get("nodeName") == node and _ready(pod) for pod in self._cluster.pods(namespace, labels)
        ):
            if time.monotonic() > until:
                raise WorldError(f"No Cilium agent of {node} is ready after {seconds:g} s")
            self._wait(LOOK_SECONDS)

    def restart_agent(self, node: str, seconds: float = 60.0, stop: threading.Event | None = None) -> None:
        """Delete the agent's pod and wait for its successor to be ready. WorldError if that takes longer."""
        agent = self._agent(node)
        path = core("pods", AGENTS[0], agent.pod)
        self._cluster.find(f"restart the agent of {node}", "DELETE", path, body={"preconditions": {"uid": agent.uid}})
        until = time.monotonic() + seconds
        while not self._succeeded(agent):
            if time.monotonic() > until or (stop is not None and stop.is_set()):
                raise WorldError(f"The agent of {node} is not ready {seconds:g} s after its pod was deleted")
            self._wait(LOOK_SECONDS)

    def _succeeded(self, old: Agent) -> bool:
        namespace, labels, _ = AGENTS
        return any(
            pod["spec"].get("nodeName") == old.node and pod["metadata"]["uid"] != old.uid and _ready(pod)
            for pod in self._cluster.pods(namespace, labels)
        )

    def _encryption(self, agent: Agent | None) -> Encryption:
        if agent is None:
            return Encryption(UNKNOWN, message="its agent does not run")
        try:
            return parse("\n".join(self._cluster.agent_run(agent, ["cilium-dbg", "encrypt", "status", "-o", "json"])))
        except (WorldError, ValueError) as error:
            return Encryption(UNKNOWN, message=str(error))

    def _run(self, node: str, *command: str) -> None:
        self._cluster.agent_run(self._agent(node), command)

    def _agent(self, node: str) -> Agent:
        found = next((agent for agent in self._cluster.agents() if agent.node == node), None)
        if found is None:
            raise WorldError(f"No Cilium agent runs on {node}")
        return found


def _hidden(run: str) -> str:
    return f"{STATE}/{KEY_FILE}.drills-{run}"


def _ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
