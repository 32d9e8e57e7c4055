"""The command as a user runs it, on real labs of the tests' own: never the user's lab, never mocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import SHIPPED, Drills, K, Lab, drills_of


@pytest.fixture
def drills(tmp_path: Path) -> Drills:
    """The command, with no lab up."""
    return drills_of(f"e2e-{os.getpid()}", tmp_path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab for the tests of a module; each puts back what it changes."""
    drills = drills_of(f"e2e-shared-{os.getpid()}", tmp_path_factory.mktemp("shared"))
    up = drills("lab", "up", "--time-lapse", str(K))
    assert up.status == 0, up.err
    try:
        yield Lab(drills, Path(up.out.splitlines()[-1]))
    finally:
        drills("lab", "down")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped playbook, made shorter: one minute of attack, and no waiting for the alert to resolve."""
    text = SHIPPED.read_text()
    for old, new in (("duration: 3m", "duration: 1m"), (", resolvesWithin: 12m", ""), ("within: 4m", "within: 3m")):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("playbook") / "short.yaml"
    path.write_text(text)
    return path
