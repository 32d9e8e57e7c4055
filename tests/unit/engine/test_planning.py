"""What a plan says of a cluster in which nothing is there: asked of an API server that has nothing but rights."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from drills.engine import planning
from drills.engine.planning import World
from drills.engine.run import select
from drills.kube import Cluster
from drills.playbook import load

SHIPPED = Path(__file__).parents[3] / "playbooks" / "admin-path.yaml"


class Empty(BaseHTTPRequestHandler):
    """Every list is empty, no object is there, everything is allowed."""

    def do_GET(self) -> None:
        named = not self.path.partition("?")[0].endswith(("/pods", "/services", "/secrets", "policies", "/nodes"))
        missing = {"kind": "Status", "status": "Failure", "message": "not found", "code": 404}
        self._answer(404 if named else 200, missing if named else {"items": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, {"status": {"allowed": True}})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Not to standard error."""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Cluster]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "empty", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "empty",
        }
        path = tmp_path / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        yield Cluster.connect(kubeconfig=path)
        server.shutdown()


def test_without_agents_nobody_proves_who_denied(empty: Cluster) -> None:
    (job,) = select([(SHIPPED, load(SHIPPED))], ())
    plan = planning.plan(job, World("empty", empty, None, 1.0))
    assert {(one.subject, one.text.partition(",")[0].partition(":")[0]) for one in plan.lacks} == {
        ("agent", "no Cilium agent runs in kube-system (label k8s-app=cilium)"),
        ("service", "there is no Service backend/http-api"),
    }
    assert all(right.granted for right in plan.rights)
    assert plan.exit_status == 3
