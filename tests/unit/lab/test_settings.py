"""Settings on their way into the lab, and manifests on theirs into the settings."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from drills.errors import InputError, SourceError, WorldError
from drills.lab import launcher, manifests
from drills.lab.init import Handover
from drills.lab.settings import LabSettings, Manifest, checked_time_lapse


def test_settings_survive_the_journey() -> None:
    manifest = Manifest("a.yaml:1:1", {"kind": "Pod", "metadata": {"name": "ü\n"}})
    settings = LabSettings("x", 15, "warn", (manifest,), {"api": 6443}, "secret")
    handover = Handover(settings.to_json(), "/state", {"api": 3}, ("status.json",))
    text = handover.to_json()
    assert "\n" not in text
    assert Handover.from_json(text) == handover
    assert LabSettings.from_json(Handover.from_json(text).settings) == settings


def test_seconds_of_the_lab() -> None:
    assert LabSettings(time_lapse=15).seconds(15) == 1


@pytest.mark.parametrize("k", [0, -1, 61])
def test_time_lapses_that_make_no_sense(k: int) -> None:
    with pytest.raises(InputError, match="time-lapse"):
        checked_time_lapse(k)


def test_manifests_come_directory_by_directory_and_by_name(tmp_path: Path) -> None:
    for name in ("b/2.yaml", "b/1.yml", "a/sub/x.json", "a/ignored.txt"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'{{"kind": "ConfigMap", "metadata": {{"name": "{name}"}}}}')
    found = manifests.read([tmp_path / "b", tmp_path / "a"])
    assert [manifest.object["metadata"]["name"] for manifest in found] == ["b/1.yml", "b/2.yaml", "a/sub/x.json"]


def test_lists_are_opened(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: List\nitems:\n- kind: A\n- kind: B\n")
    found = manifests.read([tmp_path])
    assert [manifest.object["kind"] for manifest in found] == ["A", "B"]
    assert found[1].place == f"{tmp_path / 'x.yaml'}:4:3"


@pytest.mark.parametrize("text", ["- a\n", "kind: List\nitems: [1]\n", "a: [\n"])
def test_what_is_no_manifest_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(SourceError, match=r"x\.yaml:\d+:\d+"):
        manifests.read([tmp_path])


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        manifests.read([tmp_path / "none"])


def test_the_shipped_manifests_can_be_read() -> None:
    assert {manifest.object["kind"] for manifest in manifests.shipped()} >= {"Namespace", "CiliumNetworkPolicy"}


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(WorldError, match=f"Port {port} .* lab's prometheus"):
            launcher.bind({"prometheus": port})
