"""A WireGuard drill that is killed at any step, or interrupted: everything is put back, byte for byte.

The fault of a run that goes on stands for 15 s. The steps behind it are reached sooner by Ctrl-C, which begins the same
undo.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import Lab, drills_of
from test_recovery import BEFORE, END, READY, left_of, reached, start, state, steps
from test_wireguard_drill import NODE, encryption, keys, kill, nothing_is_left, quick

pytestmark = pytest.mark.lab

FAULT = [*BEFORE, "change 2", "change 3", *READY, "picture", "inject", "attack", "change 4", "effect"]
REPAIR = ["undo", "undone", "plaintext", "attempts", "series", "recover", "undone 2", "undone 3", "undone 4", *END]
STEPS = [*FAULT, *REPAIR]
AGENTS = "Pod kube-system/cilium-"  # the restarted one is another pod
AROUND = ["attack", "change 4", "undo"]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A fast one: nothing here waits for an alert."""
    drills = drills_of(f"e2e-killed-{os.getpid()}", tmp_path_factory.mktemp("killed"))
    up = drills("lab", "up", "--time-lapse", "60")
    assert up.status == 0, up.err
    try:
        yield Lab(drills, Path(up.out.splitlines()[-1]))
    finally:
        drills("lab", "down")


@pytest.fixture(scope="module")
def at_first(lab: Lab) -> dict[str, Any]:
    """The state that every recovery goes back to."""
    return state(lab)


@pytest.mark.parametrize("wanted", STEPS)
def test_killed_at_any_step_of_a_replaced_key(lab: Lab, at_first: dict[str, Any], tmp_path: Path, wanted: str) -> None:
    annotations = keys(lab)
    journal = kill(lab, tmp_path, "key-replaced", wanted, interrupted_at="effect" if wanted in REPAIR else None)
    assert keys(lab) != annotations or wanted != "effect", "it was killed while the fault stood"
    if wanted == STEPS[-1]:
        assert steps(journal) == STEPS, "killed at every step that there is"

    recovered = lab.drills("recover")

    assert recovered.status == 0, recovered.out + recovered.err
    assert left_of(lab, at_first) == []
    nothing_is_left(lab)


@pytest.mark.parametrize("signals", [1, 2])
def test_interrupted_while_the_fault_stands(lab: Lab, at_first: dict[str, Any], tmp_path: Path, signals: int) -> None:
    journal = tmp_path / "out" / "journal.jsonl"
    process = start(lab, quick(tmp_path, "key-replaced"), tmp_path / "out")
    reached(process, journal, "effect")
    process.send_signal(signal.SIGINT)
    if signals > 1:
        process.send_signal(signal.SIGTERM)  # while the first is at work
    _, err = process.communicate(timeout=60)

    assert process.returncode == 4, err
    (drill,) = lab.drills.result(tmp_path / "out")["drills"]
    assert (drill["verdict"], drill["reasons"]) == ("aborted", ["interrupted by SIGINT"])
    recovery = drill["recovery"]
    if signals == 1:
        assert recovery["verdict"] == "restored", recovery
    else:  # without the waiting nobody saw a handshake: that is not known, and stays recorded until somebody looks
        assert (recovery["verdict"], "no handshake" in recovery["reason"]) == ("not-verified", True)
        looked = lab.drills("recover")
        assert looked.status == 0, looked.out
    assert left_of(lab, at_first) == []
    nothing_is_left(lab)


@pytest.mark.parametrize("wanted", AROUND)
@pytest.mark.parametrize("fault", ["device-deleted", "key-file-deleted"])
def test_killed_over_what_only_the_agent_can_repair(lab: Lab, tmp_path: Path, fault: str, wanted: str) -> None:
    (was,), before = encryption(lab)["wireguard"]["interfaces"], state(lab)
    kill(lab, tmp_path, fault, wanted, interrupted_at="effect" if wanted in REPAIR else None)

    recovered = lab.drills("recover")

    assert recovered.status == 0, recovered.out + recovered.err
    assert wanted == "attack" or f"the agent of {NODE} was restarted" in recovered.out
    (device,) = encryption(lab)["wireguard"]["interfaces"]
    assert (device["public-key"], device["peer-count"]) == (was["public-key"], was["peer-count"])
    assert left_of(lab, before, AGENTS) == []
    nothing_is_left(lab)


def test_a_secret_that_was_made_again_has_another_uid_and_the_result_says_so(lab: Lab, tmp_path: Path) -> None:
    lab.kubectl("create", "secret", "generic", "keys", "-n", "backend", "--from-literal=key=the-private-one")
    before, path = state(lab), quick(tmp_path, "secret-deleted, secret: backend/keys")
    text = path.read_text().replace("path: closed", "path: open")
    path.write_text(text.replace("allow: [capture]", "allow: [capture, cluster-wide]"))
    process = start(lab, path, tmp_path / "out")
    reached(process, tmp_path / "out" / "journal.jsonl", "effect")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    after = state(lab)["Secret backend/keys"]
    (drill,) = lab.drills.result(tmp_path / "out")["drills"]
    assert drill["recovery"]["verdict"] == "restored", drill["recovery"]
    assert f"Secret backend/keys: made again as it was (uid {after['metadata']['uid']})" in drill["recovery"]["reason"]
    assert after["metadata"]["uid"] != before["Secret backend/keys"]["metadata"]["uid"]
    assert after["data"] == before["Secret backend/keys"]["data"]
    written = [file.read_text() for file in (tmp_path / "out").iterdir()]
    secret = after["data"]["key"]
    assert not any(word in text for text in written for word in (secret, "the-private-one"))
    lab.kubectl("delete", "secret", "keys", "-n", "backend")
