"""The schema and what derives from it: configs/default.py, the checks, JSON, and the rules of resuming."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.default import get_config
from microgen_jax.config import default_file, fields
from microgen_jax.config.schema import Config
from microgen_jax.diffusion.samplers import SAMPLERS
from microgen_jax.errors import UserError
from tests.command_line import ROOT
from tests.config.error_lines import parsed

FIELDS = fields.fields()
APART = {
    "data.size",
    "data.channels",
    "model.channels",
    "sample.name",
}  # checked together or as a folder's name


def values(field: fields.Field) -> st.SearchStrategy:
    rule = field.option
    if rule.choices:
        entry = st.sampled_from(rule.choices)
    elif field.type is bool:
        entry = st.booleans()
    elif field.type is str:
        entry = st.text(max_size=8)
    elif field.type is int:
        entry = st.integers(rule.low, rule.high)
    else:
        low, high = (rule.above, rule.low), (rule.below, rule.high)
        entry = st.floats(
            next((v for v in low if v is not None), None),
            next((v for v in high if v is not None), None),
            exclude_min=rule.above is not None,
            exclude_max=rule.below is not None,
            allow_nan=False,
            allow_infinity=False,
        )
    return st.lists(entry, max_size=3).map(tuple) if field.is_tuple else entry


CHANGES = st.fixed_dictionaries(
    {}, optional={name: values(field) for name, field in FIELDS.items() if name not in APART}
)


def test_the_default_file_is_written_from_the_schema():
    assert (ROOT / "configs" / "default.py").read_text() == default_file.text()
    ruff = [sys.executable, "-m", "ruff", "format", "--check", "configs/default.py"]
    assert subprocess.run(ruff, cwd=ROOT, capture_output=True).returncode == 0
    assert max(map(len, default_file.text().splitlines()[10:])) <= default_file.WIDTH


def test_the_default_file_gives_the_schemas_defaults():
    assert fields.freeze(get_config()) == Config()


def test_every_field_is_described_and_its_default_is_allowed():
    for field in FIELDS.values():
        assert len(field.option.help) >= 4
        assert field.option.help[-1] != "."
        assert fields.check_value(field, field.default) == field.default
        values = field.default if field.is_tuple else (field.default,)
        assert field.option.choices == () or set(values) <= set(field.option.choices)


def test_every_sampler_can_be_chosen():
    assert set(FIELDS["sample.sampler"].option.choices) == set(SAMPLERS)


@settings(deadline=None, max_examples=20)
@given(CHANGES)
def test_values_within_the_rules_survive_dicts_and_json(changes):
    config = fields.replace(Config(), changes)
    assert {name: fields.value(config, name) for name in changes} == changes
    assert fields.freeze(fields.to_dict(config)) == config
    assert fields.freeze(json.loads(json.dumps(fields.to_dict(config)))) == config


@settings(deadline=None, max_examples=20)
@given(CHANGES)
def test_values_within_the_rules_survive_the_command_line(changes):
    argv = ["microgen", *(f"--config.{name}={value}" for name, value in changes.items())]
    with parsed(argv) as request:
        assert request.overrides == changes
        assert request.config == fields.replace(Config(), changes)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_values_outside_of_the_rules_are_refused_by_the_fields_name(data):
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    rule, wrong = FIELDS[name].option, [None, {"a": 1}, [None]]
    if FIELDS[name].type in (int, float):
        for bound, step in ((rule.low, -1), (rule.high, 1), (rule.above, 0), (rule.below, 0)):
            wrong += [] if bound is None else [bound + step]
        wrong += [True, "1", float("nan"), float("inf")]
    if rule.choices:
        wrong += ["no such choice"]
    value = data.draw(st.sampled_from(wrong))
    value = (value,) if FIELDS[name].is_tuple and not isinstance(value, list) else value
    with pytest.raises(UserError) as refused:
        fields.replace(Config(), {name: value})
    assert refused.value.where == name
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.option.choices])
def test_a_misspelt_choice_is_answered_with_the_nearest(name):
    for choice in FIELDS[name].option.choices:
        if len(choice) > 4:
            misspelt = choice[:-1] + "#"
            with pytest.raises(UserError) as refused:
                fields.replace(Config(), {name: (misspelt,) if FIELDS[name].is_tuple else misspelt})
            assert refused.value.where == name
            assert "did you mean" in refused.value.fix
            assert choice in refused.value.fix


def test_unknown_and_missing_fields_and_parts_are_named():
    for change, where in (
        ({"train": {}}, "train.steps"),
        ({"train": "x"}, "train"),
        ({"trian": {}}, "trian"),
        ({"sample": {**fields.to_dict(Config())["sample"], "stepps": 3}}, "sample.stepps"),
    ):
        with pytest.raises(UserError) as refused:
            fields.freeze({**fields.to_dict(Config()), **change})
        assert refused.value.where == where
    with pytest.raises(UserError) as refused:
        fields.replace(Config(), {"train.stepps": 3})
    assert "'train.steps'" in refused.value.fix


def test_resume_rules():
    def may(name, old, new):
        return fields.may_change(FIELDS[name], old, new)

    assert may("train.steps", 5, 6)
    assert not may("train.steps", 6, 5)
    assert may("train.log_every", 6, 5)
    assert not may("train.learning_rate", 1e-3, 1e-4)
    for name in ("evaluate.num", "plan.chip", "export.format", "import_run.folder", "mesh.fsdp"):
        assert may(name, 1, 2)
    for name in ("seed", "method", "data.size", "model.channels", "diffusion.prediction", "sample.steps"):
        assert not may(name, 1, 2)


def test_large_images_pass_where_every_level_can_be_counted():
    large = {"data.size": (2048, 2048), "model.channels": (32, 64, 128, 256, 512)}
    fields.replace(Config(), large)
    with pytest.raises(UserError) as refused:
        fields.replace(Config(), large | {"data.size": (16384, 8192)})
    assert refused.value.where == "data.size"
    fields.replace(Config(), large | {"data.size": (16384, 8192), "method": "wgan_gp"})
