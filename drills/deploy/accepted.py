"""What is refused before any manifest is written: what the API server would not take, and what a run would not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from drills.deploy.cron import check_timezone
from drills.deploy.settings import Settings, title
from drills.engine.publications import Where, host_and_port
from drills.engine.target import check_address
from drills.errors import InputError

CRONJOB_NAME: Final = 52  # characters: a Job's 63, less the 11 that the controller appends
LABEL: Final = 63
_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # of RFC 1123, as all below: Kubernetes, names
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_IMAGE: Final = re.compile(  # github.com/distribution/reference, without its rarer algorithms of digests
    r"([A-Za-z0-9.-]+(:\d+)?/)?[a-z0-9]+(([._]|__|-+|/)[a-z0-9]+)*(:\w[\w.-]{0,127})?(@sha\d+:[0-9a-f]{32,})?"
)
_LOOPBACK: Final = ("127.", "localhost", "::1")


def check_name(playbook: str) -> None:
    """InputError for a playbook whose name is too long for a CronJob."""
    if len(title(playbook)) > CRONJOB_NAME:
        raise InputError(
            f"The playbook's name {playbook} is too long: its CronJob would be called {title(playbook)}, and "
            f"Kubernetes takes {CRONJOB_NAME} characters at most; use {CRONJOB_NAME - len(title(''))} or less."
        )


def check(settings: Settings) -> None:
    """InputError for settings that no cluster takes, or no run there, in one sentence."""
    _check_names(settings)
    _check_labels(settings.rule_labels)
    check_timezone(settings.timezone)
    _check_addresses(settings)
    if settings.scraped is not None:
        host, _ = host_and_port(settings.scraped.value)
        if host.startswith(_LOOPBACK):
            raise InputError(f"--publish {settings.scraped}: nobody reaches that from outside of the pod; use 0.0.0.0.")
    if settings.grafana_token is not None and not any(one.kind == "grafana" for one in settings.published):
        raise InputError("--grafana-token only means something with --publish grafana=URL.")


def _check_names(settings: Settings) -> None:
    if not _LABEL.fullmatch(settings.namespace):
        raise InputError(f'--namespace "{settings.namespace}": {_names(LABEL)}.')
    account = settings.service_account
    if account is not None and not (_SUBDOMAIN.fullmatch(account) and len(account) <= 253):
        raise InputError(f'--service-account "{account}": {_names(253)}.')
    if not _IMAGE.fullmatch(settings.image):
        raise InputError(f'--image "{settings.image}": an image looks like registry.example/drills:0.1.0.')


def _names(longest: int) -> str:
    return f"names have lower case letters, digits and '-', begin and end without '-', and {longest} characters at most"


def _check_labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        prefix, slash, name = key.rpartition("/")
        good = _QUALIFIED.fullmatch(name) and (not slash or (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= 253))
        if not good or not _QUALIFIED.fullmatch(value):
            raise InputError(
                f"--rule-label \"{key}={value}\" is no label of Kubernetes: KEY=VALUE of letters, digits, '-', '_' and "
                f"'.', each {LABEL} characters at most."
            )


def _check_addresses(settings: Settings) -> None:
    if not settings.prometheus:
        raise InputError("On a cluster the alerts are read from Prometheus: give --prometheus URL.")
    if settings.alertmanager_http_config is not None and not settings.alertmanager:
        raise InputError("--alertmanager-http-config only means something with --alertmanager.")
    with_secret = settings.prometheus_http_config is not None
    check_address("--prometheus", settings.prometheus, credentials=with_secret)
    if settings.alertmanager:
        with_secret = settings.alertmanager_http_config is not None
        check_address("--alertmanager", settings.alertmanager, credentials=with_secret)
    for one in settings.published:
        Where.parse(str(one))
