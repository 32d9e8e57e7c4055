"""Whether a name exists, by somebody whom no policy keeps from asking: that nobody's name is refused proves nothing.

For names outside of the cluster, the nodes themselves, whose resolver is not the pods'; for names of Services, the API.
"""

from __future__ import annotations

from typing import Final

from drills.errors import WorldError
from drills.inject import dns
from drills.inject.base import service_of
from drills.kube import Cluster

NODES: Final = 2  # that are asked: one resolver may be slow
SERVICES: Final = ".svc.cluster.local"
NOTHING: Final = "that lookups of it are refused proves nothing"


def nameless(cluster: Cluster, name: str) -> str | None:
    """Why a name is nobody's, in a sentence; None where it has an address. WorldError where nobody can be asked."""
    if name.rstrip(".").lower().endswith(SERVICES):
        named = service_of(name.lower())
        there = named is None or cluster.service(*named) is not None
        return None if there else f"there is no Service that has the name {name}: {NOTHING}"
    asked = cluster.agents()[:NODES]
    if not asked:
        raise WorldError("there is no Cilium agent to ask")
    if any(cluster.resolves(agent, dns.absolute(name)) for agent in asked):
        return None
    return f"{name} has no address on {' and '.join(agent.node for agent in asked)}, either: {NOTHING}"
