"""``--publish WHERE`` on the command line, made into publications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from drills.errors import InputError

if TYPE_CHECKING:
    import threading

    from drills.kube import Cluster
    from drills.publish.base import Publication

KNOWN = "events, configmap, pushgateway=URL, scrape=HOST:PORT, grafana=URL"


def publications(chosen: Sequence[str], cluster: Cluster, stop: threading.Event) -> tuple[Publication, ...]:
    """In the order of the command line; ``stop`` ends a wait for somebody to scrape. InputError for an unknown one."""
    return tuple(_publication(each, cluster, stop) for each in dict.fromkeys(chosen))


def check(chosen: Sequence[str]) -> None:
    """InputError for what is no publication, before anything is connected to."""
    for each in chosen:
        kind, _, value = each.partition("=")
        if kind in ("events", "configmap") and not value:
            continue
        if kind in ("pushgateway", "grafana"):
            _url(each, value)
        elif kind != "scrape" or not value:
            raise InputError(f"--publish {each}: known are {KNOWN}.")


def _publication(chosen: str, cluster: Cluster, stop: threading.Event) -> Publication:
    """Each imports what it needs only where it is wanted."""
    from drills.publish import cluster as own  # noqa: PLC0415
    from drills.publish.grafana import Grafana  # noqa: PLC0415

    kind, _, value = chosen.partition("=")
    match kind:
        case "events":
            return own.Events(cluster)
        case "configmap":
            return own.ConfigMap(cluster)
        case "grafana":
            return Grafana(value)
        case "scrape":
            from drills.publish.scrape import Scrape  # noqa: PLC0415

            return Scrape(value, stop)
    from drills.publish.pushgateway import Pushgateway  # noqa: PLC0415

    return Pushgateway(value)


def _url(chosen: str, value: str) -> None:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.password is None
    except ValueError:
        good = False
    if not good:
        kind = chosen.partition("=")[0]
        raise InputError(
            f"--publish {kind}=URL: an address looks like http://{kind}.monitoring:9091, without a password."
        )
