"""Values for Cilium's chart: keys that are known to be wrong, by version and place; nothing of any other key."""

from __future__ import annotations

from pathlib import Path

import check_world
import pytest
import yaml

from drills.check import checks, reading
from drills.check.finding import Level
from drills.check.world import Options

ALL = """\
serviceMesh: {enableMutualTLS: true}
ingressController: {service: {nodePorts: {http: 30080}}}
hubble: {export: {static: {backends: {x: 1}}}}
encryption: {wireguard: {userspaceFallback: true}, strictMode: {enabled: true, cidr: 10.0.0.0/8}}
prometheus: {metrics: "+a"}
neverHeardOf: {it: 1}
"""
NEVER = ["serviceMesh.enableMutualTLS", "ingressController.service.nodePorts", "hubble.export.static.backends"]
FALLBACK = ["encryption.wireguard.userspaceFallback"]
STRICT = ["encryption.strictMode.enabled", "encryption.strictMode.cidr"]
RIGHT = """\
authentication: {enabled: true, mutual: {spire: {enabled: true}}}
ingressController: {enabled: true, service: {insecureNodePort: 30080, nodePorts: {}}}
hubble: {export: {static: {enabled: true, filePath: /var/run/cilium/hubble/events.log}}}
encryption: {enabled: true, type: wireguard, strictMode: {egress: {enabled: true, cidr: 10.0.0.0/8}}}
"""


def told(file: Path, text: str, cilium: str = "1.20") -> list[str]:
    """The keys that are found, with the level where it is no error."""
    file.write_text(text)
    found = checks.findings(reading.read([file], Options(cilium=cilium)))
    assert {each.rule for each in found} <= {"cilium/helm-key"}
    assert all(text.splitlines()[each.place.line - 1][each.place.column - 1 :][: each.span].isalpha() for each in found)
    names = [next(word for word in each.message.split() if "." in word and not word[0].isdigit()) for each in found]
    return [
        name if each.level is Level.ERROR else f"{name} {each.level}" for name, each in zip(names, found, strict=True)
    ]


@pytest.mark.parametrize(
    ("cilium", "wrong"),
    [("1.15", []), ("1.16", NEVER), ("1.17", NEVER + FALLBACK), ("1.18", NEVER + FALLBACK),
     ("1.19", [*NEVER, *FALLBACK, *(f"{each} warning" for each in STRICT)]), ("1.20", NEVER + FALLBACK + STRICT)],
)  # fmt: skip
def test_keys_of_a_values_file_by_version(tmp_path: Path, cilium: str, wrong: list[str]) -> None:
    assert sorted(told(tmp_path / "cilium-values.yaml", ALL, cilium)) == sorted(wrong)


def flux(values: str, version: str = "1.18.2", chart: str = "cilium") -> str:
    return yaml.safe_dump({
        "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": "x"},
        "spec": {"chart": {"spec": {"chart": chart, "version": version}}, "values": yaml.safe_load(values)},
    })  # fmt: skip


def argo(helm: object, version: str = "1.18.2", chart: str = "cilium", *, many: bool = False) -> str:
    source = {"chart": chart, "targetRevision": version, "helm": helm}
    spec = {"sources": [{"ref": "x"}, source]} if many else {"source": source}
    return yaml.dump(
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "x"}, "spec": spec},
        default_style="|" if isinstance(helm, dict) and "values" in helm else None,
    )


@pytest.mark.parametrize(
    "text",
    [
        flux(ALL), flux(ALL, "1.18.x"), flux(ALL, "~1.18.0"), argo({"valuesObject": yaml.safe_load(ALL)}),
        argo({"values": ALL}), argo({"valuesObject": yaml.safe_load(ALL)}, many=True),
        "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: x}\nspec:\n  chart: cilium\n"
        "  version: 1.18.0\n  valuesContent: |-\n" + "".join(f"    {line}\n" for line in ALL.splitlines()),
    ],
    ids=["flux", "flux-x", "flux-tilde", "argo-object", "argo-text", "argo-sources", "k3s"],
)  # fmt: skip
def test_the_version_of_the_chart_goes_before_the_option(tmp_path: Path, text: str) -> None:
    assert sorted(told(tmp_path / "release.yaml", text)) == sorted(NEVER + FALLBACK)


def test_parameters(tmp_path: Path) -> None:
    names = ["serviceMesh.enableMutualTLS", "hubble.enabled", "encryption.strictMode.enabled"]
    text = argo({"parameters": [{"name": each, "value": "true"} for each in names]}, "*")
    (tmp_path / "app.yaml").write_text(text)
    found = checks.findings(reading.read([tmp_path], Options()))
    assert [each.rule for each in found] == ["cilium/helm-key"] * 2
    assert [text.splitlines()[each.place.line - 1].split()[-1] for each in found] == [names[0], names[2]]


@pytest.mark.parametrize("version", [">=1.16 <1.21", "latest", ""])
def test_a_range_of_versions_is_what_the_option_says(tmp_path: Path, version: str) -> None:
    assert sorted(told(tmp_path / "r.yaml", flux(ALL, version), "1.16")) == sorted(NEVER)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("values.yaml", RIGHT), ("release.yaml", flux(RIGHT, "1.20.1")), ("release.yaml", flux(ALL, chart="kong")),
        ("app.yaml", argo({"values": ALL}, chart="kong")), ("other.yaml", ALL),
        ("values.yaml", "ingressController: {service: {nodePorts: {http: 1}}}\nproxy: {}\n"),
        ("app.yaml", argo({"values": "{{ x }}: {{ .y }}"})), ("values.yaml", "- a list\n"),
        ("app.yaml", argo({"values": "text", "parameters": [1, {"name": 3}]})), ("r.yaml", flux("7")),
    ],
)  # fmt: skip
def test_nothing_is_said_of_what_is_right_unknown_or_of_another_chart(tmp_path: Path, name: str, text: str) -> None:
    assert told(tmp_path / name, text) == []


def test_values_below_the_chart_s_name(tmp_path: Path) -> None:
    text = "cilium:\n" + "".join(f"  {line}\n" for line in ALL.splitlines())
    assert sorted(told(tmp_path / "values.yaml", text)) == sorted(NEVER + FALLBACK + STRICT)


def test_a_list_of_releases(tmp_path: Path) -> None:
    items = "".join(
        f"- {line}\n" if not number else f"  {line}\n" for number, line in enumerate(flux(ALL).splitlines())
    )
    found = check_world.found(tmp_path, f"apiVersion: v1\nkind: List\nitems:\n{items}")
    assert len(found) == len(NEVER + FALLBACK)
