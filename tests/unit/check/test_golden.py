"""What the command prints, compared letter by letter; ``python -m tools.update_golden`` writes it anew."""

from __future__ import annotations

import pytest

from tools.update_golden import EXPECTED, GOLDEN, cases, printed


@pytest.mark.parametrize("case", cases())
def test_the_command_prints_what_is_expected(case: str) -> None:
    assert printed(case) == (GOLDEN / case / EXPECTED).read_text()
