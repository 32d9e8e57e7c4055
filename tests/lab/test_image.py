"""What the Dockerfile does, step by step and without Docker: a fresh environment of the image's lock and our wheel."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills import __version__
from drills.inject.http import probe_config
from drills.playbook import HttpInjection

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
COPIED = ("pyproject.toml", "README.md", "drills", "alerts", "playbooks")


def environment() -> dict[str, str]:
    """Without this checkout in the way."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


def run(*command: str | Path, folder: Path | None = None) -> str:
    """A command's output."""
    done = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that is made as the image's is."""
    folder = tmp_path_factory.mktemp("image")
    source = folder / "src"
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    programs = folder / "env" / "bin"
    uv, target = BIN / "uv", ("--python", programs / "python")
    run(uv, "venv", "--quiet", "--python", sys.executable, folder / "env")
    lock = ROOT / "requirements-image.lock"
    run(uv, "pip", "install", "--quiet", *target, "--require-hashes", "--only-binary", ":all:", "-r", lock)
    run(uv, "pip", "install", "--quiet", *target, "--no-deps", "--no-build-isolation", source)
    run(uv, "pip", "uninstall", "--quiet", *target, "setuptools")
    return programs


@pytest.fixture
def server() -> Iterator[int]:
    """Something that answers 200 on a loopback port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield found.server_port
        found.shutdown()
        thread.join()


def test_the_command_and_what_it_reads_are_in_it(image: Path, tmp_path: Path) -> None:
    assert run(image / "drills", "--version", folder=tmp_path).strip() == f"drills {__version__}"
    playbook = ROOT / "playbooks" / "zero-trust.yaml"
    assert "kind: CronJob" in run(image / "drills", "manifests", playbook, folder=tmp_path)


def test_the_probe_makes_attempts_of_every_kind(image: Path, server: int, tmp_path: Path) -> None:
    injection = HttpInjection.model_validate(
        {"from": "x", "url": f"http://127.0.0.1:{server}/", "rate": 10.0, "duration": 0.3}
    )
    config = json.dumps(probe_config("test", injection, scale=1.0))
    command = [image / "python", "-m", "drills.probe"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, env=environment(), text=True
    ) as probe:
        assert probe.stdin is not None
        assert probe.stdout is not None
        probe.stdin.write(f"{config}\n{json.dumps({'go': True})}\n")
        probe.stdin.flush()  # and stays open: its end would end the probe
        attempts = [json.loads(line)["attempt"] for line in probe.stdout if "attempt" in line]
    assert [one["status"] for one in attempts] == [200, 200, 200]
    for kind in ("dns", "postgres", "tcp"):
        run(image / "python", "-c", f"import drills.probe.{kind}", folder=tmp_path)


def test_locust_and_the_capture_start(image: Path, tmp_path: Path) -> None:
    assert "locust" in run(image / "locust", "--version", folder=tmp_path)
    run(image / "python", "-c", "import drills.capture.__main__", folder=tmp_path)
