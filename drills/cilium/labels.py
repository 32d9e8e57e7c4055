"""Labels and identities: what Cilium knows about a peer, and how it came to know it.

A label has a source, a key and a value, written ``k8s:app=frontend``. Here a set of labels is a mapping from
``source:key`` to value (:data:`Labels`). An identity is a number for a set of labels: pods with equal labels share
one, reserved numbers stand for what is no pod. Facts: Cilium 1.20 ``pkg/labels/labels.go``, ``pkg/labelsfilter``,
``pkg/identity/numericidentity.go``, and the documentation's "Limiting Identity-Relevant Labels".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

Labels = Mapping[str, str]
"""``source:key`` -> value, for example ``{"k8s:app": "frontend"}``."""

SOURCE_K8S: Final = "k8s"
SOURCE_ANY: Final = "any"
SOURCE_RESERVED: Final = "reserved"

NAMESPACE: Final = "io.kubernetes.pod.namespace"
NAMESPACE_LABELS: Final = "io.cilium.k8s.namespace.labels"
SERVICE_ACCOUNT: Final = "io.cilium.k8s.policy.serviceaccount"
CLUSTER: Final = "io.cilium.k8s.policy.cluster"

FIRST_POD_IDENTITY: Final = 256
"""Numbers below are reserved; a pod's identity is never below (``MinimalAllocationIdentity``)."""

# Patterns match from the start of the key; the longest inclusion beats the shortest exclusion.
_INCLUDED = (r"io\.kubernetes\.pod\.namespace", r"io\.cilium\.k8s\.namespace\.labels", r"app\.kubernetes\.io",
             r"io\.cilium\.k8s\.policy\.cluster", r"io\.cilium\.k8s\.policy\.serviceaccount")  # fmt: skip
_IGNORED = (r"io\.kubernetes", r"kubernetes\.io", r"statefulset\.kubernetes\.io/pod-name",
            r"apps\.kubernetes\.io/pod-index", r"batch\.kubernetes\.io/job-completion-index",
            r"batch\.kubernetes\.io/controller-uid", r".*beta\.kubernetes\.io", r"k8s\.io",
            "pod-template-generation", "pod-template-hash", "controller-revision-hash", "controller-uid",
            "annotation.*", "etcd_node", r"topology\.kubernetes\.io")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """A number and the labels that it stands for. Compare identities by number."""

    number: int
    labels: Labels = field(compare=False)

    @property
    def reserved(self) -> str | None:
        """The reserved name (``host``, ``world``, ...), or None for a pod."""
        prefix = f"{SOURCE_RESERVED}:"
        return next((key.removeprefix(prefix) for key in self.labels if key.startswith(prefix)), None)

    @property
    def outside(self) -> bool:
        """Whether it stands for addresses outside of the cluster, the only ones that CIDR and FQDN rules can match."""
        return f"{SOURCE_RESERVED}:world" in self.labels

    @property
    def namespace(self) -> str | None:
        """The pod's namespace; None where the identity is reserved."""
        return self.labels.get(f"{SOURCE_K8S}:{NAMESPACE}")

    def printable(self) -> list[str]:
        """Labels as Hubble and CiliumEndpoint print them: sorted, ``k8s:app=frontend``, ``reserved:world``."""
        return sorted(f"{key}={value}" if value else key for key, value in self.labels.items())


def _reserved(number: int, name: str, *more: str) -> Identity:
    return Identity(number, MappingProxyType({f"{SOURCE_RESERVED}:{each}": "" for each in (name, *more)}))


HOST: Final = _reserved(1, "host")
WORLD: Final = _reserved(2, "world")
UNMANAGED: Final = _reserved(3, "unmanaged")
HEALTH: Final = _reserved(4, "health")
INIT: Final = _reserved(5, "init")
REMOTE_NODE: Final = _reserved(6, "remote-node")
KUBE_APISERVER: Final = _reserved(7, "kube-apiserver", "remote-node")
INGRESS: Final = _reserved(8, "ingress")
RESERVED: Final[Mapping[str, Identity]] = MappingProxyType({
    "host": HOST, "world": WORLD, "unmanaged": UNMANAGED, "health": HEALTH, "init": INIT,
    "remote-node": REMOTE_NODE, "kube-apiserver": KUBE_APISERVER, "ingress": INGRESS,
})  # fmt: skip


def identity_relevant(key: str) -> bool:
    """Whether Cilium's default label filter keeps a label of a pod (key without source) for its identity."""
    included = max((match.end() for each in _INCLUDED if (match := re.match(each, key))), default=0)
    ignored = min((match.end() for each in _IGNORED if (match := re.match(each, key))), default=0)
    return ignored == 0 or included > ignored


def identity_labels(
    pod_labels: Mapping[str, str],
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str = "default",
    cluster: str = "default",
) -> Labels:
    """The labels of a pod's identity: its own that matter, its namespace's, its service account's and its cluster's."""
    found = {f"{SOURCE_K8S}:{key}": value for key, value in pod_labels.items() if identity_relevant(key)}
    found |= {f"{SOURCE_K8S}:{NAMESPACE_LABELS}.{key}": value for key, value in namespace_labels.items()}
    found[f"{SOURCE_K8S}:{NAMESPACE}"] = namespace
    found[f"{SOURCE_K8S}:{CLUSTER}"] = cluster
    found[f"{SOURCE_K8S}:{SERVICE_ACCOUNT}"] = service_account or "default"
    return MappingProxyType(dict(sorted(found.items())))


def split_key(key: str) -> tuple[str, str]:
    """Source and bare key of a selector's key: ``k8s:app`` -> (``k8s``, ``app``); without a source it is ``any``."""
    if key.startswith("$"):
        return SOURCE_RESERVED, key[1:]
    source, colon, rest = key.partition(":")
    return (source, rest) if colon and source else (SOURCE_ANY, rest if colon else key)


_KEY_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_KEY_PREFIX: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def key_error(key: str) -> str | None:
    """What Cilium says against the key of a selector, which may carry a source; None where it has nothing to say."""
    source, colon, bare = key.rpartition(":")
    if ":" in source:
        return "a valid label key only support ':' character as a source separator with non empty value"
    if colon and not re.fullmatch("[A-Za-z0-9]+", source):
        return "label source should be a non empty string with only alphanumeric characters"
    prefix, slash, name = bare.rpartition("/")
    if slash and (not _KEY_PREFIX.fullmatch(prefix) or len(prefix) > 253):
        return "prefix part must be a lowercase RFC 1123 subdomain of at most 253 characters"
    if not name or len(name) > 63:
        return "name part must be no more than 63 characters" if name else "name part must be non-empty"
    if not _KEY_NAME.fullmatch(name):
        return (
            "name part must consist of alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return None
