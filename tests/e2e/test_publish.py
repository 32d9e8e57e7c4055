"""One run on the lab that tells everybody: a real Pushgateway, a scraper, the cluster's Events and ConfigMap, the log.

Grafana cannot be installed here: a server that keeps what it is told stands in its place, and the requests are held
against Grafana's documented API.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from command import Ended, Lab

pytestmark = pytest.mark.lab

PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def read(url: str) -> str:
    with urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def until_read(url: str) -> str:
    """What an address answers once it does."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return read(url)
        except (URLError, ConnectionError):
            assert time.monotonic() < end, url
            time.sleep(0.1)


@pytest.fixture(scope="module")
def pushgateway() -> Iterator[str]:
    program = shutil.which("prometheus-pushgateway")
    assert program, "apt install prometheus-pushgateway"
    address = f"127.0.0.1:{free_port()}"
    with subprocess.Popen([program, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL) as daemon:
        until_read(f"http://{address}/-/ready")
        yield f"http://{address}"
        daemon.kill()


@dataclass
class Annotations:
    """What was asked of the stand-in for Grafana."""

    asked: list[tuple[str, str, str | None, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture(scope="module")
def grafana() -> Iterator[tuple[str, Annotations]]:
    kept = Annotations()

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._keep()

        def do_PATCH(self) -> None:
            self._keep()

        def _keep(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            kept.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
            said = json.dumps({"message": "Annotation added", "id": 7}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()


@dataclass(frozen=True)
class Told:
    """What came of the run, and where it was told."""

    ended: Ended
    scraped: str
    pushed: str
    annotations: Annotations
    lab: Lab
    out: Path


@pytest.fixture(scope="module")
def told(
    lab: Lab,
    short: Path,
    pushgateway: str,
    grafana: tuple[str, Annotations],
    tmp_path_factory: pytest.TempPathFactory,
) -> Told:
    folder = tmp_path_factory.mktemp("told")
    token = folder / "token"
    token.write_text("glsa_hidden\n")
    drills = replace(lab.drills, environment={**lab.drills.environment, "DRILLS_GRAFANA_TOKEN_FILE": str(token)})
    port, out = free_port(), folder / "out"
    scraped: list[str] = []
    metrics = f"http://127.0.0.1:{port}/metrics"

    def scrape() -> None:
        end = time.monotonic() + PATIENCE * 3
        while not scraped and time.monotonic() < end:
            try:
                scraped.append(read(metrics))
            except (URLError, ConnectionError, TimeoutError):
                time.sleep(0.5)

    scraper = threading.Thread(target=scrape, daemon=True)
    scraper.start()
    where = ["events", "configmap", f"pushgateway={pushgateway}", f"scrape=127.0.0.1:{port}", f"grafana={grafana[0]}"]
    publish = [word for each in where for word in ("--publish", each)]
    ended = drills("run", short, "--lab", "--out", out, *publish)
    scraper.join(PATIENCE)
    assert scraped, ended.err
    return Told(ended, scraped[0], read(f"{pushgateway}/metrics"), grafana[1], lab, out)


def test_the_run_is_not_changed_by_being_told(told: Told) -> None:
    assert told.ended.status == 0, told.ended.out


@pytest.mark.parametrize("where", ["scraped", "pushed"])
def test_metrics(told: Told, where: str) -> None:
    text = getattr(told, where)
    (verdict,) = re.findall(r'^drills_verdict\{.*verdict="passed"\} (\S+)$', text, re.MULTILINE)
    assert float(verdict) == 1
    assert re.search(r'^drills_detection_seconds\{.*alert="CiliumHTTPRequestsDenied".*\} \d', text, re.MULTILINE)
    assert re.search(r'^drills_last_success_timestamp_seconds\{.*playbook="admin-path".*\} 1', text, re.MULTILINE)


def test_promtool_finds_nothing_wrong_with_the_metrics(told: Told) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=told.scraped, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_events_tell_that_this_is_a_drill(told: Told) -> None:
    for namespace in ("frontend", "backend"):
        found = json.loads(told.lab.kubectl("-n", namespace, "get", "events", "-o", "json"))["items"]
        ours = [each for each in found if each["source"].get("component") == "drills"]
        ours.sort(key=lambda each: str(each["reason"]), reverse=True)
        assert [each["reason"] for each in ours] == ["DrillStarted", "DrillFinished"]
        assert "This is a drill" in ours[0]["message"]
        assert "admin-path passed" in ours[1]["message"]


def test_the_result_lies_in_a_config_map(told: Told) -> None:
    found = told.lab.kubectl("-n", "drills", "get", "configmap", "drills-result-admin-path", "-o", "json")
    data = json.loads(found)["data"]
    assert data["verdict"] == "passed"
    assert json.loads(data["result.json"]) == told.lab.drills.result(told.out)


def test_the_result_is_the_last_line_of_the_log(told: Told) -> None:
    last = json.loads(told.ended.err.splitlines()[-1])
    assert last["event"] == "result"
    assert last["result"] == told.lab.drills.result(told.out)


def test_an_annotation_from_the_beginning_to_the_end(told: Told) -> None:
    (begin, end) = told.annotations.asked
    assert begin[:3] == ("POST", "/api/annotations", "Bearer glsa_hidden")
    assert end[:3] == ("PATCH", "/api/annotations/7", "Bearer glsa_hidden")
    assert begin[3]["time"] < end[3]["timeEnd"]
    assert "passed" in end[3]["tags"]
    left = "".join(path.read_text() for path in told.out.rglob("*") if path.is_file())
    assert "glsa_hidden" not in left + told.ended.out + told.ended.err


def test_what_cannot_be_told_is_said_and_is_no_pass(lab: Lab, short: Path, tmp_path: Path) -> None:
    nobody = f"pushgateway=http://127.0.0.1:{free_port()}"
    ended = lab.drills("run", short, "--lab", "--out", tmp_path / "out", "--publish", nobody)
    assert ended.status == 3
    assert "could not be pushed" in ended.out
    assert lab.drills.result(tmp_path / "out")["verdict"] == "passed"


@pytest.mark.parametrize(
    "where", ["mail", "events=x", "pushgateway=", "grafana=ftp://x", "scrape=x", "scrape=1.2.3.4:0x1"]
)
def test_an_unknown_place_is_refused_before_anything_is_made(lab: Lab, short: Path, where: str) -> None:
    ended = lab.drills("run", short, "--lab", "--publish", where)
    assert ended.status == 2
    assert f"--publish {where.partition('=')[0]}" in ended.err
