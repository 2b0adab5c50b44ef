"""A `config.json` that somebody else wrote: what cannot be is one line, and nothing is read by it."""

import json
import runpy
import sys
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from microgen_jax.commands import command_line, record
from microgen_jax.commands.command_line import Request
from microgen_jax.commands.record import Resolved
from microgen_jax.commands.sample import sample
from microgen_jax.types import UserError
from tests.commands.conftest import ROOT

RESOLVED = Resolved(("a", "b"), ("grain",), (2.0,), (1.0,), 3, "folder", "0")


def default() -> ConfigDict:
    return runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()


@pytest.fixture
def altered(tmp_path):
    """`altered("resolved", "channels", "3")`: the folder of a run whose record says so."""
    record.write(tmp_path, default(), RESOLVED)
    content = json.loads((tmp_path / "config.json").read_text())

    def write(*place_and_value):
        *groups, name, value = place_and_value
        inner = content
        for group in groups:
            inner = inner[group]
        inner[name] = value
        (tmp_path / "config.json").write_text(json.dumps(content))
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("group", "field", "value", "words"),
    [
        ("train", "steps", "x", r"train\.steps='x', which must be a whole number"),
        ("train", "steps", True, r"train\.steps=True, which must be a whole number"),
        ("model", "channels", 7, r"model\.channels=7, which must be a list"),
        ("sample", "name", 3, r"sample\.name=3, which must be a text"),
        ("data", "augment", 1, r"data\.augment=1, which must be True or False"),
        ("train", "ema_decay", None, r"train\.ema_decay=None, which must be a number"),
    ],
)
def test_a_value_of_the_wrong_type_is_named(altered, group, field, value, words):
    workdir = altered("config", group, field, value)
    with pytest.raises(UserError, match=f"config.json says {words}"):
        sample(Request(default(), {}, False, workdir))


def test_a_group_that_is_none_is_named(altered):
    with pytest.raises(UserError, match=r"config\.json says model='x', which must be a group of fields"):
        sample(Request(default(), {}, False, altered("config", "model", "x")))


def test_whole_numbers_where_any_will_do_are_taken(altered):
    config = record.read(altered("config", "train", "clip_norm", 1)).config
    assert command_line.for_run(Request(default(), {}, False, None), config).train.clip_norm == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", "abc"),
        ("classes", [1, 2]),
        ("conditions", ["grain", "length"]),
        ("mean", ["x"]),
        ("channels", 0),
        ("channels", "3"),
    ],
)
def test_what_no_data_have_decided_is_damaged(altered, field, value):
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        record.read(altered("resolved", field, value))


@pytest.mark.parametrize("value", [None, [], {"seed": 0}])
def test_a_record_without_its_parts_is_damaged(altered, value):
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        record.read(altered("config", value))


def test_more_than_there_is_memory_is_one_line(capsys):
    with pytest.raises(SystemExit, match="2"), command_line.one_line_errors():
        raise MemoryError("Unable to allocate 7.28 TiB")
    assert capsys.readouterr().err.startswith("error: out of memory (Unable to allocate 7.28 TiB); lower")


@pytest.mark.parametrize(("file", "heard"), [("site-packages/orbax/checkpoint/x.py", 0), ("loop.py", 1)])
def test_what_orbax_abandons_is_not_heard(monkeypatch, file, heard):
    said = []
    monkeypatch.setattr(sys, "__unraisablehook__", said.append)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    command_line.hush_abandoned_reads()
    try:
        exec(compile("raise Exception('while reading')", file, "exec"))
    except Exception as fault:
        sys.unraisablehook(SimpleNamespace(exc_value=fault, exc_traceback=fault.__traceback__))
    assert len(said) == heard
