"""What the command line of ``drills check`` may say, whatever is given beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from drills.check.world import Options
from drills.cli import cli
from drills.errors import InputError

RULES = """\
groups:
- name: g
  rules:
  - {alert: A, expr: 'sum(increase(cilium_policy_l7_denied_total[5m])) > 10'}
"""


@pytest.mark.parametrize(
    "version",
    [
        "garbage",
        "",
        "1",
        "1.",
        ".18",
        "0.9",
        "1.13",
        "2.0",
        "1.18.x",
        "1.18.",
        "١.١٨",
        "1.18 ",
        " 1.18",
        "1.18\n",
        "-1.18",
    ],
)
def test_what_is_no_version_of_cilium_is_refused_with_those_that_are_known(tmp_path: Path, version: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    done = CliRunner().invoke(cli, ["check", str(file), "--cilium-version", version])
    assert isinstance(done.exception, InputError)
    assert "--cilium-version: " in str(done.exception)
    assert "known are 1.18 to 1.20 in full" in str(done.exception)


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("1.20", (1, 20)),
        ("v1.18", (1, 18)),
        ("1.19.4", (1, 19)),
        ("1.20.0-pre.3", (1, 20)),
        ("1.14", (1, 14)),
        ("1.21", (1, 21)),
    ],
)
def test_a_version_may_be_written_in_full(version: str, release: tuple[int, int]) -> None:
    assert Options(cilium=version).release == release


def test_a_version_in_full_has_the_catalogue_of_its_minor_version(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    arguments = ["check", str(file), "--cilium-version"]
    told = [CliRunner().invoke(cli, [*arguments, each]).output for each in ("1.18", "v1.18.2")]
    assert told[0] == told[1]
    assert "cilium/removed-metric" in told[0]


@pytest.mark.parametrize(
    "url", ["foo", "", "localhost:9090", "ftp://x", "http://", "http://x:port", "http://a:b@x", "x y"]
)
def test_what_is_no_address_of_a_prometheus_is_refused(tmp_path: Path, url: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    done = CliRunner().invoke(cli, ["check", str(file), "--prometheus", url])
    assert isinstance(done.exception, InputError)
    assert "a:b" not in str(done.exception)
    assert "service:" not in str(done.exception)
