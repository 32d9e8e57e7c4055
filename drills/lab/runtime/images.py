"""Which stand-in runs in the place of an image. The lab pulls nothing; an image that it does not know is an error."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from drills.errors import InputError
from drills.lab.runtime.standins import Launch, Postgres, Program, Request, Web, Whoami

_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?::\d+)?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DOCKER_HUB = ("docker.io/", "index.docker.io/", "registry-1.docker.io/", "mirror.gcr.io/", "public.ecr.aws/docker/")
OWN = "drills"  # the project's own image, under any registry


class UnknownImageError(Exception):
    """The lab has no stand-in for an image (``ErrImagePull``) or its name is none (``InvalidImageName``)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StandIn(Protocol):
    """Something that knows how to start in the place of an image."""

    def launch(self, request: Request) -> Launch:
        """The process for a container's spec. Raises LaunchError."""
        ...


@dataclass(frozen=True, slots=True)
class Absent:
    """A container without a process: the lab itself plays it. Commands in it are the lab's own functions."""

    role: str  # "cilium" or "coredns": which of the lab's functions and servers belong to it


SHELL = Program(cmd=("sh",))
NGINX_WELCOME = "<!DOCTYPE html>\n<html>\n<head><title>Welcome to nginx!</title></head>\n<body><h1>Welcome to nginx!</h1></body>\n</html>\n"  # fmt: skip  # noqa: E501
HTTPD_WELCOME = "<html><body><h1>It works!</h1></body></html>\n"

TABLE: Mapping[str, StandIn | Absent] = {
    "postgres": Postgres(),
    "nginx": Web(("nginx", "docker-entrypoint.sh"), "/usr/share/nginx/html", NGINX_WELCOME, "/etc/nginx"),
    "httpd": Web(("httpd", "httpd-foreground"), "/usr/local/apache2/htdocs", HTTPD_WELCOME),
    "traefik/whoami": Whoami(),
    "containous/whoami": Whoami(),
    "nicolaka/netshoot": SHELL,
    "busybox": SHELL,
    "alpine": SHELL,
    "debian": SHELL,
    "ubuntu": SHELL,
    "python": Program(cmd=("python3",), python=True),
    "curlimages/curl": Program(("curl",), ("--help",)),
    "quay.io/curl/curl": Program(("curl",), ("--help",)),
    "networkstatic/iperf3": Program(("iperf3",)),
    "locustio/locust": Program(("locust",), python=True),
    "registry.k8s.io/pause": Program(("sleep", "infinity")),
    "registry.k8s.io/coredns/coredns": Absent("coredns"),
    "coredns/coredns": Absent("coredns"),
    "quay.io/cilium/cilium": Absent("cilium"),
}
OWN_IMAGE = Program(("drills",), ("--help",), python=True)


def repository_of(image: str) -> str:
    """The name without registry defaults, tag and digest: ``docker.io/library/nginx:1.27@sha256:..`` -> ``nginx``.

    Raises UnknownImageError for what is no image name.
    """
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    last, colon, tag = tail.partition(":")
    name = head + slash + last
    if not _REPOSITORY.fullmatch(name) or (colon and not _TAG.fullmatch(tag)):
        raise UnknownImageError(
            "InvalidImageName", f'Failed to apply default image tag "{image}": couldn\'t parse image name'
        )
    for prefix in _DOCKER_HUB:
        name = name.removeprefix(prefix)
    return name.removeprefix("library/")


class Images:
    """The table of stand-ins, with what a user's file adds to it."""

    def __init__(self, extra: Mapping[str, StandIn | Absent] | None = None) -> None:
        self._table = {**TABLE, **(extra or {})}

    def find(self, image: str) -> StandIn | Absent:
        """The stand-in for an image reference. Raises UnknownImageError."""
        name = repository_of(image)
        if name in self._table:
            return self._table[name]
        if name.rpartition("/")[2] == OWN:
            return OWN_IMAGE
        known = ", ".join(sorted(self._table))
        raise UnknownImageError(
            "ErrImagePull",
            f'the lab has no stand-in for the image "{image}" and pulls none; it knows {OWN}, {known}. '
            "Use one of these, or name a file with more in DRILLS_IMAGES (a list of {image: NAME, like: KNOWN}).",
        )

    @classmethod
    def parse(cls, text: str, path: Path) -> Images:
        """The table and the text of a user's file: a YAML list of ``{image: NAME, like: KNOWN}`` or
        ``{image: NAME, entrypoint: [...], cmd: [...]}``; nothing is added by an empty text. Raises InputError."""
        try:
            entries = yaml.safe_load(text) if text else []
        except yaml.YAMLError as error:
            raise InputError(f"The image table {path} cannot be read: {error}") from None
        if not isinstance(entries, list):
            raise InputError(f"The image table {path} must be a list of entries.")
        extra: dict[str, StandIn | Absent] = {}
        for entry in entries:
            name, stand_in = _entry(entry, path, {**TABLE, **extra})
            extra[name] = stand_in
        return cls(extra)


def _entry(entry: object, path: Path, known: Mapping[str, StandIn | Absent]) -> tuple[str, StandIn | Absent]:
    if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
        raise InputError(f"{path}: every entry needs an image name: {{image: NAME, like: KNOWN}}.")
    unknown = set(entry) - {"image", "like", "entrypoint", "cmd"}
    if unknown:
        raise InputError(f"{path}: image {entry['image']}: unknown key {', '.join(sorted(map(str, unknown)))}.")
    try:
        name = repository_of(entry["image"])
    except UnknownImageError as error:
        raise InputError(f"{path}: {error}") from None
    if "like" not in entry:
        return name, Program(_words(entry, "entrypoint", path), _words(entry, "cmd", path))
    if entry["like"] == OWN:
        return name, OWN_IMAGE
    if entry["like"] not in known:
        raise InputError(f"{path}: image {entry['image']}: there is no stand-in called {entry['like']}.")
    return name, known[entry["like"]]


def _words(entry: Mapping[str, object], key: str, path: Path) -> tuple[str, ...]:
    words = entry.get(key) or []
    if not isinstance(words, Sequence) or isinstance(words, str):
        raise InputError(f"{path}: image {entry['image']}: {key} must be a list of words.")
    return tuple(str(word) for word in words)
