"""Whatever is wrong ends as one clear sentence and the contract's exit status, with nothing left behind."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from command import BIN, SHIPPED, Drills, Ended

from drills.errors import WorldError
from drills.lab import client
from drills.lab.client import LabRequest

pytestmark = pytest.mark.lab

POD = """
apiVersion: v1
kind: Pod
metadata: {name: odd, namespace: default}
spec: {containers: [{name: main, image: example.org/no-stand-in:1}]}
"""

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: gone
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: not-a-secret}}}}]
contexts: [{{name: gone, context: {{cluster: c, user: u}}}}]
"""


def playbook(folder: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text()
    assert old in text
    path = folder / "playbook.yaml"
    path.write_text(text.replace(old, new))
    return path


def sentence(ended: Ended, status: int) -> str:
    assert ended.status == status, ended.err + ended.out
    return ended.err


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("kind: Playbook", "kind: [Playbook", ("playbook.yaml:", "YAML")),
        ("rate: 5/s", "rate: 5", ("playbook.yaml:17:", "rate")),
        ("guards:", "gaurds:", ("playbook.yaml:8:3", "gaurds", "guards")),
        (
            'from: frontend, url: "http://http-api.backend/admin',
            'from: nobody, url: "http://http-api.backend/admin',
            ("nobody", "frontend"),
        ),
        ("within: 4m", "within: 30s", ("cannot fire within 30 s", "60 s")),
        (
            'http://http-api.backend/admin/config", rate: 5/s',
            'http://http-api.backend/admin/config", rate: 50/s',
            ("51/s", "maxRequestsPerSecond (20)"),
        ),
    ],
    ids=["broken-yaml", "wrong-type", "unknown-key", "unknown-source", "within-below-best-case", "rate-above-guard"],
)
def test_wrong_playbook(drills: Drills, tmp_path: Path, old: str, new: str, words: tuple[str, ...]) -> None:
    path = playbook(tmp_path, old, new)

    said = sentence(drills("run", path, "--lab"), 2)

    assert all(word in said for word in words), said
    assert drills("lab", "status").status == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prometheus", "http://user:hidden@prom:9090"), "carries credentials"),
        (("--rule-label", "=v"), "--rule-label"),
        (("--schedule", "0 3 * * 7"), "0 to 6"),
    ],
)
def test_manifests_that_no_cluster_could_use(drills: Drills, options: tuple[str, ...], words: str) -> None:
    ended = drills("manifests", SHIPPED, *options)
    said = sentence(ended, 2)
    assert words in said
    assert "hidden" not in said + ended.out
    assert ended.out == ""


def test_missing_playbook(drills: Drills, tmp_path: Path) -> None:
    assert "nowhere.yaml" in sentence(drills("run", "nowhere.yaml", "--lab"), 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "PLAYBOOK"),
        (("run", SHIPPED), "--lab"),
        (("run", SHIPPED, "--lab", "--context", "kind"), "two targets"),
        (("run", SHIPPED, "--context", "kind"), "--prometheus"),
        (("run", SHIPPED, "--lab", "--prometheus", "http://localhost:1"), "--prometheus"),
        (("run", SHIPPED, "--context", "kind", "--time-lapse", "2"), "--time-lapse"),
        (("run", SHIPPED, "--lab", "--only", "nothing"), "admin-path"),
        (("run", SHIPPED, SHIPPED, "--lab"), "admin-path"),
        (("run", SHIPPED, "--lab", "--time-lapse", "0"), "between 1"),
        (("lab", "up", "--real-time", "--time-lapse", "5"), "--real-time"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_wrong_arguments(drills: Drills, arguments: tuple[str | Path, ...], words: str) -> None:
    assert words in sentence(drills(*arguments), 2)


def test_unknown_image(drills: Drills, tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "pod.yaml").write_text(POD)

    said = sentence(drills("run", SHIPPED, "--lab", "--manifests", manifests), 2)

    assert "example.org/no-stand-in:1" in said
    assert drills("lab", "status").status == 3


def test_image_table_brings_an_image(drills: Drills, tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    (manifests / "pod.yaml").write_text(POD)
    (tmp_path / "images.yaml").write_text("- {image: example.org/no-stand-in, like: nginx}\n")
    more = replace(drills, environment={**drills.environment, "DRILLS_IMAGES": str(tmp_path / "images.yaml")})
    try:
        up = more("lab", "up", "--manifests", manifests)
        assert up.status == 0, up.err
        assert "no-stand-in" not in up.err
    finally:
        more("lab", "down")


def test_wrong_image_table(drills: Drills, tmp_path: Path) -> None:
    (tmp_path / "images.yaml").write_text("- {image: a, liek: nginx}\n")
    wrong = replace(drills, environment={**drills.environment, "DRILLS_IMAGES": str(tmp_path / "images.yaml")})

    assert "unknown key liek" in sentence(wrong("lab", "up"), 2)


def test_unreachable_api(drills: Drills, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(KUBECONFIG.format(port=port))
        elsewhere = replace(drills, environment={**drills.environment, "KUBECONFIG": str(kubeconfig)})

        ended = elsewhere("run", SHIPPED, "--context", "gone", "--prometheus", "http://127.0.0.1:9")

    said = sentence(ended, 3)
    assert f"127.0.0.1:{port}" in said
    assert "not-a-secret" not in said + ended.out


def test_missing_program_is_named_with_its_package(drills: Drills, tmp_path: Path) -> None:
    poor = replace(drills, environment={**drills.environment, "PATH": f"{BIN}:{tmp_path}", "DRILLS_PATH_ONLY": "1"})

    said = sentence(poor("run", SHIPPED, "--lab"), 3)

    assert "prometheus" in said
    assert "doctor" in said


def test_port_in_use(drills: Drills) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(WorldError, match=str(port)):
            client.up(LabRequest(ports={"api": port}), environment={**os.environ, **drills.environment})

    assert drills("lab", "status").status == 3


def test_results_that_cannot_be_written(drills: Drills, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "--out" in sentence(drills("run", SHIPPED, "--lab", "--out", tmp_path / "file" / "out"), 3)
