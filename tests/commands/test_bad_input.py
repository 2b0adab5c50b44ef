"""What a person does wrong: one line on standard error, status 2, and nothing written."""

import os
import shutil
import signal
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def image(path: Path, size=(20, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def maps(tmp_path) -> Path:
    """Two classes of three good images."""
    root = tmp_path / "maps"
    for name in ("Shear", "Tension"):
        for n in range(3):
            image(root / name / "Images" / f"{n}.png")
    return root


def refused(result, *words: str) -> None:
    assert result.returncode == 2, (result.returncode, result.stderr[-800:])
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr[-800:]
    for word in words:
        assert word in lines[0], lines[0]


def refused_untouched(result, workdir: Path, *words: str) -> None:
    refused(result, *words)
    assert not workdir.exists()


def bomb(path: Path) -> Path:
    """A PNG whose header speaks of 60,000 x 60,000 px."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    )
    return path


class TestData:
    def test_no_such_root(self, run, tmp_path):
        result = run(workdir=tmp_path / "w", config__data__root=tmp_path / "nowhere")
        refused_untouched(result, tmp_path / "w", "nowhere")

    def test_none_is_no_root(self, run, tmp_path):
        refused_untouched(run(workdir=tmp_path / "w", config__data__root="None"), tmp_path / "w", "None")

    def test_empty_root(self, run, tmp_path):
        (tmp_path / "empty").mkdir()
        refused_untouched(
            run(workdir=tmp_path / "w", config__data__root=tmp_path / "empty"), tmp_path / "w", "empty"
        )

    def test_class_without_images(self, run, tmp_path, maps):
        (maps / "Torsion" / "Images").mkdir(parents=True)
        refused_untouched(run(workdir=tmp_path / "w", config__data__root=maps), tmp_path / "w", "Torsion")

    def test_truncated_image_is_named_or_skipped(self, run, tmp_path, maps):
        bad = image(maps / "Shear" / "Images" / "bad.png")
        bad.write_bytes(bad.read_bytes()[:-300])
        refused_untouched(run(workdir=tmp_path / "w", config__data__root=maps), tmp_path / "w", "bad.png")
        result = run(
            workdir=tmp_path / "w", mode="inspect", config__data__root=maps, config__data__on_bad_file="skip"
        )
        assert result.returncode == 0, result.stderr
        assert "bad.png" in (tmp_path / "w" / "inspect" / "summary.json").read_text()

    def test_decompression_bomb(self, run, tmp_path, maps):
        bomb(maps / "Shear" / "Images" / "bomb.png")
        refused_untouched(run(workdir=tmp_path / "w", config__data__root=maps), tmp_path / "w", "bomb.png")


class TestValues:
    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("data.size", "(18,17)", ("data.size", "(18,16)")),
            ("data.size", "64", ("data.size", "(64,64)")),
            ("train.batch_size", "0", ("train.batch_size",)),
            ("train.accumulate", "3", ("train.batch_size", "9")),
            ("train.steps", "1e5", ("train.steps", "1e5")),
            ("train.stepps", "5", ("train.stepps", "train.steps")),
            ("train", "5", ("train", "group")),
            ("diffusion.schedule", "cosin", ("cosin", "cosine")),
            ("diffusion.prediction", "x", ("'x'", "x0")),
            ("sample.sampler", "ancestrall", ("ancestrall", "ancestral")),
            ("model.channels", "(9,16)", ("9", "norm_groups")),
            ("model.dtype", "float16", ("float16", "bfloat16")),
            ("data.source", "foldr", ("foldr", "folder")),
            ("data.resample", "bilinear", ("bilinear", "nearest")),
            ("mesh.fsdp", "3", ("mesh.fsdp",)),
            ("train.learning_rate", "fast", ("train.learning_rate", "fast")),
            ("data.augment", "maybe", ("data.augment", "maybe")),
            ("train.learning_rate", "nan", ("train.learning_rate", "finite")),
            ("train.weight_decay", "inf", ("train.weight_decay", "finite")),
            ("model.channels", "('a',2)", ("model.channels", "whole numbers")),
            ("seed", str(2**32), ("seed", str(2**32 - 1))),
            ("diffusion.time_sampling", "importanc", ("importance", "stratified")),
            ("data.source", "folder", ("data.root",)),
        ],
    )
    def test_is_refused(self, run, tmp_path, field, value, words):
        result = run(workdir=tmp_path / "w", **{f"config.{field}": value})
        refused_untouched(result, tmp_path / "w", *words)

    def test_batch_is_divisible_by_the_devices(self, run, tmp_path):
        refused_untouched(run(workdir=tmp_path / "w", devices=3), tmp_path / "w", "3 devices", "9")


class TestCommandLine:
    def test_config_file_that_is_not_there(self, run, tmp_path):
        result = run(workdir=tmp_path / "w", config="configs/quikstart.py")
        refused_untouched(result, tmp_path / "w", "quikstart", "'quickstart'")

    def test_config_without_value(self, run, tmp_path):
        refused(run("--config", config=None), "--config")

    def test_config_that_fails(self, run, tmp_path):
        (tmp_path / "bad.py").write_text("import nothing_of_this_name\n")
        refused(run(workdir=tmp_path / "w", config=tmp_path / "bad.py"), "bad.py", "nothing_of_this_name")

    def test_unknown_flag_and_mode(self, run, tmp_path):
        refused(run(workdr=tmp_path / "w"), "workdr")
        refused(run(workdir=tmp_path / "w", mode="trian"), "trian", "train")
        refused(run("stray", workdir=tmp_path / "w"), "stray")

    def test_field_given_twice(self, run, tmp_path):
        result = run("--config.model.channels=16", workdir=tmp_path / "w")
        refused_untouched(result, tmp_path / "w", "model.channels", "twice")

    def test_no_workdir(self, run):
        refused(run(), "--workdir")


class TestWorkdir:
    def test_is_a_file(self, run, tmp_path):
        (tmp_path / "file").write_text("")
        refused(run(workdir=tmp_path / "file"), "file")

    def test_name_is_too_long(self, run, tmp_path):
        refused(run(workdir=tmp_path / ("w" * 300)), "--workdir")
        assert not list(tmp_path.iterdir())

    def test_has_lost_its_record(self, run, tmp_path):
        (tmp_path / "checkpoints" / "3").mkdir(parents=True)
        refused(run(workdir=tmp_path), "config.json")
        assert [p.name for p in tmp_path.iterdir()] == ["checkpoints"]

    def test_cannot_be_written(self, run):
        refused(run(workdir="/proc/microgen"), "/proc")

    def test_holds_another_architecture(self, run, trained):
        before = sorted(p.name for p in trained.iterdir())
        result = run(workdir=trained, config__train__eval_every=2, config__model__channels="(16,16)")
        refused(result, "model.channels", "(8, 16)", "(16, 16)")
        assert sorted(p.name for p in trained.iterdir()) == before

    def test_holds_a_run_on_other_classes(self, run, tmp_path, maps):
        """The record is written before anything is compiled: the first run is stopped there."""
        flags = {"workdir": tmp_path / "w", "config__data__root": maps}
        run(signals={"devices:": signal.SIGKILL}, **flags)
        image(maps / "Torsion" / "Images" / "0.png")
        refused(run(**flags), "classes", "Torsion")

    def test_holds_no_run(self, run, tmp_path):
        refused(run(mode="sample", workdir=tmp_path / "nothing", config=None), "nothing")
        assert not (tmp_path / "nothing").exists()

    def test_holds_no_checkpoint(self, run, trained, tmp_path):
        (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
        refused(run(mode="sample", workdir=tmp_path, config=None), "no checkpoint")
        assert os.listdir(tmp_path) == ["config.json"]

    def test_damaged_record(self, run, tmp_path):
        (tmp_path / "config.json").write_text("{")
        refused(run(mode="sample", workdir=tmp_path, config=None), "config.json")
        (tmp_path / "config.json").write_text('{"format": 2}')
        refused(run(mode="sample", workdir=tmp_path, config=None), "config.json", "damaged")
        (tmp_path / "config.json").write_text('{"format": 1}')
        refused(run(mode="sample", workdir=tmp_path, config=None), "config.json", "microgen-jax 0.1")

    def test_damaged_checkpoints(self, run, trained, tmp_path):
        """The newest is passed over with a warning; where none is whole there is nothing to draw with."""
        shutil.copytree(trained, tmp_path / "w")
        for step, left in (("4", 1), ("2", 0)):
            for file in (tmp_path / "w" / "checkpoints" / step / "state").rglob("*"):
                if file.is_file() and file.stat().st_size > 2000:
                    file.write_bytes(file.read_bytes()[:1000])
            result = run(mode="sample", workdir=tmp_path / "w", config=None)
            if left:
                assert "warning" in result.stdout
                assert "checkpoints/4: is damaged" in result.stdout
            else:
                refused(result, "checkpoints/4", "damaged")


class TestSampling:
    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("label", "equiaxd", ("equiaxd", "equiaxed", "textured")),
            ("label", "4", ("'4'", "bimodal")),
            ("num", "0", ("sample.num",)),
            ("steps", "2000", ("2000", "1000")),
            ("condition", "{grain", ("sample.condition",)),
            ("condition", '{"grain_diameter": 12}', ("grain_diameter",)),
            ("checkpoint", "99", ("99", "newest", "4")),
            ("name", "../out", ("sample.name",)),
            ("seed", str(2**33), ("sample.seed", str(2**32 - 1))),
            ("guidance", "-1", ("guidance",)),
        ],
    )
    def test_request_is_refused(self, run, trained, field, value, words):
        result = run(mode="sample", workdir=trained, config=None, **{f"config.sample.{field}": value})
        refused(result, *words)
        assert not (trained / "samples").exists()
