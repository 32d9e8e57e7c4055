"""The file that lets kubectl and the official client into the lab."""

from __future__ import annotations

import base64

import yaml


def text(lab: str, server: str, authority: str, token: str) -> str:
    """A kubeconfig with one context, named after the lab; ``authority`` is the CA's certificate in PEM."""
    name = f"drills-{lab}"
    ca = base64.b64encode(authority.encode()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": ca}}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        },
        sort_keys=False,
    )
