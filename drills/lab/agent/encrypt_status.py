"""``cilium-dbg encrypt status``: shapes of Cilium 1.20, api/v1/models (EncryptionStatus, WireguardStatus and below)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from drills.lab.agent import x25519
from drills.lab.agent.wireguard_device import INTERFACE, DeviceStatus, PeerStatus

NEVER = "0001-01-01T00:00:00.000Z"  # Go's zero time


def encryption(found: DeviceStatus | str | None) -> dict[str, Any]:
    """The JSON. ``found`` is a device, why it cannot be read, or None where encryption is off."""
    if found is None:
        return {"mode": "Disabled"}
    if isinstance(found, str):
        return {"mode": "Wireguard", "msg": found}
    interface = {
        "name": INTERFACE,
        "listen-port": found.port,
        "public-key": x25519.text_of(found.public_key),
        "peer-count": len(found.peers),
        "peers": [_peer(each) for each in found.peers],
    }
    return {"mode": "Wireguard", "wireguard": {"node-encryption": "Disabled", "interfaces": [interface]}}


def text(status: dict[str, Any]) -> str:
    """The same for people."""
    if "wireguard" not in status:
        why = f" ({status['msg']})" if "msg" in status else ""
        return f"Encryption: {status['mode']}{why}\n"
    (interface,) = status["wireguard"]["interfaces"]
    inside = f"Pubkey: {interface['public-key']}, Port: {interface['listen-port']}, Peers: {interface['peer-count']}"
    return f"Encryption: Wireguard [NodeEncryption: Disabled, {interface['name']} ({inside})]\n"


def _peer(peer: PeerStatus) -> dict[str, Any]:
    return {
        "public-key": x25519.text_of(peer.key),
        "endpoint": peer.endpoint,
        "allowed-ips": list(peer.networks),
        "last-handshake-time": _time(peer.handshake),
        "transfer-rx": peer.received,
        "transfer-tx": peer.sent,
    }


def _time(moment: float) -> str:
    if not moment:
        return NEVER
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
