"""An untrusted `config.json`: a wrong value ends in one error line, and no file is read because of it."""

import json
import math
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

import microgen_jax
from microgen_jax.commands.sample import sample
from microgen_jax.config import command_line, fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.config.run_config import Resolved
from microgen_jax.config.schema import Config
from microgen_jax.data.representations import Orientations, PhaseName
from microgen_jax.errors import UserError

RESOLVED = Resolved(("a", "b"), ("grain",), (2.0,), (1.0,), 3, "folder", "0")


@pytest.fixture
def altered(tmp_path):
    """`altered("resolved", "channels", "3")`: the folder of a run whose record says so."""
    run_config.write(tmp_path, Config(), RESOLVED)
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


def refusal(read) -> str:
    """The one line that is given instead."""
    with pytest.raises(UserError) as refused:
        read()
    return str(refused.value)


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [
        ("train", "steps", "x"),
        ("train", "steps", True),
        ("model", "channels", 7),
        ("sample", "name", 3),
        ("sample", "name", "../x"),
        ("data", "augment", 1),
        ("train", "ema_decay", None),
    ],
)
def test_a_value_of_the_wrong_type_is_named(altered, group, field, value):
    workdir = altered("config", group, field, value)
    for read in (lambda: sample(Request(Config(), {}, False, workdir)), lambda: microgen_jax.load(workdir)):
        line = refusal(read)
        assert "config.json" in line
        assert f"{group}.{field}: {value!r}" in line


def test_a_group_that_is_none_is_named(altered):
    assert "model: 'x'" in refusal(
        lambda: sample(Request(Config(), {}, False, altered("config", "model", "x")))
    )


def test_loading_refuses_a_run_that_lacks_a_field(altered):
    group = fields.to_dict(Config())["train"]
    del group["keep"]
    assert "train.keep" in refusal(lambda: microgen_jax.load(altered("config", "train", group)))


@pytest.mark.parametrize("edition", [1, 3, None, "2"])
def test_a_run_of_another_edition_is_refused(altered, edition):
    with pytest.raises(UserError) as refused:
        run_config.read(altered("format", edition))
    assert refused.value.where.endswith("config.json")
    assert "version" in refused.value.fix


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data.size", [10**6, 10**6]),
        ("data.size", [2**14, 2**14]),
        ("data.size", []),
        ("data.channels", 10**30),
        ("data.count", 10**30),
        ("data.workers", 10**9),
        ("model.channels", [64, 10**12, 64]),
        ("model.channels", [8] * 4000),
        ("model.channels", []),
        ("model.blocks_per_level", 10**9),
        ("diffusion.timesteps", 10**12),
        ("train.batch_size", 10**30),
        ("train.steps", 10**30),
        ("train.keep", 10**30),
        ("train.skip_batches", [1] * (10**4 + 1)),
        ("train.ema_widths", [0.1] * (10**4 + 1)),
        ("train.ema_widths", [math.nan]),
        ("sample.batch_size", 10**12),
        ("sample.num", 10**15),
        ("sample.steps", 10**12),
        ("sample.frames", 10**12),
        ("sample.trajectory_times", [0] * (10**4 + 1)),
        ("sample.trajectory_times", [10**12]),
        ("sample.guidance_interval", ["a", 1.0]),
        ("sample.seed", -1),
        ("method", "ddmp"),
    ],
)
def test_what_no_machine_can_do_is_refused_by_its_name(altered, field, value):
    workdir = altered("config", *field.split("."), value)
    said = refusal(lambda: microgen_jax.load(workdir))
    assert said == refusal(lambda: sample(Request(Config(), {}, False, workdir)))
    assert field in said
    assert len(said) < 250


def test_whole_numbers_where_any_will_do_are_taken(altered):
    config = run_config.read(altered("config", "train", "clip_norm", 1)).config
    assert command_line.for_run(Request(Config(), {}, False, None), config).train.clip_norm == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", "abc"),
        ("classes", [1, 2]),
        ("conditions", ["grain", "length"]),
        ("mean", ["x"]),
        ("channels", 0),
        ("channels", "3"),
        ("class_ranges", [[[0, 1]]]),
        ("class_ranges", [[[0, "1"]], [None]]),
        ("class_ranges", 5),
    ],
)
def test_what_no_data_have_decided_is_damaged(altered, field, value):
    with pytest.raises(UserError, match=r"config\.json: is damaged"):
        run_config.read(altered("resolved", field, value))


def test_ranges_of_classes_are_read_back(tmp_path):
    resolved = replace(RESOLVED, class_ranges=(((0.5, 2.0),), (None,)))
    run_config.write(tmp_path, Config(), resolved)
    assert run_config.read(tmp_path).resolved == resolved


def test_stages_that_are_not_those_of_the_phases_are_damaged(altered):
    found = Orientations((PhaseName("Ni", "m-3m"),))
    stages = [[name, list(names)] for name, names in found.stages]
    altered("resolved", "channels", found.channels)
    altered("resolved", "phases", [["Ni", "m-3m"]])
    assert run_config.read(altered("resolved", "stages", stages)).resolved.representation == found
    for other in ([], [["image", stages[0][1] + stages[1][1]]], stages[::-1]):
        with pytest.raises(UserError, match=r"config\.json: is damaged .*phases"):
            run_config.read(altered("resolved", "stages", other))
    altered("resolved", "stages", stages)
    with pytest.raises(UserError, match=r"config\.json: is damaged .*phases"):
        run_config.read(altered("resolved", "phases", []))


@pytest.mark.parametrize("value", [None, [], {"seed": 0}])
def test_a_record_without_its_parts_is_damaged(altered, value):
    with pytest.raises(UserError, match=r"config\.json: is damaged"):
        run_config.read(altered("config", value))


def test_more_than_there_is_memory_is_one_line(capsys):
    with pytest.raises(SystemExit, match="2"), command_line.one_line_errors():
        raise MemoryError("Unable to allocate 7.28 TiB")
    assert capsys.readouterr().err.startswith("error: out of memory (Unable to allocate 7.28 TiB); lower")


@pytest.mark.parametrize(("file", "heard"), [("site-packages/orbax/checkpoint/x.py", 0), ("loop.py", 1)])
def test_what_orbax_abandons_is_not_heard(monkeypatch, file, heard):
    said = []
    monkeypatch.setattr(sys, "__unraisablehook__", said.append)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    command_line.silence_abandoned_orbax_reads()
    try:
        exec(compile("raise Exception('while reading')", file, "exec"))
    except Exception as fault:
        sys.unraisablehook(SimpleNamespace(exc_value=fault, exc_traceback=fault.__traceback__))
    assert len(said) == heard


def test_whole_numbers_where_any_will_do_are_read_as_such(altered):
    group = fields.to_dict(Config())["sample"] | {"guidance": 2}
    workdir = altered("config", "sample", group)
    guidance = run_config.read(workdir).config.sample.guidance
    assert (type(guidance), guidance) == (float, 2.0)
    with pytest.raises(UserError, match="too large"):
        run_config.read(altered("config", "sample", group | {"guidance": 10**400}))


def test_what_a_run_was_started_with_is_kept(tmp_path):
    run_config.write(tmp_path, Config(), RESOLVED)
    assert run_config.read(tmp_path) == run_config.RunConfig(Config(), RESOLVED)
    run_config.check_resumable(tmp_path, fields.replace(Config(), {"train.steps": 10**6}), RESOLVED)
    changed = fields.replace(Config(), {"train.learning_rate": 1.0, "model.head_dim": 32, "mesh.fsdp": 2})
    line = refusal(lambda: run_config.check_resumable(tmp_path, changed, RESOLVED))
    assert "train.learning_rate=0.0002 (now 1.0)" in line
    assert "model.head_dim" in line
    assert "mesh.fsdp" not in line
