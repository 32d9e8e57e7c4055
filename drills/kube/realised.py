"""How far each node is with the policies: what its agent has imported, and what its endpoints have realised of it.

CiliumEndpoints carry no revision, and from Cilium 1.16 on policies carry no status by node: only the agents say.
``cilium-dbg policy get`` tells the revision of the agent's repository and its rules as text, with the uid of each
policy in their labels; ``cilium-dbg endpoint list`` what each endpoint has realised (Cilium api/v1/models Policy and
EndpointPolicyStatus, pkg/endpoint/api.go). An agent's text does not tell an object's generation: one that has not yet
heard of a change looks as one that has realised it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drills.errors import WorldError
from drills.kube.cilium import Agent, CiliumApi


@dataclass(frozen=True, slots=True)
class NodePolicies:
    """What one node's agent has. ``rules`` is its own text of them; by an endpoint's address: ``realised`` revisions,
    and ``enforced``, in which directions policy is enforced (none, ingress, egress, both; with audit- before it if what
    is denied is let through).
    """

    revision: int
    rules: str
    realised: Mapping[str, int] = field(default_factory=dict)
    enforced: Mapping[str, str] = field(default_factory=dict)

    def has(self, uid: str) -> bool:
        """Whether the agent has imported the policy of that uid."""
        return uid in self.rules


def node_policies(cluster: CiliumApi, agent: Agent, stop: threading.Event | None = None) -> NodePolicies:
    """Ask an agent. WorldError if it does not answer, or not as an agent does."""
    rules = _json(cluster, agent, ["cilium-dbg", "policy", "get", "-o", "json"], stop)
    endpoints = _json(cluster, agent, ["cilium-dbg", "endpoint", "list", "-o", "json"], stop)
    try:
        found = list(_realised(endpoints))
        return NodePolicies(
            int(rules["revision"]),
            str(rules["policy"]),
            {address: int(policy.get("policy-revision", 0)) for address, policy in found},
            {address: str(policy["policy-enabled"]) for address, policy in found if policy.get("policy-enabled")},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WorldError(f"The agent {agent.pod} does not tell its policies as Cilium does: {error!r}") from None


def _realised(endpoints: Any) -> list[tuple[str, Any]]:
    """What each endpoint has realised, by address."""
    return [
        (str(address), status["policy"]["realized"])
        for status in (each.get("status") or {} for each in endpoints)
        if status.get("policy") and status["policy"].get("realized")
        for pair in (status.get("networking") or {}).get("addressing") or ()
        for address in (pair.get("ipv4"), pair.get("ipv6"))
        if address
    ]


def _json(cluster: CiliumApi, agent: Agent, command: list[str], stop: threading.Event | None) -> Any:
    lines = cluster.agent_run(agent, command, stop=stop)
    try:
        return json.loads("\n".join(lines))
    except ValueError:
        raise WorldError(f"The agent {agent.pod} did not answer `{' '.join(command)}` with JSON.") from None
