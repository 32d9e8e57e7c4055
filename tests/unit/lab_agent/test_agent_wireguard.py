"""What an agent makes of keys and switches, as text and decisions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from drills.lab import plan
from drills.lab.agent import ciliumnode, encrypt_status, x25519
from drills.lab.agent.encryption import Encryption
from drills.lab.agent.shell import commands
from drills.lab.agent.wireguard import News, Switches, fallback_lines, news_of, route_lines, strict_script
from drills.lab.agent.wireguard_device import DeviceStatus, PeerStatus, parse
from drills.lab.api.resources import CILIUM_NODES
from drills.lab.api.store import Store
from drills.lab.daemons import Daemons
from drills.lab.runtime.builtin import BuiltinProcess

OWN, OTHER, THIRD = (x25519.text_of(bytes([number]) * 32) for number in (1, 2, 3))


def test_public_keys_are_x25519s() -> None:
    nine = (9).to_bytes(32, "little")  # RFC 7748, section 5.2: one iteration
    assert x25519.public_of(nine).hex() == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert x25519.public_of(x25519.generate()) != x25519.public_of(x25519.generate())


@pytest.mark.parametrize("text", ["", "short", OTHER[:-4], "!" * 44, OTHER + OTHER])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        x25519.key_of(text)


@pytest.mark.parametrize(
    ("key", "known", "news"),
    [
        (OTHER, {}, News.NEW),
        (OTHER, {"w2": THIRD}, News.NEW),
        (OTHER, {"w2": OTHER}, News.NONE),
        ("", {"w2": OTHER}, News.NONE),
        ("no key", {"w2": OTHER}, News.INVALID),
        (OWN, {"w2": OTHER}, News.DUPLICATE),
        (THIRD, {"w2": OTHER, "w3": THIRD}, News.DUPLICATE),
    ],
)
def test_what_another_nodes_key_means(key: str, known: dict[str, str], news: News) -> None:
    assert news_of("w2", key, known, OWN) is news


@pytest.mark.parametrize(
    ("data", "switches"),
    [
        (None, Switches()),
        ({"enable-wireguard": "false"}, Switches(wireguard=False)),
        ({"enable-encryption-strict-mode": "true", "lab-plaintext-fallback": "true"}, Switches(True, True, True)),
        ({"something": "else"}, Switches()),
    ],
)
def test_switches_of_the_configmap(data: dict[str, str] | None, switches: Switches) -> None:
    assert Switches.of(None if data is None else {"data": data}) == switches


def test_without_its_device_a_node_is_a_black_hole_and_never_sends_in_plaintext() -> None:
    first, second = route_lines("k8s-w1", Switches())
    assert first == "route replace 10.244.2.0/24 dev cilium_wg0 src 10.244.1.1"
    assert second == "route replace blackhole 10.244.2.0/24 metric 4000"
    assert fallback_lines("k8s-w1", Switches()) == ["route del 10.244.2.0/24 via 172.18.0.12 metric 3000"]
    assert fallback_lines("k8s-w1", Switches(fallback=True))[0].startswith(
        "route replace 10.244.2.0/24 via 172.18.0.12"
    )
    assert route_lines("k8s-w1", Switches(wireguard=False)) == ["route replace 10.244.2.0/24 via 172.18.0.12"]


def test_strict_mode_is_a_rule_that_comes_and_goes() -> None:
    assert "drop" in strict_script(Switches(strict=True))
    assert "drop" not in strict_script(Switches())


def test_the_control_sockets_answer_is_read() -> None:
    private, peer = bytes([1]) * 32, bytes([2]) * 32
    answer = (
        f"private_key={private.hex()}\nlisten_port=51871\nfwmark=3584\npublic_key={peer.hex()}\n"
        "preshared_key=00\nprotocol_version=1\nendpoint=172.18.0.12:51871\nlast_handshake_time_sec=100\n"
        "last_handshake_time_nsec=500000000\ntx_bytes=7\nrx_bytes=8\nallowed_ip=10.244.2.0/24\n"
    )
    found = parse(answer)
    assert (found.public_key, found.port) == (x25519.public_of(private), 51871)
    assert found.peers == (PeerStatus(peer, "172.18.0.12:51871", ("10.244.2.0/24",), 100.5, 8, 7),)
    assert parse("").peers == ()


def test_the_status_for_people_and_for_tools() -> None:
    status = encrypt_status.encryption(DeviceStatus(bytes(32), 51871, (PeerStatus(bytes([2]) * 32, handshake=0.0),)))
    (interface,) = status["wireguard"]["interfaces"]
    assert interface["peers"][0]["last-handshake-time"] == "0001-01-01T00:00:00.000Z"
    assert "cilium_wg0 (Pubkey: AAAA" in encrypt_status.text(status)
    assert encrypt_status.text(encrypt_status.encryption(None)) == "Encryption: Disabled\n"
    assert "not found" in encrypt_status.text(encrypt_status.encryption("device cilium_wg0 not found"))


def test_a_node_publishes_its_key_and_keeps_what_others_wrote() -> None:
    store = Store()
    ciliumnode.publish(store, "k8s-w1")
    assert ciliumnode.key_in(store.get(CILIUM_NODES, None, "k8s-w1")) == ""
    ciliumnode.publish(store, "k8s-w1", OWN)
    found = store.get(CILIUM_NODES, None, "k8s-w1")
    store.update(CILIUM_NODES, {**found, "metadata": {**found["metadata"], "labels": {"a": "b"}}})
    ciliumnode.publish(store, "k8s-w1", OTHER)
    found = store.get(CILIUM_NODES, None, "k8s-w1")
    assert (ciliumnode.key_in(found), found["metadata"]["labels"]) == (OTHER, {"a": "b"})
    assert found["spec"]["ipam"]["podCIDRs"] == [str(plan.POD_CIDRS["k8s-w1"])]


def test_without_a_tun_device_the_nodes_are_published_and_the_lab_says_so(tmp_path: Path) -> None:
    store = Store()
    encryption = Encryption(store, Daemons(tmp_path), tmp_path, tun=tmp_path / "no-tun")

    async def live() -> None:
        await encryption.start()
        assert await encryption.status("k8s-w1") is None
        await encryption.stop()

    asyncio.run(live())
    assert encryption.note is not None
    assert "without WireGuard" in encryption.note
    assert "no-tun cannot be opened" in encryption.note
    assert {each["metadata"]["name"] for each in store.list(CILIUM_NODES)} == set(plan.NODES)


def run(state: Path, *argv: str) -> tuple[int, str, str]:
    async def live() -> tuple[int, str, str]:
        names = {"example.com.": ["198.19.0.1"]}
        process = BuiltinProcess(commands(lambda _: state, lambda name: names.get(name, ()))[argv[0]], "k8s-w1", argv)
        out = b"".join([chunk async for chunk in process.stdout]).decode()
        err = b"".join([chunk async for chunk in process.stderr]).decode()
        return await process.wait(), out, err

    return asyncio.run(live())


def test_files_of_the_agents_state(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "cilium_wg0.key").write_text("k")
    inside = "/var/run/cilium/state"
    assert run(state, "ls", inside) == (0, "cilium_wg0.key\n", "")
    assert run(state, "mv", f"{inside}/cilium_wg0.key", f"{inside}/aside")[0] == 0
    assert run(state, "cat", f"{inside}/aside")[1] == "k"
    assert run(state, "mv", f"{inside}/cilium_wg0.key", f"{inside}/x")[0] == 1
    assert run(state, "cp", f"{inside}/aside", f"{inside}/again")[0] == 0
    assert run(state, "rm", f"{inside}/aside")[0] == 0
    assert run(state, "rm", f"{inside}/aside")[0] == 1
    assert run(state, "rm", "-f", f"{inside}/aside")[0] == 0
    assert sorted(each.name for each in state.iterdir()) == ["again"]


def test_names_outside_are_looked_up_as_on_the_node(tmp_path: Path) -> None:
    """Status 2 is getent's for a name that is not there, which is no failure of the command."""
    assert run(tmp_path, "getent", "ahostsv4", "example.com.") == (0, "198.19.0.1      STREAM example.com.\n", "")
    assert run(tmp_path, "getent", "ahostsv4", "drills.invalid.") == (2, "", "")
    assert run(tmp_path, "getent", "passwd")[0] == 1


@pytest.mark.parametrize("path", ["/etc/passwd", "/var/run/cilium/state/../../x", "/var/run/cilium/state/..", "x"])
def test_nothing_else_of_the_machine_can_be_reached(tmp_path: Path, path: str) -> None:
    for argv in (("cat", path), ("rm", "-f", path), ("mv", path, "/var/run/cilium/state/a")):
        status, out, err = run(tmp_path, *argv)
        assert (status, out) == (1, "")
        assert err.startswith(f"{argv[0]}: ")


@pytest.mark.parametrize(
    "argv", [("ip", "netns", "exec", "k8s-w1", "sh"), ("ip", "-batch", "x"), ("ip",), ("ip", "-n", "x", "link")]
)
def test_ip_stays_on_its_node(tmp_path: Path, argv: tuple[str, ...]) -> None:
    assert run(tmp_path, *argv)[0] == 1
