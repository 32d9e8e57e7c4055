"""The CiliumNode that each agent keeps for its own node, and the public key that it publishes there.

The annotation and its older alias: Cilium 1.20, pkg/annotation/k8s.go.
"""

from __future__ import annotations

import copy

from drills.lab import plan
from drills.lab.api.resources import CILIUM_NODES
from drills.lab.api.store import Store
from drills.lab.api.types import Obj

PUBLIC_KEY = "network.cilium.io/wg-pub-key"
PUBLIC_KEY_ALIAS = "io.cilium.network.wg-pub-key"
_ENCRYPTED = 255  # Cilium's StaticEncryptKey


def publish(store: Store, node: str, public_key: str = "") -> None:
    """Make the node's CiliumNode if there is none, and write the public key into it; without one, leave it alone."""
    found = store.find(CILIUM_NODES, None, node)
    if found is None:
        store.create(CILIUM_NODES, _fresh(node, public_key))
    elif public_key and key_in(found) != public_key:
        new = copy.deepcopy(found)
        annotations = {**(new["metadata"].get("annotations") or {}), PUBLIC_KEY: public_key}
        annotations.pop(PUBLIC_KEY_ALIAS, None)
        new["metadata"]["annotations"] = annotations
        new.setdefault("spec", {})["encryption"] = {"key": _ENCRYPTED}
        store.update(CILIUM_NODES, new)


def key_in(cilium_node: Obj) -> str:
    """The public key that a CiliumNode tells; empty without one."""
    annotations = cilium_node["metadata"].get("annotations") or {}
    return str(annotations.get(PUBLIC_KEY) or annotations.get(PUBLIC_KEY_ALIAS) or "")


def _fresh(node: str, public_key: str) -> Obj:
    addresses = [
        {"type": "InternalIP", "ip": str(plan.NODES[node])},
        {"type": "CiliumInternalIP", "ip": str(plan.router_of(node))},
    ]
    spec: Obj = {
        "addresses": addresses,
        "ipam": {"podCIDRs": [str(plan.POD_CIDRS[node])]},
        "health": {"ipv4": str(plan.health_of(node))},
    }
    metadata: Obj = {"name": node}
    if public_key:
        metadata["annotations"] = {PUBLIC_KEY: public_key}
        spec["encryption"] = {"key": _ENCRYPTED}
    return {"metadata": metadata, "spec": spec}
