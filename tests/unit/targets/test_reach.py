"""How Prometheus and Alertmanager are named and reached, and that no secret gets into a text on the way."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerts.alertmanager import Alertmanager
from alerts.http_config import HttpConfig
from alerts.prometheus import Prometheus
from drills.budget import Budget
from drills.engine.target import Addresses
from drills.errors import InputError, WorldError
from drills.kube import Cluster
from drills.kube.proxy import ServiceAddress

SECRET = "s3cr3t"
QUICK = Budget(tries=3, pause=0.0)


@contextmanager
def server(*answers: tuple[int, str]) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An API that gives these answers in turn, the last one for ever; the headers and path of every request."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append({**{key.lower(): value for key, value in self.headers.items()}, "path": self.path})
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: Any) -> None:
            del args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()


BUILD = json.dumps({"status": "success", "data": {"version": "2.42", "revision": "x"}})


def config(folder: Path, **text: Any) -> HttpConfig:
    path = folder / "http.yaml"
    path.write_text(yaml.safe_dump(text))
    return HttpConfig.load(path)


def test_a_bearer_token_is_read_again_for_every_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    found = config(tmp_path, authorization={"credentials_file": "token"})
    with server((200, BUILD)) as (url, asked):
        prometheus = Prometheus(found.reach(url))
        prometheus.buildinfo()
        token.write_text("second\n")
        prometheus.buildinfo()
        prometheus.close()
    assert [one["authorization"] for one in asked] == ["Bearer first", "Bearer second"]


def test_basic_authentication(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET)
    found = config(tmp_path, basic_auth={"username": "ann", "password_file": "password"})
    with server((200, "[]")) as (url, asked):
        alertmanager = Alertmanager(found.reach(url))
        assert alertmanager.alerts() == ()
        alertmanager.close()
    assert asked[0]["authorization"] == "Basic " + base64.b64encode(f"ann:{SECRET}".encode()).decode()


def test_a_secret_is_in_no_text(tmp_path: Path) -> None:
    found = config(tmp_path, authorization={"type": "Bearer", "credentials": SECRET})
    with server((401, "no")) as (url, _):
        reach = found.reach(url)
        prometheus = Prometheus(reach)
        with pytest.raises(WorldError, match=r"answered 401 .*does it need credentials") as caught:
            prometheus.buildinfo()
        prometheus.close()
    assert all(SECRET not in text for text in (str(caught.value), repr(found), repr(reach)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("basic_auth: {username: a}", "basic_auth: .*give one of password and password_file"),
        (
            "authorization: {credentials: x}\nbasic_auth: {username: a, password: b}",
            "one of authorization and basic_auth",
        ),
        ("oauth2: {client_id: x}", "oauth2: Extra inputs are not permitted"),
        ("tls_config: {cert_file: a}", "cert_file and key_file belong together"),
        ("tls_config: {ca_file: none.crt}", "names none.crt, which is not there"),
        ("tls_config: {insecure_skip_verify: true}", "insecure_skip_verify: Extra inputs"),
        ("folder: /", "is no http_config file"),
        ("- a", "is no http_config file"),
        (f"a: [{SECRET}", "is not YAML"),
        (
            f"basic_auth: {{username: {{x: {SECRET}}}, password: b}}",
            "basic_auth.username: Input should be a valid string",
        ),
    ],
)
def test_a_file_that_says_something_else(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "http.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence) as caught:
        HttpConfig.load(path)
    assert SECRET not in str(caught.value)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: FileNotFoundError"):
        HttpConfig.load(tmp_path / "none")
    with pytest.raises(WorldError, match=r"The file of credentials .*token cannot be read: FileNotFoundError"):
        config(tmp_path, authorization={"credentials_file": "token"})


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (f"http://ann:{SECRET}@prometheus:9090", "The address of prometheus carries credentials"),
        ("prometheus:9090", "is no address: write http://HOST:PORT"),
        ("http://", "is no address"),
        ("http://a:b:c", "is no address"),
        ("http://a/?x=1", "is no address"),
        ("ftp://a", "is no address"),
        ("service:prometheus", "names no Service: write service:NAMESPACE/NAME:PORT"),
        ("service:a/b:80?x", "names no Service"),
        ("service:a/../b:80", "names no Service"),
        ("service:a/b:80/../../secrets", "names no Service"),
    ],
)
def test_addresses_that_are_none(url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        Addresses(url, None, None).check()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("service:monitoring/prometheus:9090", "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy"),
        ("service:m/https:prometheus:web/prefix/", "/api/v1/namespaces/m/services/https:prometheus:web/proxy/prefix"),
        ("service:m/prometheus", "/api/v1/namespaces/m/services/prometheus/proxy"),
        ("service:m/https:prometheus", "/api/v1/namespaces/m/services/https:prometheus:/proxy"),
    ],
)
def test_a_service_goes_through_the_api_with_its_credentials(tmp_path: Path, text: str, path: str) -> None:
    with server((200, BUILD)) as (url, asked):
        cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, url))
        reach = cluster.through(ServiceAddress.parse(text))
        prometheus = Prometheus(reach)
        assert prometheus.buildinfo().version == "2.42"
        prometheus.close()
    assert (asked[0]["path"], asked[0]["authorization"]) == (f"{path}/api/v1/status/buildinfo", f"Bearer {SECRET}")
    assert SECRET not in repr(reach)


def test_a_service_that_does_not_answer_is_called_as_the_user_did(tmp_path: Path) -> None:
    status = json.dumps({"kind": "Status", "message": 'no endpoints available for service "p"'})
    with server((503, status)) as (url, asked):
        cluster = Cluster.connect(kubeconfig=kubeconfig(tmp_path, url))
        prometheus = Prometheus(cluster.through(ServiceAddress.parse("service:m/p:9090")), budget=QUICK)
        with pytest.raises(WorldError) as caught:
            prometheus.query("up")
        prometheus.close()
    sentence = 'Prometheus at service:m/p:9090 answered 503 to a query: no endpoints available for service "p"'
    assert str(caught.value) == f"{sentence} (tried 3 times)"
    assert len(asked) == 3


def test_credentials_for_a_service_are_refused(tmp_path: Path) -> None:
    http = config(tmp_path, authorization={"credentials": SECRET})
    with pytest.raises(
        InputError, match="--prometheus-http-config: a Service is reached with the Kubernetes API's own"
    ):
        Addresses("service:m/p:9090", None, None, http).check()


@pytest.mark.parametrize(
    "passing", [(429, ""), (500, "x"), (502, ""), (503, ""), (504, ""), (200, "<html>"), (200, "[")]
)
def test_what_fails_in_passing_is_asked_again(passing: tuple[int, str]) -> None:
    with server(passing, passing, (200, BUILD)) as (url, asked):
        prometheus = Prometheus(url, budget=QUICK)
        assert prometheus.buildinfo().version == "2.42"
        prometheus.close()
    assert len(asked) == 3


@pytest.mark.parametrize("body", ["[]", "{}", '{"status": "success"}', '{"status": "success", "data": 7}', "null", "7"])
def test_json_of_something_else_ends_as_a_sentence(body: str) -> None:
    with server((200, body)) as (url, _):
        prometheus, alertmanager = Prometheus(url), Alertmanager(url)
        asked = (prometheus.rules, prometheus.runtimeinfo, prometheus.config, lambda: prometheus.query("up"))
        for question in (*asked, alertmanager.status):
            with pytest.raises(WorldError, match="does not answer as"):
                question()
        prometheus.close()
        alertmanager.close()


def kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "c", "user": {"token": SECRET}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            }
        )
    )
    return path
