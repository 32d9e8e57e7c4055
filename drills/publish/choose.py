"""What ``--publish WHERE`` chose, made into publications."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from drills.engine.publications import Where
from drills.kube import Cluster
from drills.publish.base import Publication


def publications(chosen: Sequence[Where], cluster: Cluster, stop: threading.Event) -> tuple[Publication, ...]:
    """In the order of the command line; ``stop`` ends a wait for somebody to scrape."""
    return tuple(_publication(each, cluster, stop) for each in chosen)


def _publication(chosen: Where, cluster: Cluster, stop: threading.Event) -> Publication:
    """Each imports what it needs only where it is wanted."""
    from drills.publish import cluster as own  # noqa: PLC0415
    from drills.publish.grafana import Grafana  # noqa: PLC0415

    match chosen.kind:
        case "events":
            return own.Events(cluster)
        case "configmap":
            return own.ConfigMap(cluster)
        case "grafana":
            return Grafana(chosen.value)
        case "scrape":
            from drills.publish.scrape import Scrape  # noqa: PLC0415

            return Scrape(chosen.value, stop)
        case "pushgateway":
            from drills.publish.pushgateway import Pushgateway  # noqa: PLC0415

            return Pushgateway(chosen.value)
