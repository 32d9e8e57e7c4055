"""The metric catalogue: what it says of each version, that it agrees with what the lab exports, and its format."""

from __future__ import annotations

from pathlib import Path

import pytest

from alerts import catalog
from drills.cilium import metrics
from drills.errors import SourceError
from drills.source import load_documents

VERSIONS = ("1.18", "1.19", "1.20")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_it_agrees_with_what_the_lab_exports(metric: metrics.Metric, version: str) -> None:
    series = catalog.of_version(version).find(metric.name)
    assert series is not None
    known = series.metric
    assert (known.type, known.exporter, known.born) == (metric.kind, metric.exporter, metric.birth.value)
    labels = known.labels or {}
    if version == "1.20" or metric.name not in ("cilium_policy_change_total", "cilium_node_health_connectivity_status"):
        assert set(metric.labels) <= set(labels)
    for label, values in metric.labels.items():
        possible = labels.get(label)
        if possible and version == "1.20":
            assert set(values) <= set(possible), label


def test_the_drop_reasons_are_the_exact_texts_of_the_agent_and_the_names_of_hubble() -> None:
    known = catalog.of_version("1.20")
    texts = set((known.families["cilium_drop_count_total"].labels or {})["reason"])
    names = set((known.families["hubble_drop_total"].labels or {})["reason"])
    assert {reason.text for reason in metrics.DropReason} <= texts
    assert set(metrics.BACKGROUND_DROPS) <= texts
    assert {reason.name for reason in metrics.DropReason} <= names


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_both_there_and_removed(version: str) -> None:
    known = catalog.of_version(version)
    assert known.whole
    assert not known.removed.keys() & known.families.keys()
    assert not known.never.keys() & known.series.keys()
    assert all(name.startswith(catalog.PREFIXES) for name in known.families)


@pytest.mark.parametrize("name", catalog.FILES)
def test_every_metric_says_where_it_was_read(name: str) -> None:
    (document,) = load_documents(Path(catalog.__file__).parent / f"{name}.yaml")
    found = list(catalog.metrics_of(document, "1.20"))
    assert len(found) >= 20
    assert all(each.source and each.exporter for each in found)


def test_what_took_the_place_of_a_removed_metric_is_there() -> None:
    known = catalog.of_version("1.20")
    for each in known.removed.values():
        name = each.instead.partition("{")[0]
        assert not name or name in known.families, each.name


@pytest.mark.parametrize(
    ("version", "name", "there"),
    [
        ("1.14", "cilium_policy_l7_denied_total", True),
        ("1.15", "cilium_policy_l7_denied_total", False),
        ("1.18", "cilium_agent_bootstrap_seconds", True),
        ("1.19", "cilium_agent_bootstrap_seconds", True),
        ("1.20", "cilium_agent_bootstrap_seconds", False),
        ("1.18", "cilium_endpoint_max_ifindex", True),
        ("1.19", "cilium_endpoint_max_ifindex", False),
        ("1.18", "cilium_clustermesh_global_services", True),
        ("1.20", "cilium_clustermesh_remote_cluster_services", True),
        ("1.19", "cilium_kubernetes_resource_sync_duration", False),
        ("1.20", "cilium_kubernetes_resource_sync_duration", True),
        ("1.21", "cilium_kubernetes_resource_sync_duration", True),
        ("1.20", "cilium_policy_implementation_delay_bucket", True),
        ("1.20", "cilium_policy_implementation_delay", False),
    ],
)
def test_versions_differ(version: str, name: str, *, there: bool) -> None:
    assert (catalog.of_version(version).find(name) is not None) is there


@pytest.mark.parametrize(("version", "outcomes"), [("1.19", ("success", "failure")), ("1.20", ("success", "fail"))])
def test_a_label_changes_its_values(version: str, outcomes: tuple[str, ...]) -> None:
    metric = catalog.of_version(version).families["cilium_policy_change_total"]
    assert (metric.labels or {})["outcome"] == outcomes


def test_only_whole_versions_are_sure_that_a_name_does_not_exist() -> None:
    assert catalog.of_version("1.20").certain("cilium_foo")
    assert not catalog.of_version("1.20").certain("cilium_operator_foo")
    assert not catalog.of_version("1.16").certain("cilium_foo")
    assert not catalog.of_version("1.21").certain("cilium_foo")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("cilium_drop_counts_total", "cilium_drop_count_total"),
        ("cilium_unreachable_node", "cilium_unreachable_nodes"),
        ("cilium_policy_l7_denied", "cilium_policy_l7_total"),
        ("hubble_http_request_total", "hubble_http_requests_total"),
        ("cilium_node_health_status", "cilium_node_health_connectivity_status"),
        ("cilium_dropp", "cilium_drop_count_total"),
        ("cilium_http_requests_total", "hubble_http_requests_total"),
    ],
)
def test_the_nearest_metric(name: str, nearest: str) -> None:
    assert catalog.of_version("1.20").nearest(name) == nearest


OWN = """\
exporter: shop
metrics:
  shop_orders_total:
    type: counter
    labels: {outcome: [paid, refused], shop: any}
    born: start
  shop_up: {type: gauge, range: [0, 1]}
"""


def test_a_catalogue_of_ones_own_is_added(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(OWN)
    known = catalog.extended(catalog.of_version("1.20"), file)
    orders, up = known.find("shop_orders_total"), known.find("shop_up")
    assert orders is not None
    assert up is not None
    assert orders.metric.labels == {"outcome": ("paid", "refused"), "shop": ()}
    assert up.metric.range == (0, 1)
    assert known.find("cilium_policy_l7_total") is not None


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("type: counter", "type: count", "4:11", "needs a type"),
        ("born: start", "born: never", "6:11", "born is start or first-event"),
        ("born: start", "burn: start", "6:11", 'unknown key "burn"'),
        ("[paid, refused]", "[1, 2]", "5:23", "the values of outcome must be a list of texts"),
        ("{outcome: [paid, refused], shop: any}", "none", "5:13", "labels must be a mapping"),
        ("[0, 1]", "[0]", "7:33", "range must be a list of two numbers"),
        ("{type: gauge, range: [0, 1]}", "7", "7:12", "must be a mapping"),
        ("metrics:", "metric:", "1:1", "with the key metrics"),
        ("born: start", "since: 1.19", "6:12", 'since must be a text such as "1.19"'),
        ("born: start", "since: foo", "6:12", 'since: "foo" is no release of Cilium; write it like 1.20'),
        ("born: start", 'until: "1.x"', "6:12", 'until: "1.x" is no release of Cilium'),
    ],
)
def test_what_is_wrong_with_a_catalogue_has_its_place(
    tmp_path: Path, old: str, new: str, place: str, message: str
) -> None:
    file = tmp_path / "own.yaml"
    assert old in OWN
    file.write_text(OWN.replace(old, new))
    with pytest.raises(SourceError) as caught:
        catalog.extended(catalog.of_version("1.20"), file)
    assert f"own.yaml:{place}: " in str(caught.value)
    assert message in str(caught.value)
