"""What is read of files and folders, what is passed over, and the exit status of what cannot be read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import check_world
import pytest
from click.testing import CliRunner

from drills.check import reading
from drills.check.finding import Finding
from drills.check.world import Options
from drills.cli import cli
from drills.errors import InputError

EVERYTHING = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: backend}}
- {apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p, namespace: backend}}
- not an object
---
groups: [{name: g, rules: []}]
---
route: {receiver: x}
receivers: [{name: x}]
---
# an empty document
---
just text
---
name: a workflow
on: push
---
[1, 2, 3]
"""


def test_documents_are_sorted_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(EVERYTHING)
    world = reading.read([tmp_path], Options())
    assert [str(each) for each in world.objects] == ["Namespace backend", "CiliumNetworkPolicy backend/p"]
    assert [str(each) for each in world.policies] == ["CiliumNetworkPolicy backend/p"]
    assert (len(world.rule_files), len(world.alertmanagers)) == (1, 1)
    assert next(world.policies).place("metadata", "name").line == 5


def files(path: Path) -> list[str]:
    """The names of what would be read, where all can be."""
    unreadable: list[Finding] = []
    found = reading.files(path, unreadable)
    assert unreadable == []
    return [each.name for each in found]


def test_a_folder_is_read_by_name_without_hidden_folders(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "d.txt", ".git/e.yaml", "sub/f.yaml", "sub/g.YAML", ".h.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a: 1\n")
    os.mkfifo(tmp_path / "pipe.yaml")
    assert files(tmp_path) == ["a.yml", "b.yaml", "c.json", "f.yaml", "g.YAML"]


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    hidden = tmp_path / ".config"
    hidden.mkdir()
    (hidden / "a.yaml").write_text("a: 1\n")
    assert files(hidden) == ["a.yaml"]


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or directory"):
        files(tmp_path / "nothing.yaml")


def test_a_folder_without_a_file_to_check_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kind: Pod\n")
    with pytest.raises(InputError, match="it holds no file with"):
        files(tmp_path)


def test_an_empty_text_is_no_path() -> None:
    done = CliRunner().invoke(cli, ["check", ""])
    assert done.exit_code == 2
    assert "an empty text is no path" in done.output


def test_that_nothing_was_found_is_not_that_nothing_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("a: 1\n")
    done = CliRunner().invoke(cli, ["check", str(tmp_path)], standalone_mode=False)
    assert done.output.startswith("Nothing was found to check")
    (tmp_path / "f.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
    done = CliRunner().invoke(cli, ["check", str(tmp_path)], standalone_mode=False)
    assert done.output == "Nothing is wrong.\n"


def test_a_folder_that_the_file_system_does_not_give_out_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")
    deep = "d" * 250
    with contextlib.chdir(tmp_path):
        for _ in range(os.pathconf(tmp_path, "PC_PATH_MAX") // len(deep) + 1):
            Path(deep).mkdir()
            os.chdir(deep)
    _is_unreadable(tmp_path, "File name too long")


def test_a_file_that_the_file_system_does_not_give_out_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    _is_unreadable(tmp_path, "No such file or directory")


def _is_unreadable(folder: Path, why: str) -> None:
    done = CliRunner().invoke(cli, ["check", str(folder)], standalone_mode=False)
    assert f":1:1: error: cannot be read: {why} [check/unreadable]" in done.output
    assert "effect: Nothing in it was checked; the exit status is 2." in done.output
    assert done.return_value == 2


def test_a_byte_that_is_no_text_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes('\ufeffa: 1\r\nbä: "x'.encode() + b'\xff"\n')
    (found,) = reading.read([tmp_path], Options()).unreadable
    assert (found.place.line, found.place.column) == (2, 7)
    assert found.message == "not text in UTF-8 (byte 0xff)"


@pytest.mark.parametrize(
    ("version", "kind", "meant"),
    [
        ("cilium.io/v2", "CiliumNetworkPolcy", "CiliumNetworkPolicy"),
        ("cilium.io/v2", "ciliumnetworkpolicy", "CiliumNetworkPolicy"),
        ("cilium.io/v2", "CiliumNetworkPolicies", "CiliumNetworkPolicy"),
        ("cilium.io/v2", "NetworkPolicy", "CiliumNetworkPolicy"),
        ("cilium.io/v2", "CiliumClusterNetworkPolicy", "CiliumClusterwideNetworkPolicy"),
        ("monitoring.coreos.com/v1", "PrometheusRules", "PrometheusRule"),
        ("monitoring.coreos.com/v1alpha1", "AlertManagerConfig", "AlertmanagerConfig"),
        ("apps/v1", "Deploymnet", "Deployment"),
        ("v1", "service", "Service"),
        ("cilium.io/v2", "CiliumNetworkPolicyList", None),
        ("cilium.io/v2", "CiliumLocalRedirectPolicy", None),
        ("cilium.io/v2", "CiliumEgressGatewayPolicy", None),
        ("cilium.io/v2", "CiliumClusterwideEnvoyConfig", None),
        ("cilium.io/v2", "CiliumNodeConfig", None),
        ("cilium.io/v2", "CiliumEndpoint", None),
        ("monitoring.coreos.com/v1", "PrometheusAgent", None),
        ("monitoring.coreos.com/v1", "PodMonitor", None),
        ("v1", "ServiceAccount", None),
        ("v1", "Config", None),
        ("apps/v1", "ControllerRevision", None),
        ("example.org/v1", "PrometheusRules", None),
        ("serving.knative.dev/v1", "service", None),
    ],
)
def test_a_misspelt_kind_is_not_passed_over(tmp_path: Path, version: str, kind: str, meant: str | None) -> None:
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a, namespace: b}}\n"
    told = [(each.rule, each.place.line, each.fix) for each in check_world.found(tmp_path, text)]
    assert told == ([] if meant is None else [("check/unknown-kind", 2, f"Write kind: {meant}.")])


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"a: {{ .Values.x }}\n  b: [", 2),
        (b"\xff\xfe\x00", 2),
        (b"apiVersion: drills/v1\nkind: Playbook\n", 2),
        (b"a: 1\n", 0),
        (b"", 0),
    ],
    ids=["template", "binary", "playbook", "other", "empty"],
)
def test_exit_status(content: bytes, status: int, tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    done = CliRunner().invoke(cli, ["check", str(tmp_path)], standalone_mode=False)
    assert done.exception is None
    assert done.return_value == status
