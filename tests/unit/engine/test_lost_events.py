"""Events that agents lost: what flows then show too few of proves nothing, whoever says that they were lost."""

from __future__ import annotations

import pytest

from drills.engine import evidence
from drills.engine.evidence import Reading
from drills.engine.result import FlowEvidence
from drills.kube import Flows

SEEN = FlowEvidence(count=3, lost=0, events=3, backends={}, partial=False)


def reading(lost: float) -> Reading:
    return Reading(10.0, frozenset({("agent", 1.0)}), lost)


@pytest.mark.parametrize(
    ("flows", "partial"),
    [
        (Flows((), 0, ("n1", "n2"), {}), False),
        (Flows((), 1, ("n1", "n2"), {}), True),
        (Flows((), 0, ("n1",), {"n2": "it did not end"}), True),
        (Flows((), 0, ("n1",), {}, overwritten=("n1",)), True),
        (Flows((), 0, (), {}), True),
    ],
)
def test_what_makes_flows_partial(flows: Flows, partial: bool) -> None:
    assert flows.partial is partial
    shown = evidence.flow_evidence(flows, [], lambda _: True)
    assert (shown.partial, shown.lost) == (partial, flows.lost)


def test_the_losses_of_several_readings_add_up() -> None:
    parts = [Flows((), 2, ("n",), {}), Flows((), 3, ("n",), {})]
    assert evidence.together(parts).lost == 5


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        (reading(0), reading(0), 0),
        (reading(7), reading(7), 0),
        (reading(7), reading(9), 2),
        (reading(7), reading(2), 0),  # an agent has restarted, which its counter's reading tells by itself
        (None, reading(9), 0),
        (reading(7), None, 0),
    ],
)
def test_the_agents_own_counters_count(before: Reading | None, after: Reading | None, lost: int) -> None:
    found = evidence.with_lost(SEEN, before, after)
    assert (found.lost, found.partial, found.count) == (lost, lost > 0, 3)


def test_the_larger_number_is_told() -> None:
    told = SEEN.model_copy(update={"lost": 5, "partial": True})
    assert evidence.with_lost(told, reading(0), reading(2)).lost == 5


@pytest.mark.parametrize("partial", [False, True])
def test_too_few_flows_refute_denials_only_where_none_was_lost(partial: bool) -> None:
    after = reading(2.0 if partial else 0.0)
    proof = evidence.proof(None, evidence.with_lost(SEEN, reading(0), after))
    assert proof.refutes(10) is not partial
