"""A `config.json` that somebody else wrote: what cannot be is one line, and nothing is read by it."""

import json
import math
import runpy
import sys
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

import microgen_jax
from microgen_jax.commands.sample import sample
from microgen_jax.config import command_line, run_config, settings
from microgen_jax.config.command_line import Request
from microgen_jax.config.run_config import Resolved
from microgen_jax.errors import UserError
from tests.command_line import ROOT

RESOLVED = Resolved(("a", "b"), ("grain",), (2.0,), (1.0,), 3, "folder", "0")


def default() -> ConfigDict:
    return runpy.run_path(str(ROOT / "configs" / "default.py"))["get_config"]()


@pytest.fixture
def altered(tmp_path):
    """`altered("resolved", "channels", "3")`: the folder of a run whose record says so."""
    run_config.write(tmp_path, default(), RESOLVED)
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
    for read in (lambda: sample(Request(default(), {}, False, workdir)), lambda: microgen_jax.load(workdir)):
        with pytest.raises(UserError, match=f"config.json says {words}"):
            read()


def test_a_group_that_is_none_is_named(altered):
    with pytest.raises(UserError, match=r"config\.json says model='x', which must be a group of fields"):
        sample(Request(default(), {}, False, altered("config", "model", "x")))


def test_every_field_has_its_type_and_the_default_config_has_these():
    config = default()
    assert {name: type(settings.value(config, name)) for name in settings.names(config)} == settings.TYPES


def refusal(read) -> str:
    """The one line that is said instead."""
    with pytest.raises(UserError) as refused:
        read()
    return str(refused.value)


def test_every_field_is_looked_at():
    for field in settings.TYPES:
        config = default().to_dict()
        *groups, name = field.split(".")
        (config[groups[0]] if groups else config)[name] = {"a": None}
        said = refusal(lambda asked=config: settings.check_types(ConfigDict(asked)))
        assert said.startswith(f"{field}=")


def test_loading_refuses_a_record_that_lacks_a_field(altered):
    group = default().train.to_dict()
    del group["keep"]
    assert "is damaged ('train.keep')" in refusal(
        lambda: microgen_jax.load(altered("config", "train", group))
    )


LATER = (
    "data.name",
    "data.cache",
    "data.ebsd",
    "data.window",
    "data.read_timeout",
    "train.eval_samples",
    "train.skip_batches",
    "diffusion.zero_terminal_snr",
    "diffusion.time_sampling",
    "sample.spacing",
    "sample.ema",
    "wgan.width",
)


def test_a_record_from_before_a_field_was_there_is_read(tmp_path):
    config, expected = default(), default()
    expected.train.eval_samples = 0
    for field in LATER:
        group, name = field.split(".")
        del config[group][name]
    for part in ("evaluate", "export", "mesh", "plan"):
        del config[part], expected[part]
    run_config.write(tmp_path, config, RESOLVED)
    assert run_config.read(tmp_path).config.to_dict() == expected.to_dict()
    for read in (
        lambda: sample(Request(default(), {}, False, tmp_path)),
        lambda: microgen_jax.load(tmp_path),
    ):
        with pytest.raises(UserError, match="no checkpoint yet"):
            read()


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
    assert said == refusal(lambda: sample(Request(default(), {}, False, workdir)))
    assert field in said
    assert len(said) < 250


def test_whole_numbers_where_any_will_do_are_taken(altered):
    config = run_config.read(altered("config", "train", "clip_norm", 1)).config
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
        run_config.read(altered("resolved", field, value))


@pytest.mark.parametrize("value", [None, [], {"seed": 0}])
def test_a_record_without_its_parts_is_damaged(altered, value):
    with pytest.raises(UserError, match=r"config\.json is damaged"):
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
    command_line.hush_abandoned_reads()
    try:
        exec(compile("raise Exception('while reading')", file, "exec"))
    except Exception as fault:
        sys.unraisablehook(SimpleNamespace(exc_value=fault, exc_traceback=fault.__traceback__))
    assert len(said) == heard


def test_whole_numbers_where_any_will_do_are_read_as_such(altered):
    group = default().sample.to_dict() | {"guidance": 2}
    workdir = altered("config", "sample", group)
    guidance = run_config.read(workdir).config.sample.guidance
    assert (type(guidance), guidance) == (float, 2.0)
    with pytest.raises(UserError, match="too large"):
        run_config.read(altered("config", "sample", group | {"guidance": 10**400}))


@pytest.mark.parametrize(
    ("field", "value"), [("train.steps", None), ("train.clip_norm", None), ("train.skip_batches", None)]
)
def test_nothing_in_the_place_of_a_value_is_refused_by_its_name(field, value):
    config = default()
    settings.put(config, field, value)
    assert refusal(lambda: settings.check(config)).startswith(f"{field}=None, which must be")


def test_large_images_pass_where_every_level_can_be_counted():
    config = default()
    config.data.size, config.model.channels = (2048, 2048), (32, 64, 128, 256, 512)
    settings.check(config)
    config.data.size = (16384, 8192)
    assert refusal(lambda: settings.check(config)).startswith("data.size=(16384, 8192) makes")
    config.method = "wgan_gp"
    settings.check(config)
