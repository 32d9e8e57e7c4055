"""Every rule proves itself on its own examples, and its documentation page is the one that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_world import found, names

from drills.check.checks import RULES
from drills.check.finding import Rule


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_the_wrong_example_shows_this_rule_and_no_other(rule: Rule, tmp_path: Path) -> None:
    assert names(found(tmp_path, rule.wrong, **rule.options)) == [rule.name]


RIGHT = {(rule.right, tuple(rule.options.items())): rule for rule in RULES.values()}  # rules share examples


@pytest.mark.parametrize("rule", RIGHT.values(), ids=lambda rule: rule.name)
def test_nothing_is_wrong_with_the_right_example(rule: Rule, tmp_path: Path) -> None:
    assert found(tmp_path, rule.right, **rule.options) == []


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_every_part_of_a_page_is_written(rule: Rule) -> None:
    group, _, name = rule.name.partition("/")
    assert group
    assert name == name.lower()
    assert not rule.title.endswith(".")
    assert all(part.strip() for part in (rule.title, rule.problem, rule.effect, rule.fix, rule.source))
