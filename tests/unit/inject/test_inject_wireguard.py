"""WireGuard faults as plans, and what nodes say when a fault is there, and when it is gone."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest

from drills.cilium.encryption import PUBLIC_KEY, Device, Encryption, NodeKeys, Peer, is_key, parse
from drills.errors import WorldError
from drills.inject.wireguard import (
    EffectState,
    HideKeyFile,
    Missing,
    Plan,
    Remove,
    RepairAgent,
    Replace,
    RestartAgent,
    RestoreObject,
    effect,
    missing_after,
    plan,
)
from drills.playbook import WireguardInjection


def key(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


OWN, OTHER, FOREIGN = key("a"), key("b"), key("x")
SECRET = {"metadata": {"namespace": "kube-system", "name": "keys", "uid": "u"}, "data": {"k": "eA=="}}


def node(name: str, published: str | None) -> dict[str, Any]:
    annotations = {"more": "stays"} | ({PUBLIC_KEY: published} if published else {})
    return {"metadata": {"name": name, "uid": name, "annotations": annotations}, "spec": {}}


NODES = {"w1": node("w1", OWN), "w2": node("w2", OTHER)}


def plan_of(fault: str, **more: Any) -> Plan:
    given = {"node": "w1", "fault": fault, "duration": "5m"}
    if fault == "secret-deleted":
        given["secret"] = "kube-system/keys"
    return plan(WireguardInjection.model_validate(given), "run-1", NODES, secret=SECRET, **more)


def keys(published: str, own: str, peer: str, handshake: float | None = 100.0) -> NodeKeys:
    return NodeKeys(published, Encryption("Wireguard", Device(own, 51871, (Peer(peer, handshake=handshake),))))


HEALTHY = {"w1": keys(OWN, OWN, OTHER), "w2": keys(OTHER, OTHER, OWN)}


def test_a_replaced_key_is_valid_and_its_undo_is_the_image_before() -> None:
    made = plan_of("key-replaced")
    (step,) = made.steps
    assert isinstance(step.change, Replace)
    annotations = step.change.after["metadata"]["annotations"]
    assert is_key(annotations[PUBLIC_KEY])
    assert annotations == {"more": "stays", PUBLIC_KEY: made.key}
    assert isinstance(step.undo, RestoreObject)
    assert (step.undo.before, step.undo.after) == (NODES["w1"], step.change.after)
    assert NODES["w1"]["metadata"]["annotations"][PUBLIC_KEY] == OWN, "the before-image is not touched"
    assert plan_of("key-replaced").key != made.key


def test_a_removed_key_leaves_other_annotations() -> None:
    (step,) = plan_of("key-removed").steps
    assert isinstance(step.change, Replace)
    assert step.change.after["metadata"]["annotations"] == {"more": "stays"}


def test_faults_in_the_agent_are_undone_by_its_restart() -> None:
    hide, restart = plan_of("key-file-deleted").steps
    assert (hide.change, hide.undo) == (HideKeyFile("w1", "run-1"), RepairAgent("w1", "run-1", OWN))
    assert (restart.change, restart.undo) == (RestartAgent("w1"), None)
    (device,) = plan_of("device-deleted").steps
    assert device.undo == RepairAgent("w1", published=OWN)


def test_a_deleted_secret_comes_back_whole() -> None:
    (step,) = plan_of("secret-deleted").steps
    assert isinstance(step.change, Remove)
    assert isinstance(step.undo, RestoreObject)
    assert (step.undo.before, step.undo.after) == (SECRET, None)


@pytest.mark.parametrize("run", ["../../etc", "a b", "", "x;rm"])
def test_a_record_cannot_name_another_file(run: str) -> None:
    with pytest.raises(ValueError, match="names no run"):
        RepairAgent("w1", run)


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ({"w2": NODES["w2"]}, "no CiliumNode w1"),
        ({"w1": NODES["w1"]}, "one node only"),
        ({"w1": node("w1", None), "w2": NODES["w2"]}, "WireGuard is not in use"),
    ],
)
def test_a_target_without_wireguard_is_refused(nodes: dict[str, Any], says: str) -> None:
    injection = WireguardInjection.model_validate({"node": "w1", "fault": "key-replaced", "duration": "5m"})
    with pytest.raises(WorldError, match=says):
        plan(injection, "run-1", nodes)


NO_DEVICE = NodeKeys(OWN, Encryption("Wireguard", None, "device cilium_wg0 not found"))


@pytest.mark.parametrize(
    ("fault", "now", "state"),
    [
        ("key-replaced", {"w1": keys(FOREIGN, OWN, OTHER), "w2": keys(OTHER, OTHER, FOREIGN)}, "effective"),
        ("key-replaced", {"w1": keys(FOREIGN, OWN, OTHER), "w2": keys(OTHER, OTHER, OWN)}, "pending"),
        ("key-replaced", HEALTHY, "healed"),
        ("key-removed", {"w1": keys("", OWN, OTHER), "w2": HEALTHY["w2"]}, "effective"),
        ("key-removed", HEALTHY, "healed"),
        ("key-file-deleted", HEALTHY, "pending"),
        ("key-file-deleted", {"w1": keys(FOREIGN, FOREIGN, OTHER), "w2": keys(OTHER, OTHER, FOREIGN)}, "effective"),
        ("key-file-deleted", {"w1": keys(FOREIGN, FOREIGN, OTHER), "w2": HEALTHY["w2"]}, "pending"),
        ("device-deleted", {"w1": NO_DEVICE, "w2": HEALTHY["w2"]}, "effective"),
        ("device-deleted", HEALTHY, "healed"),
        ("secret-deleted", HEALTHY, "effective"),
    ],
)
def test_a_fault_is_there_only_where_the_nodes_say_so(fault: str, now: dict[str, NodeKeys], state: str) -> None:
    assert effect(plan_of(fault, key=FOREIGN), HEALTHY, now).state == EffectState(state)


def test_a_silent_agent_is_no_effect() -> None:
    silent = {"w1": keys(FOREIGN, OWN, OTHER), "w2": NodeKeys(OTHER, Encryption("unknown", message="no answer"))}
    assert effect(plan_of("key-replaced", key=FOREIGN), HEALTHY, silent).state is EffectState.PENDING


def test_an_agent_that_does_not_answer_has_not_lost_its_device() -> None:
    silent = {"w1": NodeKeys(OWN, Encryption("unknown", message="no answer")), "w2": HEALTHY["w2"]}
    assert effect(plan_of("device-deleted"), HEALTHY, silent).state is EffectState.PENDING


LATER = {"w1": keys(OWN, OWN, OTHER, 201.0), "w2": keys(OTHER, OTHER, OWN, 201.0)}


@pytest.mark.parametrize(
    ("fault", "now", "lacks"),
    [
        ("key-replaced", LATER, []),
        ("key-replaced", HEALTHY, ["no handshake with w2", "no handshake with w1"]),
        ("key-removed", HEALTHY, []),  # its session was never ended
        ("device-deleted", {**LATER, "w1": NO_DEVICE}, ["w1 has no WireGuard device (device cilium_wg0 not found)"]),
        ("key-file-deleted", {"w1": keys(FOREIGN, FOREIGN, OTHER, 201.0), "w2": keys(OTHER, OTHER, FOREIGN, 201.0)},
         ["w1 does not have the public key that it had"]),
        ("key-replaced", {"w1": keys(OWN, FOREIGN, OTHER, 201.0), "w2": LATER["w2"]}, ["another key than"]),
        ("key-replaced", {"w1": LATER["w1"], "w2": keys(OTHER, OTHER, FOREIGN, 201.0)}, ["w2 does not have w1"]),
        ("key-replaced", {"w1": LATER["w1"]}, ["w2 is not there", "w1 has 1 peers, not 0"]),
    ],
)  # fmt: skip
def test_repaired_means_as_before_with_a_newer_handshake(
    fault: str, now: dict[str, NodeKeys], lacks: list[str]
) -> None:
    missing = missing_after(plan_of(fault, key=FOREIGN), HEALTHY, now, since=200.0)
    found = missing.lacking
    assert missing.unknown == ()
    assert len(found) == len(lacks), found
    assert all(any(text in each for each in found) for text in lacks), found


def test_a_peer_too_many_is_not_repaired() -> None:
    device = LATER["w2"].device
    assert device is not None
    more = replace(device, peers=(*device.peers, Peer(FOREIGN)))
    now = {**LATER, "w2": NodeKeys(OTHER, Encryption("Wireguard", more))}
    assert missing_after(plan_of("key-replaced"), HEALTHY, now, since=200.0) == Missing(("w2 has 2 peers, not 1",))


def test_an_agent_that_does_not_answer_after_the_repair_is_not_known_to_lack_anything() -> None:
    now = {"w1": NodeKeys(OWN, Encryption("unknown", message="no answer")), "w2": LATER["w2"]}
    missing = missing_after(plan_of("key-replaced"), HEALTHY, now, since=200.0)
    assert missing == Missing(unknown=("the agent of w1 does not say how its encryption is: no answer",))


def test_what_was_not_waited_for_is_not_known_to_be_lost() -> None:
    assert Missing(("no handshake",), ("no answer",)).unawaited() == Missing((), ("no handshake", "no answer"))


def test_an_agents_answer_is_read() -> None:
    found = parse(
        '{"mode":"Wireguard","wireguard":{"node-encryption":"Disabled","interfaces":[{"name":"cilium_wg0","listen-port":'
        '51871,"public-key":"A","peer-count":2,"peers":[{"public-key":"B","endpoint":"192.168.10.101:51871","allowed-ips":'
        '["10.0.1.0/24"],"last-handshake-time":"2025-08-22T00:00:01.500Z","transfer-rx":1,"transfer-tx":2},'
        '{"public-key":"C","last-handshake-time":"0001-01-01T00:00:00.000Z"}]}]}}'
    )
    assert found.device is not None
    first, second = found.device.peers
    assert (first.handshake, first.received, first.sent) == (1755820801.5, 1, 2)
    assert second.handshake is None
    assert parse('{"mode":"Disabled"}') == Encryption("Disabled")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"mode":"Wireguard","wireguard":{"interfaces":[{"name":"cilium_wg0"}]}}']
)
def test_anything_else_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(text)
