"""Alertmanager configurations among what is checked: plain files, and Secrets and ConfigMaps that hold one.

amtool is the judge of their syntax where it is installed; what routing stands on is checked here in any case, so that
nothing is said about a configuration that Alertmanager would not load.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from alerts.routing import parse_matchers
from drills.check.delivery.amtool import Word, opinions
from drills.check.world import Manifest, World
from drills.errors import Place, SourceError
from drills.source import Document, KeyPath, parse_documents

_KEYS: Final = ("alertmanager.yaml", "alertmanager.yml")


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration. ``wrong`` is a place and a sentence where Alertmanager would not load it, ``doubts`` are
    those about what only newer versions than the judge load.
    """

    document: Document  # of the configuration itself
    held_by: Place | None = None  # where it stands as the text of a Secret or a ConfigMap
    wrong: tuple[Place, str] | None = None
    doubts: tuple[tuple[Place, str], ...] = ()

    @property
    def data(self) -> Mapping[str, Any]:
        """As it is written."""
        found = self.document.data
        return found if isinstance(found, dict) else {}

    def place(self, *path: str | int) -> Place:
        """Where a value stands; of one inside of another manifest, where that text begins."""
        return self.held_by or self.document.place_of(path)


def configs_of(world: World) -> list[Config]:
    """Every configuration that is given."""
    found = [Config(each) for each in world.alertmanagers]
    for manifest in world.of_kind("Secret", "ConfigMap"):
        found += _held(manifest)
    found = [replace(each, wrong=_wrong(each)) if each.wrong is None else each for each in found]
    return _judged(found)


def _held(manifest: Manifest) -> Iterator[Config]:
    for section in ("data", "stringData") if manifest.kind == "Secret" else ("data",):
        texts = manifest.data.get(section)
        for key in _KEYS:
            text = texts.get(key) if isinstance(texts, dict) else None
            if not isinstance(text, str):
                continue
            place = manifest.place(section, key)
            if section == "data" and manifest.kind == "Secret":
                text = _decoded(text)
            yield _config(text, place)


def _config(text: str | None, place: Place) -> Config:
    try:
        documents = [] if text is None else parse_documents(text, place.file)
    except SourceError as error:
        return Config(parse_documents("{}", place.file)[0], place, (place, error.message))
    if text is None or len(documents) != 1:
        why = "it is not base64" if text is None else "a configuration is one YAML document"
        return Config(parse_documents("{}", place.file)[0], place, (place, why))
    return Config(documents[0], place)


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _wrong(config: Config) -> tuple[Place, str] | None:
    """The first thing that routing and inhibition could not stand on."""
    for path, message in _complaints(config.data):
        return config.place(*path), message
    return None


def _complaints(data: Mapping[str, Any]) -> Iterator[tuple[KeyPath, str]]:
    route, receivers = data.get("route"), data.get("receivers")
    if not isinstance(route, dict):
        yield ("route",), "there is no route"
        return
    if not isinstance(receivers, list) or not all(isinstance(each, dict) and _is_receiver(each) for each in receivers):
        yield ("receivers",), "receivers must be a list of mappings, each with a name"
        return
    if not route.get("receiver"):
        yield ("route",), "the root route has no receiver"
    names = {str(each["name"]) for each in receivers}
    yield from _of_route(route, ("route",), names)
    rules = data.get("inhibit_rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        yield from _of_inhibition(rule, ("inhibit_rules", index))
    if rules is not None and not isinstance(rules, list):
        yield ("inhibit_rules",), "inhibit_rules must be a list"


def _is_receiver(receiver: Mapping[str, Any]) -> bool:
    many = (value for key, value in receiver.items() if key.endswith("_configs"))
    return bool(receiver.get("name")) and all(value is None or isinstance(value, list) for value in many)


def _of_route(route: Any, path: KeyPath, names: set[str]) -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(route, dict):
        yield path, "a route must be a mapping"
        return
    receiver = route.get("receiver")
    if receiver is not None and str(receiver) not in names:
        known = ", ".join(sorted(names)) or "none"
        yield (*path, "receiver"), f'there is no receiver "{receiver}"; there are {known}'
    yield from _of_matchers(route, path, "match", "match_re", "matchers")
    for key in ("group_by", "mute_time_intervals", "active_time_intervals"):
        if not isinstance(route.get(key, []), list):
            yield (*path, key), f"{key} must be a list"
    below = route.get("routes") or []
    if not isinstance(below, list):
        yield (*path, "routes"), "routes must be a list"
        return
    for index, each in enumerate(below):
        yield from _of_route(each, (*path, "routes", index), names)


def _of_inhibition(rule: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if not isinstance(rule, dict):
        yield path, "an inhibition must be a mapping"
        return
    for side in ("source", "target"):
        yield from _of_matchers(rule, path, f"{side}_match", f"{side}_match_re", f"{side}_matchers")
    if not isinstance(rule.get("equal") or [], list):
        yield (*path, "equal"), "equal must be a list of labels"


def _of_matchers(
    where: Mapping[str, Any], path: KeyPath, equal: str, regex: str, matchers: str
) -> Iterator[tuple[KeyPath, str]]:
    for key in (equal, regex):
        if not isinstance(where.get(key) or {}, dict):
            yield (*path, key), f"{key} must be a mapping"
            return
    for name, value in (where.get(regex) or {}).items():
        if not _is_regex(str(value)):
            yield (*path, regex, name), f'"{value}" is not a regular expression'
    listed = where.get(matchers) or []
    if not isinstance(listed, list):
        yield (*path, matchers), f"{matchers} must be a list"
        return
    for index, text in enumerate(listed):
        found = parse_matchers(text) if isinstance(text, str) else None
        if found is None:
            yield (*path, matchers, index), f'"{text}" is not a matcher; write it like severity="critical"'
        elif not all(_is_regex(value) for _, operator, value in found if "~" in operator):
            yield (*path, matchers, index), f'"{text}" has no regular expression'


def _is_regex(text: str) -> bool:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _judged(configs: list[Config]) -> list[Config]:
    """With amtool's words about those that look right so far."""
    asked = [number for number, each in enumerate(configs) if each.wrong is None]
    made = list(configs)
    for number, opinion in zip(asked, opinions([configs[each].data for each in asked]), strict=True):
        config = configs[number]
        doubts = tuple((_place(config, each), each.text) for each in opinion.doubts)
        wrong = None if opinion.wrong is None else (_place(config, opinion.wrong), opinion.wrong.text)
        made[number] = replace(config, wrong=wrong, doubts=doubts)
    return made


def _place(config: Config, word: Word) -> Place:
    if word.key and config.held_by is None:
        return config.document.key_place_of(word.path)
    return config.place(*word.path)
