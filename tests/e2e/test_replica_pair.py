"""A highly available pair of Prometheus: the lab's own, and a second one that scrapes the same targets from outside.

The lab is run as a cluster is, by its kubeconfig and its addresses; only so can several be named.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml
from command import Drills, Ended, Lab
from lies_support import K, Running, alert_of, drill_of, eventually, lab_with, quiet_of

from alerts.prometheus import Prometheus

pytestmark = pytest.mark.lab

HERE = Path(__file__).with_name("replicas")
INTERVAL = f"{15_000 // K}ms"


@dataclass(frozen=True)
class Second:
    """The other replica."""

    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab_with(tmp_path_factory.mktemp("replicas"), "replicas", HERE / "rules.yaml") as found:
        yield found


@pytest.fixture(scope="module")
def status(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((lab.kubeconfig.parent / "status.json").read_text())
    return found


@pytest.fixture(scope="module")
def second(lab: Lab, status: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    folder = tmp_path_factory.mktemp("second")
    groups = requests.get(f"{status['prometheus']}/api/v1/rules", timeout=5).json()["data"]["groups"]
    rules = [{"alert": one["name"], "expr": one["query"]} for group in groups for one in group["rules"]]
    for one in rules:
        one["expr"] = one["expr"].replace("[1s]", "[3s]") if one["alert"] == "Denied" else one["expr"]
    rules.append({"alert": "OnlyThere", "expr": next(one["expr"] for one in rules if one["alert"] == "Denied")})
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "replicas", "rules": rules}]}))
    jobs = {"cilium-agent": status["agents"], "hubble": status["hubble"]}
    config = {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [urlsplit(url).netloc for url in urls.values()]}]}
            for job, urls in jobs.items()
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        asked = Prometheus(f"http://{address}", timeout=1.0)
        eventually(lambda: len(asked.query("up == 1")) == 4, seconds=20)
        yield Second(asked.url, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ran(
    lab: Lab, status: dict[str, Any], second: Second, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Ended, dict[str, Any]]:
    out = tmp_path_factory.mktemp("out") / "out"
    context = yaml.safe_load(lab.kubeconfig.read_text())["current-context"]
    outside = Lab(Drills({**lab.drills.environment, "KUBECONFIG": str(lab.kubeconfig)}, out.parent), lab.kubeconfig)
    where = ["--context", context, "--alertmanager", status["alertmanager"]]
    where += ["--prometheus", status["prometheus"], "--prometheus", second.url]
    running = Running(outside, HERE / "playbook.yaml", out, where)
    running.until("one-dies", "alert", alert="Denied", stage="at Alertmanager")
    second.process.kill()
    return running.ended(), lab.drills.result(out)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_pair_is_resolved_when_both_are(ran: tuple[Ended, dict[str, Any]]) -> None:
    drill = drill_of(ran[1], "both")
    alert = alert_of(drill, "Denied")
    assert drill["verdict"] == "passed", drill["reasons"]
    assert (alert["verdict"], alert["resolution"]) == ("detected", "resolved")
    # The first forgets the last denial after 1 s on the wall; the second, with [3s], about 2 s later.
    assert seconds(alert["resolvedAt"]) - seconds(drill["lastAttemptAt"]) > 2.0
    assert quiet_of(drill, "Calm")["verdict"] == "quiet"
    assert [(one["name"], one["state"]) for one in drill["collateral"]] == [("OnlyThere", "firing")]


def test_a_replica_that_no_longer_answers_may_have_the_alert_still(
    ran: tuple[Ended, dict[str, Any]], second: Second
) -> None:
    drill = drill_of(ran[1], "one-dies")
    alert, calm = alert_of(drill, "Denied"), quiet_of(drill, "Calm")
    assert (alert["verdict"], alert["resolution"], alert["resolvedAt"]) == ("detected", "not-judged", None)
    assert f"whether it resolved cannot be judged: {second.url}: Prometheus no longer answers" in alert["reason"]
    assert calm["verdict"] == "not-judged"
    assert "Prometheus no longer answers" in calm["reason"]
    assert (drill["verdict"], ran[0].status) == ("inconclusive", 3)


def test_both_are_on_the_record(ran: tuple[Ended, dict[str, Any]], status: dict[str, Any], second: Second) -> None:
    provenance = ran[1]["provenance"]
    asked = [one for one in provenance["replicas"] if one["kind"] == "prometheus"]
    assert [one["url"] for one in asked] == [status["prometheus"], second.url]
    assert asked[0]["version"]
    assert asked[1]["version"] is None  # it was killed
    assert {"prometheus", "prometheus 2"} <= provenance["processes"].keys()


def test_a_replica_that_cannot_be_reached_is_said_before_anything_is_made(
    lab: Lab, status: dict[str, Any], tmp_path: Path
) -> None:
    context = yaml.safe_load(lab.kubeconfig.read_text())["current-context"]
    drills = Drills({**os.environ, **lab.drills.environment, "KUBECONFIG": str(lab.kubeconfig)}, tmp_path)
    ended = drills(
        "run", HERE / "playbook.yaml", "--context", context, "--prometheus", status["prometheus"], "--prometheus",
        "http://127.0.0.1:1", "--out", tmp_path / "out",
    )  # fmt: skip
    assert ended.status == 3
    assert "http://127.0.0.1:1" in ended.err
    assert not (tmp_path / "out").exists()
