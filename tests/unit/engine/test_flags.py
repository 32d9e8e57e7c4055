"""How far a detection may be trusted beyond its word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.engine.flags import Crossing, unattributed


def crossing(during: float, before: float = 0.0, operator: str = ">", threshold: float = 10.0) -> Crossing:
    return Crossing(operator, threshold, during, before)


@pytest.mark.parametrize(
    ("one", "near"),
    [
        (crossing(120), False),
        (crossing(16), False),
        (crossing(14), True),  # crossed by little
        (crossing(9), True),  # missed by little
        (crossing(5), False),  # missed by much
        (crossing(120, before=5), False),
        (crossing(120, before=8), True),  # it was nearly there before the attack
        (crossing(120, threshold=0), False),
        (crossing(8, before=100, operator="<"), True),
        (crossing(1, before=100, operator="<"), False),
        (crossing(1, before=12, operator="<"), True),
    ],
)
def test_marginal_is_within_half_as_much_again(one: Crossing, near: bool) -> None:
    assert one.near is near


@pytest.mark.parametrize(
    ("one", "share", "flagged"),
    [
        (crossing(120), 1.0, False),
        (crossing(120), 0.95, False),
        (crossing(120), 0.5, True),  # the others' 60 would have crossed it as well
        (crossing(12), 0.5, True),  # neither alone
        (crossing(30), 0.2, True),  # it was the others
        (crossing(120, before=9), 0.98, True),  # what was there before, with the others' 2, is beyond 10
        (crossing(120), None, True),  # nothing that the rule counts has moved
        (crossing(0, operator="<", threshold=1), 1.0, True),
    ],
)
def test_unattributed_unless_the_drill_alone_crosses(one: Crossing, share: float | None, flagged: bool) -> None:
    assert unattributed([one], share) is flagged


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.1, 1e6), st.floats(0, 1))
def test_what_is_attributed_crosses_alone_and_only_with_the_drill(
    during: float, before: float, threshold: float, share: float
) -> None:
    one = crossing(during, before, threshold=threshold)
    if not unattributed([one], share):
        rise = max(0.0, during - before)
        assert rise * share > threshold >= before + rise * (1 - share)
