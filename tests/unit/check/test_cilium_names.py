"""Commands and names that Cilium and Hubble do not know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from check_world import found, names

FLAG, NAME = "cilium/hubble-flag-value", "cilium/no-such-name"


def _pod(command: list[str]) -> str:
    return f"""\
apiVersion: v1
kind: Pod
metadata: {{name: p, namespace: n}}
spec:
  containers:
  - {{name: c, image: alpine:3.22, command: {json.dumps(command)}}}
"""


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        (["hubble", "observe", "--verdict", "DENIED"], FLAG),
        (["hubble", "observe", "--verdict=ALLOWED"], FLAG),
        (["sh", "-c", "hubble observe -n a,b | grep x"], FLAG),
        (["sh", "-c", "hubble observe --namespace=a,b"], FLAG),
        (["sh", "-c", "sleep 1; hubble observe --verdict DROPPED; hubble observe --verdict AUDITED"], FLAG),
        (["cilium-dbg", "wg", "show"], NAME),
        (["cilium", "wireguard", "status"], NAME),
        (["kubectl", "delete", "secret", "cilium-wireguard-keys"], NAME),
        (["kubectl", "get", "secret/cilium-wireguard-keys"], NAME),
        (["kubectl", "get", "pods", "-l", "app.kubernetes.io/name=cilium-gateway"], NAME),
        (["kubectl", "get", "pods", "--selector=k8s-app=cilium-ingress"], NAME),
        (["hubble", "observe", "--verdict", "DROPPED", "-n", "a", "-n", "b"], None),
        (["hubble", "observe", "--verdict", "dropped,audit"], None),
        (["hubble", "list", "nodes", "-o", "a,b"], None),
        (["grep", "-n", "a,b", "file"], None),
        (["cilium-dbg", "encrypt", "status"], None),
        (["wg", "show"], None),
        (["kubectl", "get", "secret", "cilium-ipsec-keys"], None),
        (["kubectl", "get", "svc", "-n", "kube-system", "cilium-ingress"], None),
    ],
)
def test_commands(tmp_path: Path, command: list[str], rule: str | None) -> None:
    assert names(found(tmp_path, _pod(command))) == ([] if rule is None else [rule])


def test_pods_of_ones_own_may_have_such_a_label(tmp_path: Path) -> None:
    service = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: n}\nspec: {selector: {app: cilium-gateway}}\n"
    )
    pod = _pod(["sleep"]).replace("namespace: n}", "namespace: n, labels: {app: cilium-gateway}}")
    assert names(found(tmp_path, service)) == [NAME]
    assert names(found(tmp_path, f"{service}---\n{pod}")) == []


def test_a_secret_of_ones_own_may_have_the_name(tmp_path: Path) -> None:
    volume = _pod(["sleep"]) + "  volumes: [{name: v, secret: {secretName: cilium-wireguard-keys}}]\n"
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: cilium-wireguard-keys, namespace: n}\n"
    assert names(found(tmp_path, volume)) == [NAME]
    assert names(found(tmp_path, f"{volume}---\n{secret}")) == []
