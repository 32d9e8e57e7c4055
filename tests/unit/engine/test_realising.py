"""Before the first attempt every policy must be realised at both ends, each on its own node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from drills.engine.realising import End, lacks, policy_input
from drills.kube import Endpoint, Policy
from drills.kube.realised import NodePolicies

POLICY = Policy("CiliumNetworkPolicy", "backend", "api", "u-1", 1, True, "", {}, "")
PUBLISHED = replace(POLICY, revisions={"w1": 5, "w2": 7})  # as up to Cilium 1.15
SOURCE = End("the drill pod of frontend", "w1", Endpoint("frontend", "drill", 300, "ready", "10.0.0.9", None))
BACKEND = End("backend/api-1, behind the target,", "w2", Endpoint("backend", "api-1", 301, "ready", "10.1.0.1", None))
ENDS = (SOURCE, BACKEND)
NODES = {
    "w1": NodePolicies(5, "... u-1 ...", {"10.0.0.9": 5}),
    "w2": NodePolicies(7, "... u-1 ...", {"10.1.0.1": 7}),
}


def at(end: End, **changes: object) -> End:
    assert end.endpoint is not None
    return replace(end, endpoint=replace(end.endpoint, **changes))  # type: ignore[arg-type]


def test_ready_at_both_ends() -> None:
    assert lacks([POLICY], ENDS, NODES) is None
    assert lacks([POLICY], ENDS, {}) is None, (
        "an agent that cannot be asked is on the record, and does not stop a drill"
    )


def test_an_invalid_policy_is_never_realised() -> None:
    nodes = {name: replace(node, rules="") for name, node in NODES.items()}
    assert lacks([replace(POLICY, valid=False)], ENDS, nodes) is None
    assert lacks([replace(POLICY, valid=None)], ENDS, nodes) == (
        "CiliumNetworkPolicy backend/api has not been validated yet"
    )


@pytest.mark.parametrize("end", ENDS)
def test_every_end_needs_a_ready_endpoint(end: End) -> None:
    others = [one for one in ENDS if one is not end]
    assert lacks([POLICY], [*others, replace(end, endpoint=None)], NODES) == f"{end.what} has no ready endpoint"
    assert lacks([POLICY], [*others, at(end, state="regenerating")], NODES) == f"{end.what} has no ready endpoint"


@pytest.mark.parametrize("end", ENDS)
def test_what_the_agent_of_each_end_says_counts(end: End) -> None:
    node, endpoint = NODES[end.node], end.endpoint
    assert endpoint is not None
    behind = {**NODES, end.node: replace(node, realised={endpoint.address: node.revision - 1})}
    assert lacks([POLICY], ENDS, behind) == f"{end.what} has realised revision {node.revision - 1} of {node.revision}"
    unknown = {**NODES, end.node: replace(node, realised={})}
    assert lacks([POLICY], ENDS, unknown) == f"the agent of {end.node} does not know {end.what}"
    late = {**NODES, end.node: replace(node, rules="... u-0 ...")}
    assert lacks([POLICY], ENDS, late) == f"the agent of {end.node} has not imported CiliumNetworkPolicy backend/api"


def test_revisions_are_compared_node_by_node() -> None:
    """Each agent counts for itself: 7 of another node is nothing that an endpoint here could ever realise."""
    ends = (at(SOURCE, revision=5), at(BACKEND, revision=7))
    assert lacks([PUBLISHED], ends, {}) is None
    assert lacks([PUBLISHED], (at(SOURCE, revision=4), ends[1]), {}) == (
        "the drill pod of frontend has realised revision 4 of 5"
    )
    assert lacks([PUBLISHED], (ends[0], at(BACKEND, revision=6)), {}) == (
        "backend/api-1, behind the target, has realised revision 6 of 7"
    )
    assert lacks([replace(POLICY, revisions={"w1": 5})], ends, {}) == (
        "CiliumNetworkPolicy backend/api is not realised on w2"
    )


def test_the_record_has_the_revision_of_each_node() -> None:
    assert policy_input(POLICY, NODES).revisions == {"w1": 5, "w2": 7}
    assert policy_input(PUBLISHED, {}).revisions == {"w1": 5, "w2": 7}
    assert policy_input(replace(POLICY, valid=False), NODES).revisions == {}
