"""EBSD scans through `open_dataset`: self-made ones in every format, and the real ones beside the checkout."""

import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from microgen_jax.config import run_config
from microgen_jax.crystal.ipf import ipf_colour
from microgen_jax.crystal.maps import read_map, write_map
from microgen_jax.crystal.orientations import conjugate, from_euler, from_matrix, multiply, to_euler
from microgen_jax.crystal.symmetry import misorientation_angle
from microgen_jax.data import augment, batches, open_dataset, shown_windows, summary
from microgen_jax.data.decoding import BadFile
from microgen_jax.data.sources import ebsd
from microgen_jax.data.sources.orientation_maps import phases_of
from microgen_jax.errors import UserError
from tests.crystal.conftest import Truth, write_ang, write_cpr, write_ctf, write_edax, write_mtex_text


def random_truth(height: int, width: int, seed: int = 0, missing: float = 0.0) -> Truth:
    rng = np.random.default_rng(seed)
    euler = np.round(rng.random((height, width, 3)) * [2 * np.pi, np.pi, 2 * np.pi], 5)
    phase = np.where(rng.random((height, width)) < missing, 0, rng.integers(1, 3, (height, width)))
    euler[phase == 0] = 0
    return Truth(euler, phase, 0.5, (("Nickel", "m-3m"), ("Magnesium", "6/mmm")))


def coloured(path, *directions: str) -> np.ndarray:
    """The map by another way: every phase coloured whole, then picked; black where not indexed."""
    scan = read_map(path)
    original = np.zeros((*scan.phase.shape, 3 * len(directions)), np.uint8)
    for phase in scan.phases:
        colours = [ipf_colour(scan.orientations, axis, phase.laue_group) for axis in directions]
        original = np.where((scan.phase == phase.id)[..., None], np.concatenate(colours, -1), original)
    return original


def tiles(part) -> dict[tuple[str, int, int], np.ndarray]:
    found = {}
    for i in range(len(part)):
        name, _, corner = part.name(i)[:-1].rpartition("[")
        found[(name, *map(int, corner.split(",")))] = part[i].image
    return found


@pytest.mark.parametrize(("direction", "channels"), [("Z", 3), ("X", 3), ("XYZ", 9)])
@pytest.mark.parametrize("write", [write_ang, write_ctf, write_cpr, write_edax])
def test_tiles_are_windows_of_the_ipf_map(tmp_path, data_config, write, direction, channels):
    path = write(tmp_path / "a", random_truth(20, 24, missing=0.05))
    fields = {"fill_unindexed": "black", "min_indexed": 0.5, "size": (8, 10), "holdout": 0.0}
    dataset = open_dataset(data_config(path, ipf_direction=direction, channels=channels, **fields))
    expected = coloured(path, *direction)
    assert (dataset.kind, dataset.classes, len(dataset.holdout)) == ("ebsd", ("a",), 0)
    found = tiles(dataset.train)
    assert [corner[1:] for corner in found] == [(y, x) for y in (0, 4, 8, 12) for x in (0, 5, 10)]
    for (_, y, x), image in found.items():
        np.testing.assert_array_equal(image, expected[y : y + 8, x : x + 10])
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=2))
    assert batch.image.shape == (2, 8, 10, channels)


def test_a_map_written_as_npz_is_a_scan(tmp_path, data_config):
    source = write_ang(tmp_path / "a", random_truth(16, 20))
    write_map(read_map(source), tmp_path / "maps/a.npz")
    expected = open_dataset(data_config(source, holdout=0.0)).train[0].image
    for root in ("maps/a.npz", "maps"):
        dataset = open_dataset(data_config(tmp_path / root, holdout=0.0))
        assert dataset.kind == "ebsd"
        np.testing.assert_array_equal(dataset.train[0].image, expected)
    with pytest.raises(UserError, match=r"a\.npz: is an EBSD map .* set data\.source=ebsd"):
        open_dataset(data_config(tmp_path / "maps", source="npz"))


def test_points_that_are_not_indexed_take_the_nearest_colour(tmp_path, data_config):
    path = write_ang(tmp_path / "a", random_truth(16, 16, missing=0.2))
    black = open_dataset(data_config(path, fill_unindexed="black", min_indexed=0.0)).train[0].image
    filled = open_dataset(data_config(path, min_indexed=0.0)).train[0].image
    known = read_map(path).indexed
    assert (black[~known] == 0).all()
    np.testing.assert_array_equal(filled[known], black[known])
    where = np.argwhere(known)
    for y, x in np.argwhere(~known):
        distance = ((where - [y, x]) ** 2).sum(1)
        nearest = where[distance == distance.min()]
        assert any((filled[y, x] == black[tuple(point)]).all() for point in nearest)


def test_tiles_with_too_few_indexed_points_are_left_out(tmp_path, data_config):
    truth = random_truth(16, 48)
    truth.phase[:, 20:28] = 0
    path = write_ctf(tmp_path / "a", truth)
    found = tiles(open_dataset(data_config(path, holdout=0.0)).train)
    assert [corner[2] for corner in found] == [0, 32]
    assert len(open_dataset(data_config(path, holdout=0.0, min_indexed=0.5)).train) == 5
    truth.phase[:] = np.arange(48) % 2
    with pytest.raises(UserError, match=r"a\.ctf: no tile of 16x16 px .* lower data\.min_indexed"):
        open_dataset(data_config(write_ctf(tmp_path / "a", truth)))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(4, 60),
    width=st.integers(4, 60),
    size=st.tuples(st.integers(2, 16), st.integers(2, 16)),
    overlap=st.floats(0, 0.95),
    share=st.floats(0.01, 0.89),
    seed=st.integers(0, 9),
)
def test_tiles_never_cross_the_split(height, width, size, overlap, share, seed):
    """No pixel of a single scan is in a training tile and in a held-out one."""
    mask = np.random.default_rng(seed).random((height, width)) < 0.9
    tiling = ebsd.Tiling(size, overlap, 0.5)
    cut, notes = ebsd._cut(["a.ang"], ["a"], [mask], tiling, share)
    seen = np.zeros((2, height, width), bool)
    for tile in cut:
        assert tile.top + min(size[0], height) <= height
        assert tile.left + min(size[1], width) <= width
        seen[int(tile.held_out), tile.top : tile.top + size[0], tile.left : tile.left + size[1]] = True
    assert not seen.all(axis=0).any()
    assert len(notes) == 1
    assert seen[0].any() or not cut


@pytest.mark.parametrize("shape", [(20, 70), (40, 41)])
def test_the_far_end_of_a_single_scan_is_held_out(tmp_path, data_config, shape):
    dataset = open_dataset(data_config(write_ang(tmp_path / "a", random_truth(*shape)), tile_overlap=0.75))
    assert len(dataset.train)
    assert len(dataset.holdout)
    assert any("its far end is held out" in note for note in dataset.notes)


def test_classes_of_several_scans_are_split_by_scan(tmp_path, data_config):
    for name in ("Cast", "Rolled"):
        for n in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            write_ang(tmp_path / name / str(n), random_truth(20, 40, seed=n))
    (tmp_path / "Forged").mkdir()
    write_ang(tmp_path / "Forged/0", random_truth(16, 24))
    dataset = open_dataset(data_config(tmp_path))
    assert dataset.classes == ("Cast", "Forged", "Rolled")
    scans = [{name for name, _, _ in tiles(part)} for part in (dataset.train, dataset.holdout)]
    assert not scans[0] & scans[1]
    assert {name.split("/")[0] for name in scans[1]} == {"Cast", "Rolled"}
    assert any("'Forged' has one scan, too small" in note for note in dataset.notes)
    assert dataset.train.group(0) in scans[0]


def test_loose_scans_are_classes_and_metadata_says_more_of_them(tmp_path, data_config):
    for n, name in enumerate(("slow", "fast")):
        write_ctf(tmp_path / name, random_truth(16, 32, seed=n))
    (tmp_path / "metadata.csv").write_text("file,rate\nslow.ctf,0.5\nfast.ctf,20\n")
    dataset = open_dataset(data_config(tmp_path, conditions=("rate",)))
    assert dataset.classes == ("fast", "slow")
    for record in dataset.train:
        assert record.condition == {"slow": 0.5, "fast": 20}[dataset.classes[record.label]]


def test_a_zip_of_a_pair_is_read_in_place(tmp_path, data_config):
    path = write_cpr(tmp_path / "a", random_truth(16, 20))
    with zipfile.ZipFile(tmp_path / "scans.zip", "w") as archive:
        for suffix in (".cpr", ".crc"):
            archive.write(path.with_suffix(suffix), f"x{suffix}")
    zipped = open_dataset(data_config(tmp_path / "scans.zip"))
    assert zipped.classes == ("x",)
    np.testing.assert_array_equal(zipped.train[0].image, open_dataset(data_config(path)).train[0].image)


def test_text_exports_are_read_where_they_are_asked_for(tmp_path, data_config):
    path = write_mtex_text(tmp_path / "a", random_truth(16, 16))
    dataset = open_dataset(data_config(path, source="ebsd", laue_group="6/mmm"))
    assert len(dataset.train) == 1


def test_a_phase_without_a_group_names_the_field(tmp_path, data_config):
    path = write_mtex_text(tmp_path / "a", random_truth(16, 16))
    with pytest.raises(UserError, match=r"phase 1 .*a\.csv") as caught:
        open_dataset(data_config(path, source="ebsd"))
    assert caught.value.where == "data.laue_group"
    with pytest.raises(UserError, match="m-3n"):
        open_dataset(data_config(path, source="ebsd", laue_group="m-3n"))


def test_the_phases_of_a_scan_are_those_that_occur(tmp_path):
    scan = read_map(write_ang(tmp_path / "a", random_truth(8, 8)))
    magnesium = scan.indexed & (scan.phase == 2)
    unnamed = tuple(phase._replace(name="") for phase in scan.phases)
    found = phases_of(replace(scan, phases=unnamed, indexed=magnesium), "a.ang")
    assert {number: tuple(phase) for number, phase in found.items()} == {2: ("phase 2", "6/mmm")}
    with pytest.raises(BadFile, match="no point is indexed"):
        phases_of(replace(scan, indexed=np.zeros((8, 8), bool)), "a.ang")


def test_a_broken_scan_stops_the_run_or_is_listed(tmp_path, data_config):
    write_ang(tmp_path / "good", random_truth(16, 16))
    (tmp_path / "bad.ang").write_text("# header only\n")
    with pytest.raises(UserError, match=r"bad\.ang: .*on_bad_file=skip") as caught:
        open_dataset(data_config(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).count("bad.ang") == 1
    dataset = open_dataset(data_config(tmp_path, on_bad_file="skip"))
    assert [name for name, _ in dataset.refused] == ["bad.ang"]
    assert dataset.classes == ("good",)


def test_an_hdf5_file_that_is_no_scan_stays_a_stack(tmp_path, data_config):
    with h5py.File(tmp_path / "maps.h5", "w") as file:
        file["EBSD_like"] = np.zeros((5, 16, 17), np.uint8)
    assert open_dataset(data_config(tmp_path / "maps.h5", channels=1, layout="NHW")).kind == "hdf5"


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("data.ipf_direction", {"ipf_direction": ""}), ("data.ipf_direction", {"ipf_direction": "Q"}),
        ("a.ang[0,0]", {"ipf_direction": "XYZ"}), ("data.fill_unindexed", {"fill_unindexed": "white"}),
        ("data.colour_key", {"colour_key": "tsi"}), ("data.tile_overlap", {"tile_overlap": 1.0}),
        ("data.min_indexed", {"min_indexed": 90.0}), ("a.ang[0,0]", {"size": (32, 32), "pad": "refuse"}),
    ],
)  # fmt: skip
def test_wrong_fields_are_named(tmp_path, data_config, where, fields):
    path = write_ang(tmp_path / "a", random_truth(16, 16))
    with pytest.raises(UserError) as caught:
        open_dataset(data_config(path, **fields))
    assert caught.value.where.removeprefix(f"{tmp_path}/") == where


def test_fill_of_a_known_map_changes_nothing():
    original = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    np.testing.assert_array_equal(ebsd.fill_nearest(original, np.ones((4, 2), bool)), original)


@pytest.mark.parametrize("direction", ["X", "Z"])
@pytest.mark.parametrize(
    ("scan", "drawn"),
    [
        ("defdap_testDataEBSD.cpr", "NiSA_defdap"), ("ebsdlib_EdaxAngOnly.h5", "EdaxNi_h5"),
        ("sdss_ferrite_austenite.ang", "SDSS_orixdata"), ("sdss_orix.h5", "SDSS_orixdata"),
    ],
)  # fmt: skip
def test_real_scans_give_the_maps_that_orix_draws(shared, data_config, scan, drawn, direction):
    data = data_config(
        shared / "scans" / scan,
        ipf_direction=direction,
        fill_unindexed="black",
        min_indexed=0.0,
        size=(64, 64),
    )
    with Image.open(shared / "ipf_maps" / f"{drawn}_{direction}.png") as original:
        expected = np.asarray(original.convert("RGB")).astype(int)
    dataset = open_dataset(data)
    for part in (dataset.train, dataset.holdout):
        for (_, y, x), image in tiles(part).items():
            window = expected[y : y + 64, x : x + 64]
            indexed = window.max(axis=-1) > 0
            near = np.abs(image - window).max(axis=-1)[indexed] <= 2
            assert near.mean() >= 0.995


@pytest.mark.parametrize("write", [write_ang, write_ctf])
def test_orientations_of_two_phases_are_windows_in_the_frame_of_the_image(tmp_path, data_config, write):
    path = write(tmp_path / "a", random_truth(20, 24, missing=0.1))
    scan = read_map(path)
    dataset = open_dataset(data_config(path, representation="orientation", min_indexed=0.0))
    represented = dataset.preparation.representation
    assert [tuple(phase) for phase in represented.phases] == [("Nickel", "m-3m"), ("Magnesium", "6/mmm")]
    in_image = multiply(scan.orientations, conjugate(from_matrix(np.array(scan.frame.to_image, float))))
    for part in (dataset.train, dataset.holdout):
        for (_, y, x), window in tiles(part).items():
            where = np.s_[y : y + 16, x : x + 16]
            known = scan.indexed[where]
            assert (window.dtype, window.shape) == (np.float32, (16, 16, 6))
            np.testing.assert_array_equal(window[known][:, 4] + 1, scan.phase[where][known])
            for number, group in enumerate(("m-3m", "6/mmm")):
                inside = known & (window[..., 4] == number)
                angles = misorientation_angle(
                    window[inside, :4].astype(np.float64), in_image[where][inside], group
                )
                assert angles.max() < 1e-3
            drawn, exact = represented.render_window(window), coloured(path, "Z")[where]
            assert np.abs(drawn[known].astype(int) - exact[known]).max() <= 1
    batch = next(batches(dataset.train, dataset.preparation, seed=0, batch_size=8))
    assert batch.image.shape == (8, 16, 16, 3 + 9 + 18 + 2)
    expected = np.stack([represented.render_window(record.image) for record in dataset.train])
    np.testing.assert_array_equal(summary.tiles_of(dataset), expected)  # grains of one pixel stay
    shown = shown_windows(dataset.train, dataset.preparation, limit=2, batch_size=1)
    np.testing.assert_array_equal(shown.image, expected[[0, len(expected) // 2]])
    assert shown.label.shape == (2,)
    assert len(dataset.preparation.transforms[0]) == 8


@pytest.mark.parametrize(
    ("fields", "channels"),
    [
        ({}, 32),
        ({"fill_unindexed": "black"}, 3),
        ({"ipf_direction": "X"}, 3),
        ({"ipf_direction": "XYZ", "channels": 9}, 9),
    ],
)
def test_scans_give_orientations_unless_colours_are_asked_for(tmp_path, data_config, fields, channels):
    path = write_ang(tmp_path / "a", random_truth(20, 24))
    dataset = open_dataset(data_config(path, representation="auto", min_indexed=0.0, **fields))
    assert dataset.preparation.channels == channels


def test_what_orientations_need_is_asked_for(tmp_path, data_config):
    truth = random_truth(20, 24)._replace(phases=(("Nickel", ""), ("Magnesium", "6/mmm")))
    path = write_mtex_text(tmp_path / "a", truth)
    orientations = data_config(path, source="ebsd", representation="orientation", min_indexed=0.0)
    with pytest.raises(UserError) as caught:
        open_dataset(orientations)
    assert (caught.value.where, "has no Laue group" in caught.value.problem) == ("data.laue_group", True)
    named = replace(orientations, laue_group="m-3m")
    assert {phase.laue_group for phase in open_dataset(named).preparation.representation.phases} == {"m-3m"}
    averaging = {"fill_unindexed": "black", "resample": "area", "pad": "background"}
    colours = {"channels": 1, "ipf_direction": "X", "colour_key": "edax"}
    for field, value in {**averaging, **colours}.items():
        with pytest.raises(UserError) as caught:
            open_dataset(replace(named, **{field: value}))
        assert caught.value.where == f"data.{field}"
    with pytest.raises(UserError, match=r"smaller than data\.size=\(24, 24\)") as caught:
        open_dataset(replace(named, size=(24, 24)))
    assert caught.value.where.startswith(str(path))
    with pytest.raises(UserError) as caught:
        open_dataset(replace(named, laue_group="m9m"))
    assert caught.value.where == "data.laue_group"


@pytest.mark.parametrize("direction", ["1,0,1", "1,1,0", "1,1,1", "0,1,2", "-1,1,0"])
@pytest.mark.parametrize("write", [write_ang, write_ctf])
def test_flips_that_are_allowed_keep_colours_true(tmp_path, data_config, write, direction):
    """A scan of the moved sample has the moved image: angles g P^-1, P in the vendor's axes, positions moved."""
    truth = random_truth(16, 16)._replace(phase=np.ones((16, 16), int), phases=(("Nickel", "m-3m"),))
    fields = {"ipf_direction": direction, "holdout": 0.0, "min_indexed": 0.0}
    dataset = open_dataset(data_config(write(tmp_path / "a", truth), **fields))
    image = dataset.train[0].image
    to_image = np.array(read_map(next(tmp_path.glob("a.*"))).frame.to_image)
    true = []
    for element, in_plane in augment.DIHEDRAL.items():
        moved = np.eye(3)
        moved[:2, :2] = in_plane
        moved[2, 2] = round(np.linalg.det(moved[:2, :2]))
        turn = from_matrix(to_image.T @ moved @ to_image)
        orientations = multiply(from_euler(truth.euler), conjugate(turn))
        euler = augment.apply(to_euler(orientations), element)
        path = write(tmp_path / "moved", truth._replace(euler=np.round(euler, 5)))
        other = open_dataset(data_config(path, **fields)).train[0].image
        same = np.abs(augment.apply(image, element).astype(int) - other).max(axis=-1) <= 1
        if same.mean() > 0.99:
            true.append(element)
    assert sorted(dataset.preparation.transforms[0]) == sorted(true)


def test_scans_of_two_frames_allow_what_both_do(tmp_path, data_config):
    write_ang(tmp_path / "a", random_truth(16, 16))
    write_ctf(tmp_path / "b", random_truth(16, 16))
    allowed = open_dataset(data_config(tmp_path, ipf_direction="1,1,1")).preparation.transforms[0]
    assert allowed == ("identity",)


def test_a_preview_does_not_hide_its_scan(tmp_path, data_config, save):
    write_edax(tmp_path / "a", random_truth(16, 16))
    save(tmp_path / "a_map.png")
    dataset = open_dataset(data_config(tmp_path))
    assert dataset.kind == "ebsd"
    assert dataset.unused == ("1 images beside the scans, such as a_map.png: the scans are read",)
    save(tmp_path / "other.png")
    write_ang(tmp_path / "b", random_truth(16, 16))
    folder = open_dataset(data_config(tmp_path))
    assert folder.kind == "folder"
    assert any(".ang" in line for line in folder.unused)


def test_the_field_preview_does_not_hide_its_scan(shared, data_config):
    dataset = open_dataset(data_config(shared / "field/22b_scan_and_preview"))
    assert dataset.kind == "ebsd"
    assert any("a_preview.png" in line for line in dataset.unused)


def test_files_beside_scans_are_named(tmp_path, data_config):
    write_cpr(tmp_path / "a", random_truth(16, 16))
    (tmp_path / "notes.txt").write_text("by hand")
    dataset = open_dataset(data_config(tmp_path, holdout=0.0))
    assert [line for line in dataset.unused if "files" in line] == [
        "files that are no scans: .txt (1), such as notes.txt"
    ]


def test_scans_far_below_the_size_are_refused(tmp_path, data_config):
    path = write_ang(tmp_path / "a", random_truth(16, 40))
    with pytest.raises(UserError, match=r"16x40 px, less than half of data\.size=\(33, 16\)"):
        open_dataset(data_config(path, size=(33, 16)))
    assert len(open_dataset(data_config(path, size=(32, 16), holdout=0.0)).train)


def test_pixel_sizes_are_found_said_and_given(tmp_path, data_config):
    write_ang(tmp_path / "a", random_truth(16, 16))
    write_ctf(tmp_path / "b", random_truth(16, 16)._replace(step=0.51))
    dataset = open_dataset(data_config(tmp_path))
    assert dataset.pixel_size_um == pytest.approx(0.505)
    assert not any("pixel sizes" in note for note in dataset.notes)
    write_ctf(tmp_path / "b", random_truth(16, 16)._replace(step=0.53))
    dataset = open_dataset(data_config(tmp_path))
    assert dataset.pixel_size_um == 0
    assert any("0.5 um of a.ang to 0.53 um of b.ctf" in note for note in dataset.notes)
    assert open_dataset(data_config(tmp_path, pixel_size_um=0.2)).pixel_size_um == 0.2
    assert run_config.resolve(dataset).pixel_size_um == 0


def test_the_pixel_size_is_that_of_the_resampled_pixels(tmp_path, data_config):
    write_ang(tmp_path / "a", random_truth(10, 10))  # stretched to tiles of 16 px
    dataset = open_dataset(data_config(tmp_path, resample="nearest", holdout=0.0))
    assert dataset.pixel_size_um == pytest.approx(0.5 * 10 / 16)
    assert run_config.resolve(dataset).pixel_size_um == dataset.pixel_size_um
    assert any("a pixel is 0.625 px of the files" in note for note in dataset.notes)
    assert open_dataset(data_config(tmp_path, holdout=0.0)).pixel_size_um == 0.5


def test_unsure_points_are_filled(tmp_path, data_config):
    path = write_ctf(tmp_path / "a", random_truth(16, 16))
    text = path.read_text().replace("0.5000\t98", "1.5000\t98", 20)
    path.write_text(text)
    fields = {"fill_unindexed": "black", "min_indexed": 0.0, "holdout": 0.0}
    image = open_dataset(data_config(path, min_confidence=1.0, **fields)).train[0].image
    assert (image.reshape(-1, 3)[:20] == 0).all()
    assert (image.reshape(-1, 3)[20:].max(axis=-1) > 0).all()
