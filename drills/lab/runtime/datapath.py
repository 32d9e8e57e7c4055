"""What a kubelet needs of the network's policy agent, so that no container runs before its endpoint is known."""

from __future__ import annotations

from typing import Protocol

from drills.lab.api.types import Obj


class Datapath(Protocol):
    """The node's policy agent, as the container runtime's network plugin calls Cilium."""

    async def add_endpoint(self, pod: Obj) -> None:
        """Learn of a pod: its eth0 is wired and its status.podIP is in the Store; no container has started."""
        ...

    async def remove_endpoint(self, pod: Obj) -> None:
        """Forget a pod whose containers have ended. Called once for each `add_endpoint`."""
        ...


class ServiceRules(Protocol):
    """Whoever writes the cluster IPs' translation into network namespaces."""

    async def attach(self, netns: str) -> None:
        """Write the present rules into a namespace and keep them up to date."""
        ...

    def detach(self, netns: str) -> None:
        """Forget a namespace that is about to go."""
        ...


class Served(Protocol):
    """A container that is no process: the lab itself acts in the pod's network namespace (cluster DNS)."""

    async def start(self, pod: Obj, netns: str) -> None:
        """Begin to serve for this pod; the container counts as running once this returns."""
        ...

    async def stop(self, pod: Obj) -> None:
        """Stop serving for this pod; its namespace is about to go."""
        ...


class OpenDatapath:
    """A datapath without policy: every pod is reachable."""

    async def add_endpoint(self, pod: Obj) -> None:
        """Nothing to learn."""

    async def remove_endpoint(self, pod: Obj) -> None:
        """Nothing to forget."""
