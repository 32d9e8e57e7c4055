"""When captures prove that nothing left in plaintext, and when they only saw nothing."""

from __future__ import annotations

from typing import Any

import pytest

from drills.inject.plaintext import CaptureEnd, PlaintextVerdict, judge

SINCE, UNTIL = 100.0, 160.0


def end(**changed: Any) -> dict[str, Any]:
    seen = {"interfaces": {"eth0": True}, "paths": {"172.18.0.12": True}}
    whole = {
        "from": 98.0, "to": 163.0, "interfaces": ["eth0"], "packets": 10, "plaintext": {}, "samples": [], "lost": 0,
        "changes": [], "marks": [{"mark": "before", "at": 99.0, **seen}, {"mark": "after", "at": 161.0, **seen}],
    }  # fmt: skip
    return {**whole, **changed}


def mark(name: str, at: float, **changed: Any) -> dict[str, Any]:
    return {"mark": name, "at": at, "interfaces": {"eth0": True}, "paths": {"172.18.0.12": True}, **changed}


def verdict(*ends: dict[str, Any] | str) -> tuple[PlaintextVerdict, tuple[str, ...]]:
    nodes = [f"w{number}" for number in range(1, 1 + len(ends))]
    read = {
        node: each if isinstance(each, str) else CaptureEnd.read(each) for node, each in zip(nodes, ends, strict=True)
    }
    found = judge(nodes, read, SINCE, UNTIL)
    return found.verdict, found.reasons


def test_nothing_seen_by_captures_that_can_see() -> None:
    assert verdict(end(), end()) == (PlaintextVerdict.NONE, ())


SAMPLE = {"at": 120.0, "interface": "eth0", "way": "out", "source": "10.244.1.10", "target": "10.244.2.10",
          "protocol": "tcp", "source_port": 40000, "target_port": 80, "inside": ""}  # fmt: skip


def test_one_packet_is_enough_however_bad_the_capture() -> None:
    found, reasons = verdict(end(plaintext={"eth0": 1}, samples=[SAMPLE], marks=[], lost=5), "it died")
    assert found is PlaintextVerdict.SEEN
    assert reasons == ("w1: tcp from 10.244.1.10 to 10.244.2.10:80 in clear on eth0 (out)",)


@pytest.mark.parametrize(
    ("one", "says"),
    [
        ("it died", "w2: it died"),
        (end(lost=3), "the kernel lost 3 packets"),
        (end(interfaces=[]), "no interface was watched"),
        (end(changes=["eth1 came"]), "eth1 came during the capture"),
        (end(interfaces=["eth0", "eth1"]), "a known packet on eth1 was not seen before"),
        (end(marks=[mark("before", 99.0)]), "no known packet was sent after"),
        (
            end(marks=[mark("before", 99.0), mark("after", 161.0, interfaces={"eth0": False})]),
            "on eth0 was not seen after",
        ),
        (end(marks=[mark("before", 99.0, paths={"172.18.0.12": False}), mark("after", 161.0)]), "is not watched"),
        (end(marks=[mark("before", 99.0, paths={}), mark("after", 161.0)]), "no other node was reached for"),
        (end(marks=[mark("before", 101.0), mark("after", 161.0)]), "do not enclose the fault"),
        (end(marks=[mark("before", 99.0), mark("after", 159.0)]), "do not enclose the fault"),
    ],
)
def test_a_capture_that_may_have_been_blind_proves_nothing(one: dict[str, Any] | str, says: str) -> None:
    found, reasons = verdict(end(), one)
    assert found is PlaintextVerdict.NOT_PROVEN
    assert any(says in reason for reason in reasons), reasons


def test_a_node_without_a_capture_or_no_node_at_all() -> None:
    assert judge(["w1"], {}, SINCE, UNTIL).verdict is PlaintextVerdict.NOT_PROVEN
    assert judge([], {}, SINCE, UNTIL).verdict is PlaintextVerdict.NOT_PROVEN
