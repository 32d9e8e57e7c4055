"""Values for Cilium's Helm chart: keys that the chart of the version does not have, which Helm passes over in silence.

They stand in a HelmRelease of Flux, an Application of Argo CD or a HelmChart of k3s, or in a values file. Only keys
that are known to be wrong are spoken of; nothing is said of keys that are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from drills.check.columns import Texts, word_place
from drills.check.finding import Finding, Level, Rule
from drills.check.policies.case import Release
from drills.check.world import Manifest, World, mapping, mappings
from drills.errors import Place, SourceError
from drills.source import Document, KeyPath, parse_documents

CHART: Final = "cilium"
_RELEASE: Final = """\
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: cilium, namespace: kube-system}
spec:
  chart: {spec: {chart: cilium, version: 1.18.2, sourceRef: {kind: HelmRepository, name: cilium}}}
  values:
"""
KEY = Rule(
    name="cilium/helm-key",
    level=Level.ERROR,
    title="Cilium's Helm chart has no such value",
    problem="The key does not exist in values.yaml of this version of the chart: it never did, or it was moved.",
    effect="Helm passes over keys that a chart does not have, without a word: what was meant to be set is not.",
    fix="Write the key that the chart has; `helm show values cilium/cilium --version X.Y.Z` lists them all.",
    wrong=_RELEASE + "    serviceMesh: {enableMutualTLS: true}\n",
    right=_RELEASE + "    authentication: {enabled: true, mutual: {spire: {enabled: true}}}\n",
    source="values.yaml of Cilium's charts 1.16 to 1.20; upgrade notes of 1.19",
)
RULES = (KEY,)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A key that charts from a release on do not have; ``deprecated`` is when it began to go."""

    path: tuple[str, ...]
    since: Release
    effect: str
    fix: str
    deprecated: Release | None = None


_STRICT: Final = tuple(
    _Wrong(
        ("encryption", "strictMode", key),
        (1, 20),
        "Strict mode for egress is not set: pods' traffic that is not encrypted leaves the node in the clear.",
        f"Write encryption.strictMode.egress.{key}.",
        deprecated=(1, 19),
    )
    for key in ("enabled", "cidr", "allowRemoteNodeIdentities")
)
_WRONG: Final = (
    _Wrong(
        ("serviceMesh", "enableMutualTLS"),
        (1, 16),
        "Mutual authentication is not turned on by it.",
        "Write authentication.enabled and authentication.mutual.spire.enabled; policies ask by `authentication`.",
    ),
    _Wrong(
        ("ingressController", "service", "nodePorts"),
        (1, 16),
        "The port is not opened: the Service's node ports are any that are free.",
        "Write ingressController.service.insecureNodePort (http) and secureNodePort (https).",
    ),
    _Wrong(
        ("hubble", "export", "static", "backends"),
        (1, 16),
        "Flows are not exported to it.",
        "Remove it: a static export writes to one file, hubble.export.static.filePath; something else reads that.",
    ),
    _Wrong(
        ("encryption", "wireguard", "userspaceFallback"),
        (1, 17),
        "There is no fallback to WireGuard in user space any more.",
        "Remove it, and use kernels with WireGuard (5.6 and later).",
    ),
    *_STRICT,
)
# Top-level keys by which a values file is known to be Cilium's.
_MARKS: Final = frozenset(
    {"hubble", "kubeProxyReplacement", "k8sServiceHost", "ipam", "bpf", "cni", "routingMode", "tunnelProtocol",
     "l7Proxy", "envoyConfig", "gatewayAPI", "encryption", "serviceMesh", "authentication", "socketLB"}
)  # fmt: skip


def check(world: World) -> Iterator[Finding]:
    """Keys that are not in the chart."""
    texts, release = Texts(), world.options.release
    for manifest in world.objects:
        for values in _of_manifest(manifest):
            yield from _wrong(values, values.release or release, texts)
    for document in world.values:
        for path in ((), (CHART,)):  # of the chart itself, and of a chart around it
            found = mapping(document.data.get(CHART)) if path else document.data
            if _MARKS & set(found):
                yield from _wrong(_Values(document, path, found), release, texts)


@dataclass(frozen=True, slots=True)
class _Values:
    """Values of the chart, and where they stand; ``text`` where they are written as YAML in a text."""

    document: Document
    at: KeyPath
    data: Mapping[str, Any]
    release: Release | None = None
    text: str = ""

    def place(self, path: tuple[str, ...], texts: Texts) -> Place:
        """Where a key stands."""
        if not self.text:
            return self.document.key_place_of((*self.at, *path))
        inside = parse_documents(self.text, "")[0].key_place_of(path)
        before = self.text.splitlines(keepends=True)[: inside.line - 1]
        offset = sum(map(len, before)) + inside.column - 1
        return word_place(texts.of(self.document), self.document, self.at, self.text, offset, f"{path[-1]}:")


def _wrong(values: _Values, release: Release, texts: Texts) -> Iterator[Finding]:
    for each in _WRONG:
        first = each.deprecated or each.since
        if release < first or not _has(values.data, each.path):
            continue
        name, version = ".".join(each.path), f"{release[0]}.{release[1]}"
        place, span = values.place(each.path, texts), len(each.path[-1])
        if release < each.since:
            text = f"{name} is deprecated in {version} and gone in {each.since[0]}.{each.since[1]}"
            effect = f"It still works in {version}. After the upgrade: {each.effect}"
            yield KEY.at(place, text, effect=effect, fix=each.fix, level=Level.WARNING, span=span)
        else:
            text = f"the chart of Cilium {version} has no value {name}"
            effect = f"Helm passes over it without a word. {each.effect}"
            yield KEY.at(place, text, effect=effect, fix=each.fix, span=span)


def _has(data: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(data, dict) or step not in data:
            return False
        data = data[step]
    return data is not None and data != {}


# --- where they stand -------------------------------------------------------------------------------------------------


def _of_manifest(manifest: Manifest) -> Iterator[_Values]:
    spec = mapping(manifest.data.get("spec"))
    at: KeyPath = (*manifest.at, "spec")
    match manifest.group, manifest.kind:
        case "helm.toolkit.fluxcd.io", "HelmRelease":
            chart = mapping(mapping(spec.get("chart")).get("spec"))
            if CHART in (chart.get("chart"), mapping(spec.get("chartRef")).get("name")):
                yield from _given(manifest, (*at, "values"), spec.get("values"), _release_of(chart.get("version")))
        case "helm.cattle.io", "HelmChart":
            if str(spec.get("chart")).rpartition("/")[2] == CHART:
                yield from _given(manifest, (*at, "valuesContent"), spec.get("valuesContent"),
                                  _release_of(spec.get("version")))  # fmt: skip
        case "argoproj.io", "Application":
            yield from _of_argo(manifest, at, spec)
        case "argoproj.io", "ApplicationSet":
            template = mapping(mapping(spec.get("template")).get("spec"))
            yield from _of_argo(manifest, (*at, "template", "spec"), template)


def _of_argo(manifest: Manifest, at: KeyPath, spec: Mapping[str, Any]) -> Iterator[_Values]:
    sources: list[tuple[KeyPath, Mapping[str, Any]]] = [((*at, "source"), mapping(spec.get("source")))]
    listed = spec.get("sources")
    sources += [((*at, "sources", index), mapping(each)) for index, each in enumerate(listed or ())
                if isinstance(listed, list)]  # fmt: skip
    for where, source in sources:
        if source.get("chart") != CHART:
            continue
        helm, release = mapping(source.get("helm")), _release_of(source.get("targetRevision"))
        for key in ("values", "valuesObject"):
            yield from _given(manifest, (*where, "helm", key), helm.get(key), release)
        for each in mappings(helm.get("parameters")):
            data: Any = each.get("value")
            for step in reversed(str(each.get("name", "")).split(".")):
                data = {step: data}
            index = helm["parameters"].index(each)
            yield _Values(manifest.document, (*where, "helm", "parameters", index, "name"), data, release)


def _given(manifest: Manifest, at: KeyPath, found: Any, release: Release | None) -> Iterator[_Values]:
    if isinstance(found, dict):
        yield _Values(manifest.document, at, found, release)
    elif isinstance(found, str):
        try:
            documents = parse_documents(found, "")
        except SourceError:  # a template of Argo's or Helm's own
            return
        if documents and isinstance(documents[0].data, dict):
            yield _Values(manifest.document, at, documents[0].data, release, found)


def _release_of(version: Any) -> Release | None:
    """The release of a chart's version; None for a range, or where there is none."""
    found = re.findall(r"(\d+)\.(\d+)", str(version))
    return (int(found[0][0]), int(found[0][1])) if len(found) == 1 else None


def is_values(file: Path | str) -> bool:
    """Whether a file is called as files with values are: values.yaml, cilium-values.yaml, values-prod.yaml."""
    return isinstance(file, Path) and "values" in file.stem.lower()
