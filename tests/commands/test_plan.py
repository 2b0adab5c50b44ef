"""The plan of a config beside what its arrays and its network really are."""

import json
import runpy

import jax
import pytest

from microgen_jax import methods, networks
from microgen_jax.commands.plan import Estimate, _entry, _representation, plan
from microgen_jax.config import fields
from microgen_jax.config.command_line import Request
from microgen_jax.errors import UserError
from microgen_jax.runtime import memory_plan
from microgen_jax.runtime import mesh as meshes
from tests.command_line import ROOT


@pytest.fixture
def config():
    config = runpy.run_path(str(ROOT / "configs" / "quickstart.py"))["get_config"]()
    config.data.size = (16, 16)
    config.model.update(channels=(64,), attention_levels=(True,), remat=(False,))
    config.train.batch_size = 4
    config.plan.devices = (1, 8)
    config.mesh.fsdp = 2
    return config


def test_plan_equals_the_real_state_and_the_count_by_hand(config, tmp_path):
    with jax.numpy_dtype_promotion("standard"):
        plan(Request(fields.freeze(config), {}, True, tmp_path))
    one, eight = json.loads((tmp_path / "plan.json").read_text())
    method = methods.build(fields.freeze(config), channels=3, num_classes=5, num_conditions=0)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    shardings = meshes.parameter_shardings(shapes, meshes.make_mesh(4, 2))
    state = jax.jit(method.init, out_shardings=shardings)(jax.random.key(0))
    device = jax.devices()[0]
    held = [
        shard.data.nbytes
        for x in jax.tree.leaves(state)
        for shard in x.addressable_shards
        if shard.device == device
    ]
    assert eight["state_bytes"] == sum(held) < one["state_bytes"]
    by_hand = 3 * 4 * sum(row.flops for row in networks.summary(method.unet, (16, 16)))
    for entry in (one, eight):
        assert entry["flops"] == pytest.approx(by_hand, rel=0.05)
    assert eight["batch_size"] == 32
    assert not one["sent_bytes"]
    assert 0 < eight["efficiency"] < 1


@pytest.mark.parametrize(("gb", "fits"), [(0.0, True), (40.0, False), (60.0, True)])
def test_a_card_of_less_memory_than_its_kind_has(config, gb, fits):
    config.plan.update(chip="a100", memory_gb=gb)
    cost = memory_plan.Cost(flops=1.0, bytes_accessed=1.0, temporaries=30 * 10**9, messages={})
    found = Estimate(devices=1, batch=4, params=0, state=20 * 10**9, cost=cost, seconds=1.0)
    assert _entry(fields.freeze(config), found, found)["fits"] is fits


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        ({}, 3),
        ({"representation": "orientation"}, 12),
        ({"representation": "orientation", "root": "nowhere"}, 12),
        ({"source": "ebsd"}, 12),
        ({"source": "ebsd", "ipf_direction": "X"}, 3),
        ({"root": "a.ang"}, 12),
        ({"root": "a.ang", "fill_unindexed": "black"}, 3),
        ({"root": "nowhere"}, 3),
    ],
)
def test_what_is_planned_is_what_training_would_choose(config, data, channels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ang").touch()
    config.data.update(data)
    assert _representation(fields.freeze(config)).channels == channels


def test_a_plan_of_what_training_refuses_is_refused(config):
    config.data.update(representation="orientation", source="ebsd", pad="background")
    with pytest.raises(UserError) as refused:
        plan(Request(fields.freeze(config), {}, True, None))
    assert refused.value.where == "data.pad"


@pytest.mark.slow
def test_one_device_is_planned_without_the_cpus_own_forms_and_remat_saves_memory(run, tmp_path):
    def planned(remat: bool) -> dict:
        result = run(
            workdir=tmp_path,
            mode="plan",
            config="configs/quickstart.py",
            config__data__size=(32, 32),
            config__model__channels=(64, 64),
            config__model__attention_levels=(False, False),
            config__model__remat=(remat, remat),
            config__plan__devices=(1,),
        )
        assert result.returncode == 0, result.stderr[-500:]
        assert "compiled for 1 device\n" in result.stdout
        return json.loads((tmp_path / "plan.json").read_text())[0]

    config = runpy.run_path(str(ROOT / "configs" / "quickstart.py"))["get_config"]()
    config.model.update(channels=(64, 64), attention_levels=(False, False), remat=(False, False))
    unet = methods.build(fields.freeze(config), channels=3, num_classes=5, num_conditions=0).unet
    plain, saving = planned(False), planned(True)
    by_hand = 3 * plain["batch_size"] * sum(row.flops for row in networks.summary(unet, (32, 32)))
    assert plain["flops"] == pytest.approx(by_hand, rel=0.05)
    assert saving["flops"] > 1.1 * plain["flops"]
    assert saving["temporary_bytes"] < 0.9 * plain["temporary_bytes"]


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("chip", "h20", "plan.chip"),
        ("devices", (), "plan.devices"),
        ("devices", (1, 0), "plan.devices"),
        ("devices", (3,), "mesh.fsdp"),
        ("utilisation", 1.5, "plan.utilisation"),
    ],
)
def test_what_cannot_be_planned_is_one_line(config, field, value, where):
    config.plan[field] = value
    with pytest.raises(UserError) as refused:
        plan(Request(fields.freeze(config), {}, True, None))
    assert refused.value.where == where
