"""Against any real API server: ``DRILLS_TEST_KUBECONFIG=... pytest tests/kube``. It needs no nodes, and no Cilium.

All that is made carries a name of its own and is removed; namespace ``drills`` is made where there is none. Without
the variable every test here is skipped. The lab is such a server, too: tests/lab/test_kube_suite.py.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from kube_support import LOCUSTFILE, PLAYBOOK, VARIABLE, Server

from drills.deploy.manifests import text
from drills.kube import Cluster
from drills.kube.api import core
from drills.playbook import load


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if VARIABLE not in os.environ:
        pytest.skip(f"no API server: {VARIABLE} names a kubeconfig")
    kubeconfig = Path(os.environ[VARIABLE])
    cluster = Cluster.connect(kubeconfig=kubeconfig)
    name = f"drills-test-{secrets.token_hex(3)}"
    path = tmp_path_factory.mktemp("playbook") / "playbook.yaml"
    path.write_text(PLAYBOOK.replace("NAME", name))
    (path.parent / "users.py").write_text(LOCUSTFILE)
    found = Server(kubeconfig, cluster, name, path, load(path))
    made = [one for one in ("drills", found.front, found.back) if cluster.namespace(one) is None]
    for one in made:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": one}}
        cluster.call(f"make namespace {one}", "POST", core("namespaces"), body=body)
    try:
        yield found
    finally:
        for one in made:
            cluster.find(f"delete namespace {one}", "DELETE", core("namespaces", name=one))


@pytest.fixture(scope="session")
def deployed(server: Server) -> Iterator[Server]:
    """With the service account and its roles; the rest of the manifests is only tried."""
    rights = [
        one for one in server.objects() if one["apiVersion"].startswith("rbac") or one["kind"] == "ServiceAccount"
    ]
    server.kubectl("apply", "--validate=strict", "-f", "-", stdin=text(rights))
    try:
        yield server
    finally:
        server.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=text(rights))
