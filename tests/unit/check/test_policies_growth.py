"""The work grows with the number of policies, not with its square; counted in calls, which no load changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from policy_world import world

from bench.check import POLICIES_OF
from drills.check import policies

FEW, MANY = 10, 80
RULED = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: ruled-{number}, namespace: backend}}
spec:
  endpointSelector: {{}}
  ingress:
  - fromEndpoints: [{{matchLabels: {{app: open-{number}}}}}]
    toPorts: [{{ports: [{{port: "8080", protocol: TCP}}]}}]
---
"""
SHAPES = {**POLICIES_OF, "some without rules": POLICIES_OF["alike"] + RULED}


def calls(work: Callable[[], Any]) -> int:
    """How many functions a piece of work calls."""
    count = 0

    def profile(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_times_as_many_policies_cost_eight_times_as_much(shape: str) -> None:
    few, many = (
        world("".join(SHAPES[shape].format(number=number) for number in range(count))) for count in (FEW, MANY)
    )
    list(policies.check(few))  # what is made once
    cost = [calls(lambda given=given: list(policies.check(given))) for given in (few, many)]
    assert cost[1] < 1.2 * MANY / FEW * cost[0]
