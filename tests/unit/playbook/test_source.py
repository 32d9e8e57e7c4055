"""YAML with places: what kubectl reads, where it stands, and what is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.errors import InputError, SourceError
from drills.source import Document, load_documents, parse_documents

SAMPLE = """\
# a comment
metadata:
  name: x
spec:
  rules:
  - {host: a, port: 80}
  - host: b
    port: 0x1F
"""


def document(text: str) -> Document:
    (only,) = parse_documents(text, "f.yaml")
    return only


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), "f.yaml:2:1"),
        (("metadata", "name"), "f.yaml:3:9"),
        (("spec", "rules"), "f.yaml:6:3"),
        (("spec", "rules", 0, "port"), "f.yaml:6:21"),
        (("spec", "rules", 1), "f.yaml:7:5"),
        (("spec", "rules", 1, "port"), "f.yaml:8:11"),
        (("spec", "rules", 9, "port"), "f.yaml:6:3"),
        (("spec", "nothing"), "f.yaml:5:3"),
    ],
)
def test_every_value_has_a_place(path: tuple[str | int, ...], place: str) -> None:
    assert str(document(SAMPLE).place_of(path)) == place


@pytest.mark.parametrize(
    ("path", "place"),
    [(("spec",), "f.yaml:4:1"), (("spec", "rules", 0, "port"), "f.yaml:6:15"), (("spec", "rules", 1), "f.yaml:7:5")],
)
def test_every_key_has_a_place(path: tuple[str | int, ...], place: str) -> None:
    assert str(document(SAMPLE).key_place_of(path)) == place


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2025-08-22", "2025-08-22"),
        ("12:30:45", "12:30:45"),
        ("0644", 420),
        ("0o17", 15),
        ("08", 8.0),
        ("1e3", 1000.0),
        ("1_000", 1000),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("''", ""),
        ("'on'", "on"),
        ("!!str 1", "1"),
        ("-5", -5),
        ("+.inf", float("inf")),
        ("1.2.3", "1.2.3"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("v1", "v1"),
    ],
)
def test_scalars_are_those_of_kubectl(text: str, value: object) -> None:
    assert document(f"a: {text}").data == {"a": value}


def test_keys_are_text() -> None:
    assert document("{1: a, on: b, null: c}").data == {"1": "a", "on": "b", "null": "c"}


def test_documents_are_told_apart_and_empty_ones_left_out() -> None:
    documents = parse_documents("---\n---\na: 1\n---\n# nothing\n---\n- b\n", "f.yaml")
    assert [each.data for each in documents] == [{"a": 1}, ["b"]]
    assert str(documents[1].place_of((0,))) == "f.yaml:7:3"


def test_anchors_and_merges_keep_the_place_of_the_anchor() -> None:
    merged = document("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nmore: {<<: [*b, {z: 4}]}")
    assert merged.data["use"] == {"x": 1, "y": 3}
    assert merged.data["more"] == {"x": 1, "y": 2, "z": 4}
    assert str(merged.place_of(("use", "x"))) == "f.yaml:1:14"
    assert str(merged.place_of(("use", "y"))) == "f.yaml:2:18"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "f.yaml:2:1: broken YAML: did not find expected node content"),
        ("a: b: c", "f.yaml:1:5: broken YAML: mapping values are not allowed in this context"),
        ("a: 1\nb: 2\na: 3", 'f.yaml:3:1: the key "a" stands here for the second time (first in line 1)'),
        ("\ta: 1", "f.yaml:1:1: broken YAML: found character that cannot start any token"),
        ("x\n\x01", "f.yaml:2:1: broken YAML: control characters are not allowed"),
        ("a: *x", "f.yaml:1:4: the alias *x stands before its anchor"),
        ("a: &b\n  - *b", "f.yaml:2:5: the alias *b contains itself"),
        ("? [1]\n: 2", "f.yaml:1:3: a key must be a plain value, not a mapping or a list"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: the tag tag:yaml.org,2002:python/object:os.system"),
        ("a: {<<: 1}", "f.yaml:1:5: << takes a mapping or a list of mappings"),
        ("[" * 100_000, "f.yaml:1:101: nested deeper than 100 levels"),
    ],
)
def test_what_is_refused_has_a_place(text: str, message: str) -> None:
    with pytest.raises(SourceError) as caught:
        parse_documents(text, "f.yaml")
    assert str(caught.value).startswith(message)


def test_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    with pytest.raises(SourceError, match="aliases expanded"):
        parse_documents("\n".join(lines), "f.yaml")


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: \xff\xfe")
    for path, words in [
        (tmp_path / "absent.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (binary, "binary.yaml:1:4: not text in UTF-8"),
        (Path("a\0b"), "null"),
    ]:
        with pytest.raises(InputError, match=words):
            load_documents(path)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"\n #,?%@<0.", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SourceError):
        parse_documents(text, "f.yaml")
