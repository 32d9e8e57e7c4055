"""What Cilium's agents say of their encryption, and the public keys that they publish.

``cilium-dbg encrypt status -o json`` is EncryptionStatus of api/v1/models (agents of 1.18 and later; cilium-cli's
encrypt/status.go reads it, too). Annotations: pkg/annotation/k8s.go. Files and names: pkg/wireguard/types/types.go.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

PUBLIC_KEY: Final = "network.cilium.io/wg-pub-key"
PUBLIC_KEY_ALIAS: Final = "io.cilium.network.wg-pub-key"
DEVICE: Final = "cilium_wg0"
STATE: Final = "/var/run/cilium/state"
KEY_FILE: Final = "cilium_wg0.key"
KEY_BYTES: Final = 32
WIREGUARD: Final = "Wireguard"
UNKNOWN: Final = "unknown"  # ours, for the mode of a node whose agent does not say


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node, as WireGuard knows it. ``handshake``: Unix time of the last; None before the first."""

    public_key: str
    endpoint: str = ""
    allowed: tuple[str, ...] = ()
    handshake: float | None = None
    received: int = 0
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """``cilium_wg0`` of a node."""

    public_key: str
    port: int
    peers: tuple[Peer, ...]

    def peer(self, public_key: str) -> Peer | None:
        """The peer that has a key."""
        return next((each for each in self.peers if each.public_key == public_key), None)


@dataclass(frozen=True, slots=True)
class Encryption:
    """A node's encryption. ``device`` None: there is none, or the agent cannot read it (``message``)."""

    mode: str
    device: Device | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """A node: the key that its CiliumNode publishes (empty without one), and what its agent says."""

    published: str
    encryption: Encryption

    @property
    def device(self) -> Device | None:
        return self.encryption.device


Picture = Mapping[str, NodeKeys]
"""All nodes at one moment, by name."""


def published_in(cilium_node: Mapping[str, Any]) -> str:
    """The public key in a CiliumNode; empty without one."""
    annotations = (cilium_node.get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(PUBLIC_KEY) or annotations.get(PUBLIC_KEY_ALIAS) or "")


def is_key(text: str) -> bool:
    """Whether WireGuard would take it for a public key."""
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def parse(text: str) -> Encryption:
    """The JSON of ``encrypt status``. ValueError for anything else."""
    try:
        found: Mapping[str, Any] = json.loads(text)
        wireguard = found.get("wireguard") or {}
        interfaces = [each for each in wireguard.get("interfaces") or () if each.get("name") == DEVICE]
        device = _device(interfaces[0]) if interfaces else None
        return Encryption(str(found["mode"]), device, str(found.get("msg", "")))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an encryption status: {error!r}") from None


def _device(found: Mapping[str, Any]) -> Device:
    peers = tuple(_peer(each) for each in found.get("peers") or ())
    return Device(str(found["public-key"]), int(found.get("listen-port", 0)), peers)


def _peer(found: Mapping[str, Any]) -> Peer:
    return Peer(
        public_key=str(found["public-key"]),
        endpoint=str(found.get("endpoint", "")),
        allowed=tuple(found.get("allowed-ips") or ()),
        handshake=_moment(str(found.get("last-handshake-time") or "")),
        received=int(found.get("transfer-rx", 0)),
        sent=int(found.get("transfer-tx", 0)),
    )


def _moment(text: str) -> float | None:
    """Unix time; None for Go's zero time, which stands for never."""
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
