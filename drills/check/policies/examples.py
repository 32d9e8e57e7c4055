"""Policies for the rules' documentation: everything but the point in question is as it should be."""

from __future__ import annotations

import textwrap

DNS = """\
- toEndpoints: [{matchLabels: {k8s-app: kube-dns, io.kubernetes.pod.namespace: kube-system}}]
  toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
"""
PORT = '[{ports: [{port: "80", protocol: TCP}]}]'


def policy(spec: str, *, name: str = "api", namespace: str | None = "backend", kind: str = "") -> str:
    """A policy with this spec."""
    where = f", namespace: {namespace}" if namespace else ""
    body = textwrap.indent(textwrap.dedent(spec), "  ")
    return (
        f"apiVersion: cilium.io/v2\nkind: {kind or 'CiliumNetworkPolicy'}\n"
        f"metadata: {{name: {name}{where}}}\nspec:\n{body}"
    )


def api(section: str) -> str:
    """A policy for pods ``app=api`` of namespace backend, with a section such as ``ingress: [{}]``."""
    return policy(f"endpointSelector: {{matchLabels: {{app: api}}}}\n{textwrap.dedent(section)}")


def ingress(elements: str) -> str:
    """As :func:`api`, with these ingress elements."""
    return api(f"ingress:\n{textwrap.dedent(elements)}")


def egress(elements: str, *, dns: bool = True) -> str:
    """As :func:`api`, with these egress elements and a rule that lets names be looked up."""
    return api(f"egress:\n{DNS if dns else ''}{textwrap.dedent(elements)}")


def http(rules: str, *, peers: str = "fromEndpoints: [{matchLabels: {app: web}}]") -> str:
    """As :func:`ingress`, with these HTTP rules on port 80."""
    body = textwrap.indent(textwrap.dedent(rules), "    ")
    return ingress(
        f'- {peers}\n  toPorts:\n  - ports: [{{port: "80", protocol: TCP}}]\n    rules:\n      http:\n'
        + textwrap.indent(body, "  ")
    )


def deployment(name: str, namespace: str, *, port: int = 80) -> str:
    """A Deployment whose pods have the label ``app`` with its name."""
    return (
        f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n"
        f"  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n"
        f"    spec:\n      containers:\n      - name: app\n        image: traefik/whoami:v1.10\n"
        f"        ports: [{{containerPort: {port}}}]\n"
    )


def documents(*texts: str) -> str:
    """Several documents in one text."""
    return "---\n".join(texts)
