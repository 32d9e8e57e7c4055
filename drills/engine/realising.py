"""Is Cilium ready for the attack: every valid policy known and realised at both ends of it, on their own nodes.

An attempt before that could be dropped as unknown, and look held, or pass, and look like a leak. Pure; what it rests on
is gathered in `drills.engine.actors`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drills.engine.result import PolicyInput
from drills.kube import Endpoint, Policy
from drills.kube.realised import NodePolicies


@dataclass(frozen=True, slots=True)
class End:
    """A pod at one end of the attack. ``what`` names it in a sentence; ``endpoint`` None: Cilium has none (yet)."""

    what: str
    node: str
    endpoint: Endpoint | None


def lacks(policies: Sequence[Policy], ends: Sequence[End], nodes: Mapping[str, NodePolicies]) -> str | None:
    """What is not ready yet, in words; None if all is. ``nodes`` holds those whose agents could be asked."""
    return next(_lacks(policies, ends, nodes), None)


def _lacks(policies: Sequence[Policy], ends: Sequence[End], nodes: Mapping[str, NodePolicies]) -> Iterator[str]:
    yield from (f"{one.title} has not been validated yet" for one in policies if one.valid is None)
    valid = [one for one in policies if one.valid]
    for end in ends:
        if end.endpoint is None or not end.endpoint.ready:
            yield f"{end.what} has no ready endpoint"
            continue
        yield from _unpublished(valid, end, end.endpoint)
        if end.node in nodes:
            yield from _unrealised(valid, end, end.endpoint, nodes[end.node])


def _unpublished(valid: Sequence[Policy], end: End, endpoint: Endpoint) -> Iterator[str]:
    """By what agents up to Cilium 1.15 publish in a policy's status."""
    told = [one for one in valid if one.revisions]
    yield from (f"{one.title} is not realised on {end.node}" for one in told if end.node not in one.revisions)
    wanted = max((one.revisions.get(end.node, 0) for one in told), default=0)
    if endpoint.revision is not None and endpoint.revision < wanted:
        yield f"{end.what} has realised revision {endpoint.revision} of {wanted}"


def _unrealised(valid: Sequence[Policy], end: End, endpoint: Endpoint, node: NodePolicies) -> Iterator[str]:
    """By what the node's agent says."""
    yield from (f"the agent of {end.node} has not imported {one.title}" for one in valid if not node.has(one.uid))
    realised = node.realised.get(endpoint.address)
    if realised is None:
        yield f"the agent of {end.node} does not know {end.what}"
    elif realised < node.revision:
        yield f"{end.what} has realised revision {realised} of {node.revision}"


def policy_input(policy: Policy, nodes: Mapping[str, NodePolicies]) -> PolicyInput:
    """A policy for the record, with its revision on each node: as published, else that of the node's agent."""
    agents = {name: node.revision for name, node in sorted(nodes.items()) if policy.valid and node.has(policy.uid)}
    return PolicyInput(
        kind=policy.kind,
        namespace=policy.namespace or "",
        name=policy.name,
        uid=policy.uid,
        generation=policy.generation,
        valid=policy.valid,
        message=policy.message,
        revisions=agents | dict(policy.revisions),
        sha256=policy.sha256,
    )
