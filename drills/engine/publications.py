"""Where results go beside the files, as ``--publish WHERE`` has it: what is chosen, and what it takes. Pure.

`drills.publish` makes publications of it; plans and manifests ask which rights, paths and seconds they take.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from alerts.http_config import checked
from drills.errors import InputError

Kind = Literal["events", "configmap", "pushgateway", "scrape", "grafana"]

KNOWN: Final = "events, configmap, pushgateway=URL, scrape=HOST:PORT, grafana=URL"
ANSWER_SECONDS: Final = 10.0  # on the wall, for whoever is told by HTTP
SCRAPED_SECONDS: Final = 180.0  # until the metrics were scraped; Prometheus's default scrape interval is 60
SCRAPED_AFTER_A_SIGNAL: Final = 10.0  # the same, in a pod that is told to end
TOKEN_FILE: Final = "DRILLS_GRAFANA_TOKEN_FILE"  # noqa: S105 - the name of a variable
_WITHOUT_VALUE: Final = ("events", "configmap")


@dataclass(frozen=True, slots=True)
class Where:
    """One place. ``value``: a URL, or HOST:PORT; empty for the cluster's own."""

    kind: Kind
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> Where:
        """InputError for what is no publication, in one sentence."""
        word, given, value = text.partition("=")
        kind = next((one for one in get_args(Kind) if one == word), None)
        if kind is None or bool(given) == (kind in _WITHOUT_VALUE):
            raise InputError(f"--publish {text}: known are {KNOWN}.")
        if kind in ("pushgateway", "grafana"):
            _check_url(kind, value)
        if kind == "scrape":
            host_and_port(value)
        return cls(kind, value)

    def __str__(self) -> str:
        return f"{self.kind}={self.value}" if self.value else self.kind

    @property
    def url(self) -> str | None:
        """Where it is sent to; None for what is not sent."""
        return self.value if self.kind in ("pushgateway", "grafana") else None

    @property
    def seconds(self) -> float:
        """Wall seconds that it may take at a run's end."""
        return {"scrape": SCRAPED_SECONDS, "pushgateway": ANSWER_SECONDS, "grafana": ANSWER_SECONDS}.get(self.kind, 0.0)

    @property
    def seconds_when_stopped(self) -> float:
        """The same of a run that was told to end."""
        return SCRAPED_AFTER_A_SIGNAL if self.kind == "scrape" else self.seconds


def parse_all(texts: Iterable[str]) -> tuple[Where, ...]:
    """Each once, in the order of the command line. InputError for what is none."""
    return tuple(dict.fromkeys(Where.parse(one) for one in texts))


def host_and_port(address: str) -> tuple[str, int]:
    """Of ``HOST:PORT``; InputError for what is none."""
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InputError(f"--publish scrape={address}: an address looks like 0.0.0.0:9090.")
    return host.strip("[]") or "127.0.0.1", int(port)


def result_map(playbook: str) -> str:
    """The name of the ConfigMap with a playbook's last result, in namespace ``drills``."""
    return f"drills-result-{playbook}"


def _check_url(kind: Kind, value: str) -> None:
    try:
        checked(value)
    except InputError:
        raise InputError(
            f"--publish {kind}=URL: an address looks like http://{kind}.monitoring:9091, without a password."
        ) from None
