"""Policies that are right have no finding at error level, alone and together, whatever the release."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_world import found
from policy_world import check, documents

from drills.check.finding import Level

RIGHT = "check/right_policies.yaml"
OPEN = {  # warnings that are true of a policy that may be meant so
    "addresses-with-exceptions": set[str](),
    "nodes-as-peers": {"cilium/needs-setting"},
    "mutual-authentication": {"cilium/needs-setting"},
}


@pytest.mark.parametrize("name", documents(RIGHT))
def test_a_right_policy_has_no_finding(name: str) -> None:
    assert {each.rule for each in check(documents(RIGHT)[name])} == OPEN.get(name, set())


def test_there_are_many() -> None:
    assert len(documents(RIGHT)) >= 45


@pytest.mark.parametrize("cilium", ["1.14", "1.16", "1.18", "1.19", "1.20", "1.21"])
def test_together_they_have_no_error(cilium: str) -> None:
    together = "\n---\n".join(documents(RIGHT).values())
    assert [each for each in check(together, cilium=cilium) if each.level is Level.ERROR] == []


def test_in_a_file_with_a_list(tmp_path: Path) -> None:
    assert found(tmp_path, documents(RIGHT)["a-list"]) == []
