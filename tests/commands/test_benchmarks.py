"""What the benchmarks' own bookkeeping promises; the benchmarks themselves are never run by tests."""

import json

import pytest

from tests.benchmarks import gpu, gpu_train, remat, speed


def stage(tmp_path, script: str) -> gpu.Stage:
    return gpu.Stage("one", ["sh", "-c", script], 5.0, tmp_path / "rows.json")


def test_a_stage_that_outlasts_its_time_leaves_what_it_had_found(tmp_path):
    script = f"echo '[1, 2]' > {tmp_path}/rows.json; echo begun; sleep 60 & wait"
    outcome = gpu.finish(stage(tmp_path, script), 0.5, tmp_path / "log")
    assert outcome["status"] == "stopped after its time"
    assert (outcome["rows"], outcome["lines"]) == ([1, 2], ["begun"])
    assert outcome["seconds"] < 5


def test_a_stage_that_fails_is_told_with_what_it_said_last(tmp_path):
    script = f"echo '[1,' > {tmp_path}/rows.json; echo no such thing >&2; exit 3"
    outcome = gpu.finish(stage(tmp_path, script), 5.0, tmp_path / "log")
    assert (outcome["status"], outcome["rows"]) == ("failed with 3", [])
    assert outcome["lines"] == ["no such thing"]


def test_a_stage_without_time_does_not_start(tmp_path):
    outcome = gpu.finish(stage(tmp_path, f"touch {tmp_path}/started"), 0.0, tmp_path / "log")
    assert outcome["status"] == "no time left"
    assert not (tmp_path / "started").exists()


def test_remat_is_tried_for_none_each_and_all():
    assert [remat.chosen(choice, 2) for choice in remat.choices(2)] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]


def test_steps_take_the_time_that_there_is():
    assert gpu_train.steps_that_fit(10.0, rate=3200.0, batch_size=32) == 1000
    assert gpu_train.steps_that_fit(-5.0, rate=3200.0, batch_size=32) == 50


def test_the_speed_of_a_run_is_that_of_its_later_half(tmp_path):
    rows = [{"step": 1, "loss": 1.0, "first_step_seconds": 9.0}]
    rows += [
        {"step": s, "images_per_second": v, "data_wait": w} for s, v, w in ((2, 5.0, 0.9), (3, 90.0, 0.0))
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    expected = {"images_per_second": 90.0, "data_wait": 0.0, "first_step_seconds": 9.0, "step": 3}
    assert gpu_train.speed_of(tmp_path) == expected


def row(batch: int, **seconds: float) -> dict:
    own = {name.replace("_", " "): [value] for name, value in seconds.items()}
    return speed.with_ratio({"case": f"ipf128, batch {batch}", "task": "train", "seconds": own})


def test_the_ratio_is_to_the_fastest_of_pytorch_and_not_to_our_own_variants():
    ours = row(16, jax=1.0, jax_O3=0.5, eager=3.0, compile=2.0)
    assert (ours["best"], ours["ratio"]) == ("compile", pytest.approx(2.0))
    assert row(16, jax=1.0, jax_O3=0.5)["ratio"] is None


def test_each_side_has_its_own_best_batch():
    told = speed.best_batches([row(16, jax=1.0, compile=1.0), row(64, jax=2.0, compile=16.0)])
    assert told == [
        "ipf128, train, best batch: jax 32.0 images/s (batch 64), compile 16.0 images/s (batch 16), ratio 2.00"
    ]
    assert speed.best_batches([row(16, jax=1.0)] * 2) == []
