"""A write whose answer was lost: is what is there now what was sent?"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from drills.kube.api import OF_THE_SERVER, holds

SENT: dict[str, Any] = {
    "metadata": {"name": "a", "labels": {"app": "x"}, "annotations": {"drills/run": "r"}, "resourceVersion": "1"},
    "spec": {"containers": [{"name": "drill", "command": ["sleep"]}], "nodeName": "", "tolerations": []},
}


def served(**more: Any) -> dict[str, Any]:
    """What was sent, as a server keeps it."""
    found = copy.deepcopy(SENT)
    del found["spec"]["nodeName"], found["spec"]["tolerations"]
    found["metadata"] |= {"uid": "u", "resourceVersion": "7", "creationTimestamp": "now"}
    found["spec"]["containers"][0]["imagePullPolicy"] = "Always"
    found["spec"]["containers"].insert(0, {"name": "sidecar"})
    return {**found, "status": {"phase": "Pending"}, **more}


def test_what_was_sent_is_found_beside_what_others_added() -> None:
    assert holds(served(), SENT, frozenset({"resourceVersion"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["metadata"]["annotations"].update({"drills/run": "another"}),
        lambda found: found["metadata"].pop("annotations"),
        lambda found: found["metadata"]["labels"].clear(),
        lambda found: found["spec"]["containers"].pop(),
        lambda found: found.update(spec=None),
        lambda found: found.update(spec=[]),
    ],
)
def test_a_strangers_object_is_not_taken_for_ours(change: Any) -> None:
    found = served()
    change(found)
    assert not holds(found, SENT, frozenset({"resourceVersion"}))


def test_a_field_that_was_to_be_removed_and_is_there_still_was_not_written() -> None:
    before = {"metadata": {"name": "a", "annotations": {"x": "1", "ours": "2"}, "resourceVersion": "5"}}
    wanted = {"metadata": {"name": "a", "annotations": {"x": "1"}, "resourceVersion": "5"}}
    written = {"metadata": {"name": "a", "annotations": {"x": "1"}, "resourceVersion": "6", "generation": 2}}
    same = [holds(now, wanted, OF_THE_SERVER) and holds(wanted, now, OF_THE_SERVER) for now in (before, written)]
    assert same == [False, True]
