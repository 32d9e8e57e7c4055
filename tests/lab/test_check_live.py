"""``drills check --prometheus URL``: a real Prometheus says which series there are."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.prometheus import Prometheus, PrometheusError
from drills.check import checks, reading
from drills.check.finding import Finding
from drills.check.world import Options

pytestmark = pytest.mark.lab

SERIES = (
    'cilium_policy_l7_total{rule="denied",proxy_type="envoy"}',
    'cilium_unreachable_nodes{shift="night"}',  # a label that relabelling added
    'cilium_of_another_build{mode="x"}',
    'shop_orders{state="paid",shop="a"}',
)
EXPECTED: dict[str, tuple[str, str, str] | None] = {
    'sum(increase(cilium_policy_l7_total{rule="denied"}[5m])) > 10': None,
    'cilium_unreachable_nodes{shift="night"} > 0': None,
    'cilium_of_another_build{mode="x"} > 0': None,
    'shop_orders{state="paid"} > 0': None,
    "absent(up)": None,
    "sum(rate(cilium_drops_total[5m])) > 1": ("cilium/unknown-metric", "error", "no metric cilium_drops_total"),
    'sum(increase(cilium_policy_l7_total{rule="DENIED"}[5m])) > 1': ("cilium/label-value", "error", 'never "DENIED"'),
    "cilium_endpoint > 100": ("prometheus/unknown-series", "warning", "has no metric cilium_endpoint"),
    'cilium_of_another_build{mode="y"} > 0': ("prometheus/unknown-series", "warning", 'none has mode="y"'),
    'shop_orders{state="open",shop="a"} > 0': ("prometheus/unknown-series", "warning", 'none has state="open"'),
    "shop_refunds > 0": ("prometheus/unknown-series", "warning", "has no metric shop_refunds"),
}


def _address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus whose store has the series, from a little before now until a little after."""
    folder = tmp_path_factory.mktemp("prometheus")
    now = int(time.time())
    samples = [f"{series} 1 {at}\n" for series in SERIES for at in range(now - 120, now + 240, 30)]
    names = {series.partition("{")[0] for series in SERIES}
    (folder / "series.txt").write_text(
        "".join(f"# TYPE {name} unknown\n" for name in names) + "".join(samples) + "# EOF\n"
    )
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", "series.txt", "data"], cwd=folder, check=True
    )
    address = _address()
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        try:
            _wait_for(f"http://{address}", process)
            yield f"http://{address}"
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if Prometheus(url).metric_names():
                return
        except PrometheusError:
            assert process.poll() is None, "Prometheus ended"
        assert time.monotonic() < deadline, "Prometheus does not answer"


@pytest.fixture(scope="module")
def found(server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules = "".join(f"  - {{alert: A, expr: {json.dumps(expr)}}}\n" for expr in EXPECTED)
    file.write_text(f"groups:\n- name: g\n  rules:\n{rules}")
    findings = checks.findings(reading.read([file], Options(prometheus=server)))
    return {
        expr: [each for each in findings if each.place.line == number and each.rule != "cilium/birth-trap"]
        for number, expr in enumerate(EXPECTED, 4)
    }


@pytest.mark.parametrize("expr", EXPECTED)
def test_what_the_server_has_is_right(found: dict[str, list[Finding]], expr: str) -> None:
    expected = EXPECTED[expr]
    assert [(each.rule, str(each.level)) for each in found[expr]] == ([] if expected is None else [expected[:2]])
    assert expected is None or expected[2] in found[expr][0].message


def test_a_server_that_does_not_answer_is_said(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("groups: [{name: g, rules: [{alert: A, expr: cilium_endpoint > 3}]}]\n")
    with pytest.raises(PrometheusError):
        checks.findings(reading.read([file], Options(prometheus=f"http://{_address()}")))
