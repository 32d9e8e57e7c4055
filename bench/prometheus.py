"""The floor of every lab: one Prometheus alone, from its start to its first successful scrape, and to its end."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench.figures import UnmeasuredError

PATIENCE = 60.0  # seconds
CONFIG = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
scrape_configs: [{{job_name: self, static_configs: [{{targets: ['{address}']}}]}}]
"""


@dataclass(frozen=True, slots=True)
class Alone:
    """Wall seconds of a Prometheus that scrapes itself every second."""

    ready: float  # from its start to the first `up == 1`
    down: float  # from SIGTERM to its end


def measure() -> Alone:
    """Start it, wait for its first scrape, end it; UnmeasuredError if it is not installed or does not come up."""
    program = shutil.which("prometheus")
    if program is None:
        raise UnmeasuredError("prometheus is not installed")
    with tempfile.TemporaryDirectory() as directory:
        return _measure(program, Path(directory), f"127.0.0.1:{_free_port()}")


def _measure(program: str, directory: Path, address: str) -> Alone:
    (directory / "prometheus.yml").write_text(CONFIG.format(address=address))
    began = time.perf_counter()
    process = subprocess.Popen(
        [
            program,
            f"--config.file={directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not _up(address):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise UnmeasuredError("Prometheus alone did not come up")
            time.sleep(0.02)
        ready = time.perf_counter() - began
        began = time.perf_counter()
        process.terminate()
        process.wait(PATIENCE)
        return Alone(ready, time.perf_counter() - began)
    finally:
        process.kill()
        process.wait()


def _up(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/query?query=up==1", timeout=1) as answer:
            return bool(json.load(answer)["data"]["result"])
    except OSError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
