"""Whatever an API answers, or does not, ends as one sentence without a secret in it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drills.budget import ONCE
from drills.errors import InputError, WorldError
from drills.kube import Cluster, KubeError

TOKEN = "s3cr3t-token"


def kubeconfig(folder: Path, port: int) -> Path:
    path = folder / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": TOKEN}}
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [cluster],
                "contexts": [context],
                "users": [user],
                "current-context": "here",
            }
        )
    )
    return path


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    """An API that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            del args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def status_object(message: str) -> bytes:
    return json.dumps({"kind": "Status", "status": "Failure", "message": message}).encode()


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, status_object("Unauthorized"), "Unauthorized (401); are the credentials still valid?"),
        (403, status_object("no\n  rights"), "no rights (403); the context's user lacks a right"),
        (404, status_object("not found"), "not found (404)"),
        (409, status_object("conflict"), "conflict (409)"),
        (410, status_object("expired"), "expired (410)"),
        (429, status_object("slow down"), "slow down (429)"),
        (500, b"<html>", "Internal Server Error (500)"),
        (503, b"[]", "Service Unavailable (503)"),
        (200, b"<html>hello", "what answers there is no Kubernetes API"),
        (500, status_object("x" * 1000), "x" * 297 + "... (500)"),
    ],
)
def test_answers_that_are_none(tmp_path: Path, status: int, body: bytes, sentence: str) -> None:
    with answering(status, body) as port:
        cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, port), budget=ONCE)
        with pytest.raises(KubeError) as caught:
            cluster.uid()
    assert str(caught.value).endswith(f"could not read namespace kube-system: {sentence}")
    assert TOKEN not in str(caught.value)
    assert caught.value.exit_status == 3


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, port), budget=ONCE)
    with pytest.raises(KubeError, match=rf"at http://127.0.0.1:{port} could not read .*: nothing answers there"):
        cluster.uid()
    with pytest.raises(KubeError, match="could not run true in a/b"):
        cluster.exec("a", "b", ["true"])


def test_a_missing_object_is_none_and_not_an_error(tmp_path: Path) -> None:
    with answering(404, status_object("not found")) as port:
        cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, port), budget=ONCE)
        assert cluster.config_map("a", "b") is None
        assert cluster.endpoint("a", "b") is None
        assert cluster.written_rules().expressions == {}


def test_exec_that_is_refused(tmp_path: Path) -> None:
    with answering(403, status_object("pods/exec is forbidden")) as port:
        cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, port), budget=ONCE)
        with pytest.raises(KubeError, match=r"could not run true in a/b: pods/exec is forbidden \(403\)") as caught:
            cluster.exec("a", "b", ["true"])
    assert caught.value.status == 403


def test_kubeconfigs_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no kubeconfig"):
        Cluster.connect(kubeconfig=tmp_path / "none")
    with pytest.raises(InputError, match='has no context "there"; it has here'):
        Cluster.connect(kubeconfig=kubeconfig(tmp_path, 1), context="there")
    broken = tmp_path / "broken"
    for text in ("{", "", "apiVersion: v1\n", "[]"):
        broken.write_text(text)
        with pytest.raises(WorldError, match="The kubeconfig cannot be used"):
            Cluster.connect(kubeconfig=broken)
