"""What is read of files and folders, what is passed over, and the exit status of what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from drills.check import reading
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


def test_a_folder_is_read_by_name_without_hidden_folders(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json", "d.txt", ".git/e.yaml", "sub/f.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a: 1\n")
    assert [each.name for each in reading.files(tmp_path)] == ["a.yml", "b.yaml", "c.json", "f.yaml"]


def test_a_hidden_folder_that_is_named_is_read(tmp_path: Path) -> None:
    hidden = tmp_path / ".config"
    hidden.mkdir()
    (hidden / "a.yaml").write_text("a: 1\n")
    assert len(reading.files(hidden)) == 1


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or directory"):
        reading.files(tmp_path / "nothing.yaml")


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
