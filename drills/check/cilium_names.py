"""Commands and names that Cilium and Hubble do not know, in the containers, scripts and playbooks that use them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from drills.check.columns import FileText, Texts, word_place
from drills.check.finding import Finding, Level, Rule
from drills.check.world import WORKLOADS, Manifest, World, pod_template
from drills.errors import Place
from drills.source import KeyPath

_POD: Final = """\
apiVersion: v1
kind: Pod
metadata: {name: watch, namespace: monitoring}
spec:
  containers:
  - name: hubble
    image: quay.io/cilium/hubble:v1.18.0
    command: [COMMAND]
"""
FLAG = Rule(
    name="cilium/hubble-flag-value",
    level=Level.ERROR,
    title="hubble observe does not know the value of a flag",
    problem="DENIED is how hubble's text shows a policy verdict, and no value of --verdict; a list of namespaces with "
    "commas is one name to -n.",
    effect="`--verdict DENIED` ends the command with an error; `-n frontend,backend` matches no flow at all. Whatever "
    "waits for its output sees nothing.",
    fix="Write --verdict DROPPED, and -n once for each namespace.",
    wrong=_POD.replace("COMMAND", "hubble, observe, --verdict, DENIED"),
    right=_POD.replace("COMMAND", "hubble, observe, --verdict, DROPPED"),
    source="Cilium 1.19, hubble/cmd/observe/flows_filter.go and api/v1/flow/flow.proto",
)
NAME = Rule(
    name="cilium/no-such-name",
    level=Level.ERROR,
    title="Cilium has nothing of this name",
    problem="There is no Secret cilium-wireguard-keys (a private key never leaves its node), no command `cilium-dbg "
    "wg`, and there are no pods labelled cilium-ingress or cilium-gateway (Envoy on every node does their work).",
    effect="What refers to it finds nothing: the pod waits for a Secret that never comes, the selector selects no pod, "
    "the command fails.",
    fix="WireGuard: `cilium-dbg encrypt status`, and the annotation network.cilium.io/wg-pub-key of the CiliumNode. "
    "Ingress and Gateway API: the pods of the DaemonSet cilium-envoy, or the entity `ingress` in policies.",
    wrong="""\
apiVersion: v1
kind: Pod
metadata: {name: rotate, namespace: kube-system}
spec:
  containers:
  - name: rotate
    image: alpine:3.22
    command: [sleep, infinity]
  volumes:
  - name: keys
    secret: {secretName: cilium-wireguard-keys}
""",
    right=_POD.replace("COMMAND", "cilium-dbg, encrypt, status"),
    source="Cilium 1.20, pkg/wireguard/agent; Documentation/network/servicemesh/ingress.rst",
)
RULES = (FLAG, NAME)

_VERDICTS: Final = (
    "VERDICT_UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED", "TRANSLATED",
)  # fmt: skip
_OBSERVE: Final = re.compile(r"\bhubble\s+observe\b(?P<flags>[^|;&\n]*)")
_VERDICT: Final = re.compile(r"--verdict[=\s]+[\"']?(?P<value>[\w,]+)")
_NAMESPACE: Final = re.compile(r"(?:^|\s)(?:-n|--namespace)[=\s]+[\"']?(?P<value>[a-z0-9.-]+(?:,[a-z0-9.-]+)+)")
_WG: Final = re.compile(r"\bcilium(?:-dbg)?\s+(?P<word>wg|wireguard)\b")
_KEYS: Final = "cilium-wireguard-keys"
_KEYS_WORD: Final = re.compile(rf"\bsecrets?[/\s]+(?:-\S+\s+\S+\s+)?(?P<name>{_KEYS})\b")
_PODS: Final = ("cilium-ingress", "cilium-gateway")
_LABEL_KEYS: Final = ("app.kubernetes.io/name", "k8s-app", "app", "name")
_KEY: Final = "|".join(map(re.escape, _LABEL_KEYS))
_LABEL: Final = re.compile(rf"(?:-l|--selector)[=\s]+[\"']?(?P<label>(?:{_KEY})=(?P<value>{'|'.join(_PODS)}))\b")
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_SELECTORS: Final = ("matchLabels", "selector", "podSelector", "endpointSelector")


def check(world: World) -> Iterator[Finding]:
    """Findings in workloads, scripts in ConfigMaps, selectors, and playbooks."""
    texts = Texts()
    secrets = {each.name for each in world.of_kind("Secret")}
    labels = {value for each in world.workloads for value in _template_labels(each)}
    for manifest in world.objects:
        for command in _commands(manifest, texts):
            yield from _flags(command)
            yield from _names(command)
        if _KEYS not in secrets:
            yield from _secret(manifest, (), manifest.data)
        yield from _selector(manifest, (), manifest.data, labels)
    for loaded in world.playbooks:
        yield from _playbook(loaded.document.data, (), loaded.document, secrets)


@dataclass(frozen=True, slots=True)
class _Command:
    """A command, or a script: the words of a container's command and arguments, joined by spaces, or one text."""

    manifest: Manifest
    parts: Sequence[tuple[KeyPath, str]]
    file: FileText | None

    @property
    def text(self) -> str:
        return " ".join(part for _, part in self.parts)

    def place(self, offset: int, word: str) -> Place:
        """The place of a word that stands at an offset of the text."""
        document = self.manifest.document
        for path, part in self.parts:
            if offset <= len(part):
                return word_place(self.file, document, (*self.manifest.at, *path), part, offset, word)
            offset -= len(part) + 1
        return self.manifest.place()


def _commands(manifest: Manifest, texts: Texts) -> Iterator[_Command]:
    file = texts.of(manifest.document)
    if manifest.kind == "ConfigMap":
        data = manifest.data.get("data")
        for key, text in data.items() if isinstance(data, dict) else ():
            if isinstance(text, str):
                yield _Command(manifest, [(("data", key), text)], file)
        return
    if manifest.kind not in WORKLOADS:
        return
    at, template = pod_template(manifest)
    spec = template.get("spec")
    for kind in _CONTAINERS:
        found = spec.get(kind) if isinstance(spec, dict) else None
        for index, container in enumerate(found if isinstance(found, list) else ()):
            if isinstance(container, dict):
                path = (*at, "spec", kind, index)
                parts = [part for key in ("command", "args") for part in _words((*path, key), container.get(key))]
                if parts:
                    yield _Command(manifest, parts, file)


def _words(path: KeyPath, found: Any) -> list[tuple[KeyPath, str]]:
    return [((*path, index), str(word)) for index, word in enumerate(found)] if isinstance(found, list) else []


def _flags(command: _Command) -> Iterator[Finding]:
    text = command.text
    for observe in _OBSERVE.finditer(text):
        begin = observe.start("flags")
        for verdict in _VERDICT.finditer(observe["flags"]):
            wrong = [each for each in verdict["value"].split(",") if each.upper() not in _VERDICTS]
            if wrong:
                at = begin + verdict.start("value") + verdict["value"].index(wrong[0])
                effect = f"The command ends with `invalid --verdict value: {wrong[0]}` before it shows a flow."
                fix = f"Verdicts: {', '.join(_VERDICTS[1:])}. What policy denies is DROPPED."
                what = f"hubble observe knows no verdict {wrong[0]}"
                place = command.place(at, wrong[0])
                yield FLAG.at(place, what, effect=effect, fix=fix, span=len(wrong[0]))
        for namespace in _NAMESPACE.finditer(observe["flags"]):
            value = namespace["value"]
            effect = "No namespace has a comma in its name: the command shows no flow, and does not end with an error."
            fix = "Write " + " ".join(f"-n {each}" for each in value.split(",")) + "."
            place = command.place(begin + namespace.start("value"), value)
            what = f'"{value}" is one namespace to hubble observe'
            yield FLAG.at(place, what, effect=effect, fix=fix, span=len(value))


def _names(command: _Command) -> Iterator[Finding]:
    text = command.text
    for hit in _WG.finditer(text):
        effect = f"The command ends with an error: `{hit.group()}` is no command."
        fix = "Write cilium-dbg encrypt status; the peers' keys stand in the annotations of the CiliumNodes."
        place = command.place(hit.start("word"), hit["word"])
        yield NAME.at(place, f"there is no command {hit.group()}", effect=effect, fix=fix, span=len(hit["word"]))
    for hit in _KEYS_WORD.finditer(text):
        effect = "The command finds no such Secret: each node keeps its private key to itself, in the agent's state."
        place = command.place(hit.start("name"), _KEYS)
        yield NAME.at(place, f"Cilium makes no Secret {_KEYS}", effect=effect, span=len(_KEYS))
    for hit in _LABEL.finditer(text):
        effect = "The command finds no pod: Envoy on every node does the work of Ingress and Gateway API."
        place = command.place(hit.start("value"), hit["value"])
        text_of = f"no pod of Cilium has the label {hit['label']}"
        yield NAME.at(place, text_of, effect=effect, span=len(hit["value"]))


def _secret(manifest: Manifest, path: KeyPath, data: Any) -> Iterator[Finding]:
    if isinstance(data, dict):
        for key, value in data.items():
            named = key == "secretName" or (key == "name" and path and path[-1] in ("secretKeyRef", "secretRef"))
            if named and value == _KEYS:
                effect = f"The pods of {manifest} stay in ContainerCreating: the Secret they wait for is never made."
                place = manifest.place(*path, key)
                yield NAME.at(place, f"Cilium makes no Secret {_KEYS}", effect=effect, span=len(_KEYS))
            yield from _secret(manifest, (*path, key), value)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _secret(manifest, (*path, index), value)


def _selector(manifest: Manifest, path: KeyPath, data: Any, labels: set[str]) -> Iterator[Finding]:
    if isinstance(data, dict):
        for key, value in data.items():
            selecting = bool(path) and path[-1] in _SELECTORS and key in _LABEL_KEYS
            if selecting and isinstance(value, str) and value in _PODS and value not in labels:
                effect = f"{manifest} selects no pod: Envoy on every node does the work, not a pod of that name."
                place = manifest.place(*path, key)
                yield NAME.at(place, f"no pod of Cilium has the label {key}={value}", effect=effect, span=len(value))
            yield from _selector(manifest, (*path, key), value, labels)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _selector(manifest, (*path, index), value, labels)


def _template_labels(workload: Manifest) -> list[str]:
    metadata = pod_template(workload)[1].get("metadata")
    found: Any = metadata.get("labels") if isinstance(metadata, dict) else None
    return [str(value) for value in found.values()] if isinstance(found, dict) else []


def _playbook(data: Any, path: KeyPath, document: Any, secrets: set[str]) -> Iterator[Finding]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            if (
                key == "secret"
                and isinstance(value, str)
                and value.rpartition("/")[2] == _KEYS
                and _KEYS not in secrets
            ):
                effect = "The drill finds no such Secret and is refused before it begins: Cilium keeps no key in one."
                fix = "Use the fault key-replaced, key-removed, key-file-deleted or device-deleted."
                place = document.place_of((*path, key))
                yield NAME.at(place, f"Cilium makes no Secret {_KEYS}", effect=effect, fix=fix, span=len(value))
            yield from _playbook(value, (*path, key), document, secrets)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _playbook(value, (*path, index), document, secrets)
