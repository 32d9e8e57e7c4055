"""Every complaint about a playbook names file, line and column, what is wrong, and the nearest known word."""

from __future__ import annotations

from pathlib import Path

import pytest

from drills.errors import SourceError
from drills.playbook import PlaybookError, parse
from drills.source import load_documents

HERE = Path(__file__).parent
ZERO_TRUST = (HERE / "zero-trust.yaml").read_text()
OTHERS = (HERE / "others.yaml").read_text()
CASES = load_documents(HERE / "complaints.yaml")[0].data


def complaint(text: str) -> str:
    with pytest.raises(SourceError) as caught:
        parse(text, "p.yaml")
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["says"][:60])
def test_complaint(case: dict[str, str]) -> None:
    text = (HERE / case["file"]).read_text()
    assert case["old"] in text
    assert case["says"] in complaint(text.replace(case["old"], case["new"], 1))


def test_two_injections_in_one_drill() -> None:
    text = OTHERS.replace("wireguard: {node: k8s-w1, fault: key-replaced, duration: 5m}", "", 1)
    assert "exactly one of http, dns, tcp, postgres, flood, wireguard belongs here; nothing is given" in complaint(text)


def test_all_complaints_stand_in_the_order_of_the_file() -> None:
    text = ZERO_TRUST.replace("status: 200", "status: x").replace("rate: 5/s", "rte: 5/s").replace("maxD", "maxd")
    with pytest.raises(PlaybookError) as caught:
        parse(text, "p.yaml")
    assert [error.place.line for error in caught.value.errors] == [9, 18, 18, 20]
    assert caught.value.place.line == 9
    assert str(caught.value).count("\n") == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [("- a", "p.yaml:1:1: a playbook is a mapping"), (ZERO_TRUST + "---\nx: 1\n", "a file holds one playbook")],
)
def test_what_is_no_playbook(text: str, message: str) -> None:
    assert message in complaint(text)
