"""The hook for pre-commit: its entry is a command that there is, its arguments and its files are what that takes."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

import yaml

from drills import cli
from drills.check.reading import SUFFIXES

HOOKS = Path(__file__).parents[3] / ".pre-commit-hooks.yaml"
# What pre-commit's `types` stand for (identify, extensions.py), as far as the hook names them.
ENDINGS = {"yaml": {".yaml", ".yml"}, "json": {".json"}}


def test_the_hook_fits_the_command() -> None:
    (hook,) = yaml.safe_load(HOOKS.read_text())
    program, name = hook["entry"].split()
    (script,) = entry_points(group="console_scripts", name=program)
    assert script.load() is cli.main
    context = cli.cli.commands[name].make_context(name, list(hook["args"]))
    assert context.params["paths"] == tuple(Path(each) for each in hook["args"])
    assert {ending for kind in hook["types_or"] for ending in ENDINGS[kind]} == set(SUFFIXES)


def test_files_are_not_given_one_by_one() -> None:
    """Policies, rules and playbooks speak of each other: one run over the folder, whatever changed."""
    (hook,) = yaml.safe_load(HOOKS.read_text())
    assert (hook["pass_filenames"], hook["require_serial"], hook["language"]) == (False, True, "python")
