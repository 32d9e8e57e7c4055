"""Whether a node and the others can talk by WireGuard with the key that the node had, by what all of them say. Pure."""

from __future__ import annotations

from drills.cilium.encryption import WIREGUARD, NodeKeys, Picture


def unlike(node: str, key: str, now: Picture) -> list[str]:
    """What keeps a node from talking to the others with the public key that it had: sentences."""
    if node not in now:
        return [f"there is no CiliumNode {node}"]
    others = [other for other, keys in sorted(now.items()) if other != node and not _knows(keys, key)]
    return [*lacks(node, key, now), *(_stranger(other, node) for other in others)]


def cut_off(node: str, key: str, now: Picture) -> bool:
    """Whether a node can have no session with some other that began with the public key that it had."""
    device = now[node].device if node in now else None
    others = (keys for other, keys in now.items() if other != node)
    return device is None or device.public_key != key or not all(_knows(keys, key) for keys in others)


def unheard(node: str, now: Picture, since: float) -> list[str]:
    """Between which nodes and this one there was no handshake since a Unix time: sentences. Whoever lacks a peer is
    told of elsewhere.
    """
    pairs = [pair for other in sorted(now.keys() - {node}) for pair in ((node, other), (other, node)) if node in now]
    found = []
    for one, other in pairs:
        device = now[one].device
        peer = None if device is None else device.peer(now[other].published)
        if peer is not None and (peer.handshake or 0.0) <= since:
            found.append(f"{one} has had no handshake with {other} since the undo")
    return found


def lacks(node: str, key: str, now: Picture) -> list[str]:
    """What a node itself lacks to talk to all others with the public key that it had: sentences."""
    keys, device = now[node], now[node].device
    found = []
    if keys.published != key:
        found.append(f"CiliumNode {node} does not have the public key that it had")
    if keys.encryption.mode != WIREGUARD or device is None:
        return [*found, f"{node} has no WireGuard device ({keys.encryption.message or keys.encryption.mode})"]
    if device.public_key != keys.published:
        found.append(f"the device of {node} has another key than its CiliumNode")
    if len(device.peers) != len(now) - 1:
        found.append(f"{node} has {len(device.peers)} peers, not {len(now) - 1}")
    others = sorted(now.keys() - {node})
    return found + [_stranger(node, other) for other in others if device.peer(now[other].published) is None]


def _knows(keys: NodeKeys, key: str) -> bool:
    return keys.device is not None and keys.device.peer(key) is not None


def _stranger(node: str, other: str) -> str:
    return f"{node} does not have {other} with its published key"
