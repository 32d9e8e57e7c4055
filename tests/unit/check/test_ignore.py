"""``# drills: ignore``: silences one finding at one place, with a reason, and complains about itself otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_world import found, names

WRONG = """\
apiVersion: drills/v1
kind: Playbook
metadata: {name: p}
spec:
  drills: []
"""
FINDING = "spec:\n  drills: []"


def test_the_finding_is_there_without_a_comment(tmp_path: Path) -> None:
    (finding,) = found(tmp_path, WRONG)
    assert (finding.rule, finding.place.line) == ("playbook/invalid", 5)


@pytest.mark.parametrize(
    "commented",
    [
        "spec:\n  drills: []  # drills: ignore playbook/invalid a sketch",
        "spec:\n  # drills: ignore playbook/invalid a sketch\n  drills: []",
        "spec:\n  # drills: ignore playbook/invalid a sketch\n\n  # another comment\n  drills: []",
        "spec:\n  drills: []  #drills:ignore playbook/invalid a sketch",
    ],
    ids=["same line", "line above", "above, with lines between", "without blanks"],
)
def test_silenced(commented: str, tmp_path: Path) -> None:
    assert found(tmp_path, WRONG.replace(FINDING, commented)) == []


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("# drills: ignore playbook/invalid", ["check/ignore-without-reason", "playbook/invalid"]),
        ("# drills: ignore playbook/invald a sketch", ["check/ignore-unknown", "playbook/invalid"]),
        ("# drills: ignore check/unreadable a sketch", ["check/ignore-unused", "playbook/invalid"]),
        ("# drills: ignored playbook/invalid a sketch", ["playbook/invalid"]),
    ],
)
def test_not_silenced(comment: str, left: list[str], tmp_path: Path) -> None:
    assert names(found(tmp_path, WRONG.replace(FINDING, f"{FINDING}  {comment}"))) == left


def test_a_comment_on_another_line_silences_nothing(tmp_path: Path) -> None:
    text = "# drills: ignore playbook/invalid a sketch\n" + WRONG
    assert names(found(tmp_path, text)) == ["check/ignore-unused", "playbook/invalid"]


def test_a_misspelt_rule_is_told_its_nearest(tmp_path: Path) -> None:
    (unknown, _) = sorted(
        found(tmp_path, WRONG.replace(FINDING, f"{FINDING}  # drills: ignore playbook/invald why")),
        key=lambda each: each.rule,
    )
    assert 'did you mean "playbook/invalid"?' in unknown.message
