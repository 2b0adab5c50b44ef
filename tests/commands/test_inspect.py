"""--mode=inspect, called as a function: what it finds in images of known content, and in the real ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.default import get_config
from microgen_jax.commands.inspect import inspect, run_inspect
from microgen_jax.config import freeze
from microgen_jax.config.command_line import Request

COPPER = r"(?:(?P<series>Cu\dQ\d)_)?(?P<step>\d+)\.png$"


@pytest.fixture
def inspected(tmp_path):
    """`inspected(root, size=...)`: the summary of the defaults with some data fields changed."""

    def summary(root: Path, **fields) -> dict:
        config = get_config()
        config.data.update(root=str(root), **fields)
        run_inspect(Request(freeze(config), {}, False, tmp_path / "work"))
        return json.loads((tmp_path / "work/inspect/summary.json").read_text())

    return summary


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def squares(side: int, seed: int) -> np.ndarray:
    """32 x 32 px of squares, each of a colour of its own that is far from its neighbours' and on the key."""
    rng = np.random.default_rng(seed)
    count = 32 // side
    colours = rng.integers(0, 100, (count, count, 3), dtype=np.uint8)
    y, x = np.indices((count, count))
    colours[y, x, (y + x) % 3] = 255
    return colours.repeat(side, axis=0).repeat(side, axis=1)


def test_grains_are_counted_and_measured(tmp_path, inspected):
    for n in range(4):
        save(tmp_path / f"maps/{n}.png", squares(8, n))
    found = inspected(tmp_path / "maps", size=(32, 32))
    train = found["split"]["train"]
    assert found["grains"]["per_tile"] == 16
    assert found["grains"]["whole"] == 4 * train
    assert found["grains"]["mean_diameter"] == pytest.approx(np.sqrt(4 * 64 / np.pi))
    assert found["grains"]["mean_diameter_edge_corrected"] == pytest.approx(np.sqrt(4 * 64 / np.pi))
    assert found["grains"]["mean_diameter_um"] is None
    resampled = inspected(tmp_path / "maps", size=(16, 16), resample="nearest", pixel_size_um=0.5)["grains"]
    assert resampled["mean_diameter_um"] == pytest.approx(resampled["mean_diameter"] * 0.25)
    assert "20 of 255" in found["grains"]["method"]
    assert found["off_key"] == {"source": 0, "resampled": 0, "bilinear": 0}
    assert found["modes"] == {"3 channels, 8 bit": 4}
    assert found["copied_channels"] == 0
    assert "IPF-Z" in found["augmentation_why"]
    assert "orthotropic" in found["augmentation_risk"]


def test_copies_depths_and_values_are_told(tmp_path, inspected, capsys):
    rng = np.random.default_rng(0)
    for n in range(3):
        grey = rng.integers(10, 200, (20, 20), dtype=np.uint8)
        save(tmp_path / f"maps/copy{n}.png", np.dstack([grey] * 3))
        save(tmp_path / f"maps/deep{n}.png", grey.astype(np.uint16) * 256)
    found = inspected(tmp_path / "maps", size=(16, 16), channels=1)
    assert found["copied_channels"] == 3
    assert found["modes"] == {"3 channels, 8 bit": 3, "1 channel, 16 bit": 3}
    assert found["values"]["8 bit"][1] < 200 < found["values"]["16 bit"][1] <= 199 * 256
    assert not {"grains", "off_key"} & set(found)
    assert "no IPF colours to keep" in found["augmentation_why"]
    assert "copied channels" in capsys.readouterr().out


def test_names_in_brackets_are_printed_as_they_are(tmp_path, inspected, capsys):
    for n in range(3):
        save(tmp_path / f"maps/x[bold]/{n}.png", squares(8, n))
        save(tmp_path / f"maps/a[/b] :smile:/{n}.png", squares(8, n))
    (tmp_path / "maps/x[bold]/[4].png").write_text("no image")
    inspected(tmp_path / "maps", size=(32, 32), on_bad_file="skip")
    shown = capsys.readouterr().out
    assert "a[/b] :smile: 3, x[bold] 3" in shown
    assert "[4].png" in shown


def test_grey_images_count_neither_for_nor_against_the_key(tmp_path, inspected):
    for n in range(6):
        save(tmp_path / f"maps/{n}.png", squares(8, n))
        save(tmp_path / f"maps/grey{n}.png", squares(8, n)[..., 0])
    assert inspected(tmp_path / "maps", size=(32, 32))["off_key"] == {
        "source": 0,
        "resampled": 0,
        "bilinear": 0,
    }


@pytest.mark.parametrize(("direction", "risk"), [("Z", "turned by 90"), ("1,1,1", "mirrored"), ("X", "")])
def test_the_risk_of_turns_is_told_where_there_are_any(tmp_path, inspected, direction, risk):
    for n in range(3):
        save(tmp_path / f"maps/{n}.png", squares(8, n))
    found = inspected(tmp_path / "maps", size=(32, 32), ipf_direction=direction)["augmentation_risk"]
    assert risk in found
    assert bool(risk) == bool(found)


def test_conditions_and_grey_images_are_told(tmp_path, inspected, capsys):
    for n in range(8):
        save(tmp_path / f"maps/{n}.png", squares(8, n)[..., 0])
    inspected(
        tmp_path / "maps", size=(32, 32), filename_pattern=r"(?P<step>\d)", conditions=("step",), holdout=0
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert "0 to 7, mean 3.5, standard deviation 2.291" in shown
    assert "every image has one channel" in shown


def test_a_condition_that_never_varies_is_told(tmp_path, inspected, capsys):
    for n in range(4):
        save(tmp_path / f"maps/{n}_7.png", squares(8, n))
    inspected(
        tmp_path / "maps", size=(32, 32), filename_pattern=r"_(?P<step>\d)", conditions=("step",), holdout=0
    )
    assert "7 in all of training" in capsys.readouterr().out


def test_copies_of_small_images_are_found(tmp_path, inspected, capsys):
    for n in range(4):
        save(tmp_path / f"maps/{n}.png", squares(8, 1)[4:12])
    found = inspected(tmp_path / "maps", size=(8, 32), filename_pattern=r"(?P<number>\d)", split_by="number")
    assert found["leaks"][0]["correlation"] == pytest.approx(1)
    assert "they are split by 'number'" in capsys.readouterr().out


def test_refused_files_stand_with_their_reasons(tmp_path, inspected):
    for n in range(3):
        save(tmp_path / f"maps/{n}.png", squares(8, n))
    (tmp_path / "maps/notes.png").write_text("no image")
    found = inspected(tmp_path / "maps", size=(32, 32), on_bad_file="skip", augment=False)
    assert [entry["file"] for entry in found["refused"]] == ["notes.png"]
    assert "not a PNG" in found["refused"][0]["reason"]
    assert found["augmentation_why"] == "off: data.augment=False"
    assert found["augmentation_risk"] == ""


def test_a_random_split_of_copper_warns_and_a_split_by_series_does_not(shared, inspected, capsys):
    root = shared / "copper_strain"
    random = inspected(root, pad="reflect", filename_pattern=COPPER)
    assert random["leaks"]
    worst = random["leaks"][0]
    assert worst["correlation"] > 0.9
    assert (root / worst["a"]).exists() or (root / "Class" / worst["a"]).exists()
    printed = capsys.readouterr().out
    assert "near copies" in printed
    assert worst["a"] in printed
    by_series = inspected(root, filename_pattern=COPPER, split_by="series")
    assert by_series["leaks"] == []
    assert by_series["split"]["holdout"] > 0
    assert "near copies" not in capsys.readouterr().out


def test_nearest_sampling_keeps_copper_on_its_key_and_averaging_does_not(shared, inspected):
    root = shared / "copper_strain"
    nearest = inspected(root, size=(64, 64), resample="nearest")["off_key"]
    area = inspected(root, size=(64, 64), resample="area")["off_key"]
    assert abs(nearest["resampled"] - nearest["source"]) < 0.02
    assert nearest["bilinear"] > nearest["source"] + 0.05
    assert area["resampled"] > nearest["resampled"] + 0.05


def test_layouts_and_ranges_of_stacks_are_in_the_notes(shared, inspected):
    found = inspected(shared / "voronoi_h5", channels=1)
    assert found["count"] == 720
    assert any("layout HWK" in note for note in found["notes"])
    assert any("[0, 255]" in note for note in found["notes"])
    assert any("[0, 1]" in note for note in found["notes"])


def test_from_python_the_summary_is_the_same(tmp_path, inspected):
    for n in range(4):
        save(tmp_path / f"maps/{n}.png", squares(8, n))
    found = inspect(tmp_path / "maps", size=(32, 32))
    assert json.loads(json.dumps(found.values)) == inspected(tmp_path / "maps", size=(32, 32))
    assert found.grid.dtype == np.uint8


@pytest.mark.parametrize(
    ("scan", "published", "count"),
    [("ebsdlib_EdaxAngOnly.h5", 8.9, 306), ("sdss_ferrite_austenite.ang", 9.9, 115)],
)
def test_each_scan_has_its_published_grains(shared, tmp_path, inspected, scan, published, count):
    (tmp_path / "maps").mkdir()
    shutil.copy(shared / "scans" / scan, tmp_path / "maps")
    found = inspected(tmp_path / "maps", size=(64, 64))
    (facts,) = found["scans"]
    assert facts["mean_diameter"] == pytest.approx(published, rel=0.03)
    assert facts["grains"] == pytest.approx(count, rel=0.03)
    assert facts["mean_diameter_um"] == pytest.approx(facts["mean_diameter"] * facts["pixel_size_um"])
    assert found["grains"]["mean_diameter"] == facts["mean_diameter"]
    assert "5 degrees" in found["grains"]["method"]


@pytest.mark.parametrize(("scan", "published"), [("EdaxNi_h5", 8.9), ("Fe_wh_2204261549", 24.3)])
def test_colours_of_a_map_give_the_diameter_that_its_orientations_give(
    shared, tmp_path, inspected, scan, published
):
    save(
        tmp_path / "maps/a.png", np.asarray(Image.open(shared / "ipf_maps" / f"{scan}_Z.png").convert("RGB"))
    )
    found = inspected(tmp_path / "maps", size=(64, 64), holdout=0)["grains"]
    assert found["mean_diameter"] == pytest.approx(published, rel=0.15)


def test_noise_unindexed_pixels_and_depth_do_not_change_the_diameter(tmp_path, inspected):
    image = squares(16, 3).repeat(2, axis=0).repeat(2, axis=1).astype(np.uint16) * 257
    tile = np.concatenate([np.concatenate([image] * 3)] * 3, axis=1)
    tile[5::32, 7::32] = 0
    np.savez(tmp_path / "maps.npz", images=np.stack([tile] * 4))
    found = inspected(tmp_path / "maps.npz", size=(32, 32), holdout=0, value_range="0,65535")["grains"]
    assert found["mean_diameter"] == pytest.approx(np.sqrt(4 / np.pi * 1023), rel=0.03)
