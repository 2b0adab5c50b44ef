"""Tables and names as pandas, Excel, Windows and macOS write them."""

import unicodedata

import numpy as np
import pytest

from microgen_jax.commands.inspect import inspect
from microgen_jax.config.run_config import Resolved
from microgen_jax.data import open_dataset
from microgen_jax.data.augment import allowed_by_class
from microgen_jax.errors import UserError
from microgen_jax.sampling import requests

NAMES = [f"{n}.png" for n in range(6)]


def parts(dataset):
    return dataset.train, dataset.holdout


def condition(dataset) -> dict[str, float]:
    return {part.name(i): float(part[i].condition[0]) for part in parts(dataset) for i in range(len(part))}


def write(folder, save, names, text, table="list.csv", encoding="utf-8"):
    for n, name in enumerate(names):
        save(folder / name, seed=n)
    (folder / table).write_bytes(text.encode(encoding))
    return folder / table


@pytest.mark.parametrize("header", ["file,strain\n", "# made by hand\nfile,strain\n", ""])
def test_names_that_begin_with_a_hash_are_data(tmp_path, save, data_config, header):
    names = [f"#{n}.png" for n in range(3)] + ["ref.png"]
    rows = "".join(f"{name},{n}\n" for n, name in enumerate(names))
    root = write(tmp_path, save, names, header + rows)
    column = "strain" if header else "column_2"
    assert condition(open_dataset(data_config(root, conditions=(column,)))) == dict(zip(names, range(4)))


def test_a_hash_in_metadata_is_data_and_a_comment_below_the_header_is_not(tmp_path, save, data_config):
    names = [f"a/#{n}.png" for n in range(4)]
    rows = "".join(f"#{n}.png,{n}\n" for n in range(4))
    write(tmp_path, save, names, f"file,strain\n# second series\n{rows}", "metadata.csv")
    found = condition(open_dataset(data_config(tmp_path, conditions=("strain",))))
    assert found == dict(zip(names, range(4)))


@pytest.mark.parametrize("title", ["", "Unnamed: 0"])
@pytest.mark.parametrize("table", ["list.csv", "metadata.csv"])
def test_the_index_column_of_pandas_is_left_out_and_said(tmp_path, save, data_config, title, table):
    rows = "".join(f"{n},{name},{n / 4}\n" for n, name in enumerate(NAMES))
    path = write(tmp_path, save, NAMES, f"{title},filename,strain\n{rows}", table)
    root = path if table == "list.csv" else tmp_path
    dataset = open_dataset(data_config(root, conditions=("strain",)))
    assert condition(dataset) == {name: n / 4 for n, name in enumerate(NAMES)}
    assert any("counts the rows" in note for note in dataset.notes)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("Datei;Dehnung\n{};0,25\n", "utf-8-sig"), ("Datei\tDehnung\n{}\t2,5E-1\n", "utf-16")],
    ids=["semicolons", "tabs in UTF-16"],
)
def test_decimal_commas_are_read_and_said(tmp_path, save, data_config, text, encoding):
    header, row, _ = text.split("\n")
    rows = "\n".join([header, *(row.format(name) for name in NAMES)])
    root = write(tmp_path, save, NAMES, rows, encoding=encoding)
    dataset = open_dataset(data_config(root, conditions=("Dehnung",)))
    assert set(condition(dataset).values()) == {0.25}
    assert any("is read as 0.25" in note for note in dataset.notes)


@pytest.mark.parametrize("folder", ["C:\\Users\\me\\maps\\", "\\\\server\\share\\", "/home/me/maps/"])
def test_paths_of_another_machine_are_read_by_their_ends_and_that_is_said(
    tmp_path, save, data_config, folder
):
    root = write(tmp_path, save, NAMES, "file\n" + "".join(f"{folder}{name}\n" for name in NAMES))
    dataset = open_dataset(data_config(root))
    assert sum(map(len, parts(dataset))) == len(NAMES)
    assert any("6 paths" in note and "0.png" in note for note in dataset.notes)


def test_an_end_that_two_files_share_is_refused(tmp_path, save, data_config):
    root = write(tmp_path, save, ["a/0.png", "b/0.png"], "file\nC:\\maps\\0.png\n")
    with pytest.raises(UserError):
        open_dataset(data_config(root))


@pytest.mark.parametrize(("on_disk", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_compared_in_one_normal_form(tmp_path, save, data_config, on_disk, asked):
    disk, other = (unicodedata.normalize(form, "Würfel") for form in (on_disk, asked))
    names = [f"{disk}_{n}.png" for n in range(4)]
    root = write(tmp_path, save, names, "file,class\n" + "".join(f"{other}_{n}.png,a\n" for n in range(4)))
    assert open_dataset(data_config(root)).classes == ("a",)
    for n in range(3):
        save(tmp_path / "classes" / disk / f"{n}.png", seed=n)
        save(tmp_path / "classes/b" / f"{n}.png", seed=n)
    data = data_config(tmp_path / "classes", symmetry=f"{other}=none,b=all")
    dataset = open_dataset(data)
    resolved = Resolved(dataset.classes, (), (), (), 3, "folder", "0")
    named = requests.choose_labels(resolved, 1, other)
    assert dataset.classes[named[0]] == unicodedata.normalize("NFC", "Würfel")


@pytest.mark.parametrize("table", ["list.csv", "metadata.csv"])
def test_a_column_that_nobody_uses_is_named(tmp_path, save, table):
    rows = "".join(f"{name},{n},{n}\n" for n, name in enumerate(NAMES))
    path = write(tmp_path, save, NAMES, f"file,strain,planted\n{rows}", table)
    root = path if table == "list.csv" else tmp_path
    unused = inspect(root, size=(16, 16), conditions=("strain",)).values["unused"]
    assert any("planted" in line for line in unused)
    assert not any("strain" in line for line in unused)


NUMBERED = Resolved(("0", "10", "2", "20", "5"), (), (), (), 3, "folder", "0")


@pytest.mark.parametrize("label", ["20", 20, np.int64(20)])
def test_a_class_called_by_a_number_is_found_by_its_name(label):
    assert requests.choose_labels(NUMBERED, 1, label).tolist() == [3]


@pytest.mark.parametrize("label", ["3", 3, [1]])
def test_a_number_that_is_no_name_is_refused_where_names_are_numbers(label):
    with pytest.raises(UserError, match="does not exist") as error:
        requests.choose_labels(NUMBERED, 1, label)
    assert error.value.where == "label"


def test_class_names_with_commas_stand_in_quotes():
    classes = ("10% strain, 900°C", "[001] #2", "as=cast")
    text = '"10% strain, 900°C"=none, [001] #2=orthotropic, as=cast=all'
    assert allowed_by_class(classes, "", text) == tuple(
        allowed_by_class(("a",), "", s)[0] for s in ("none", "orthotropic", "all")
    )
    with pytest.raises(UserError, match="unknown name"):
        allowed_by_class(classes, "", "10% strain, 900°C=none")


@pytest.mark.parametrize("inner", ["{side}/{name}", "{name}/{side}", "data/{side}/{name}"])
@pytest.mark.parametrize("test", ["test", "Valid"])
def test_train_and_test_are_the_split_and_no_classes(tmp_path, save, data_config, inner, test):
    for side, count in (("train", 4), (test, 2)):
        for name in "AB":
            for n in range(count):
                save(tmp_path / inner.format(side=side, name=name) / f"{n}.png", seed=n)
    dataset = open_dataset(data_config(tmp_path))
    assert dataset.classes == ("A", "B")
    train, holdout = parts(dataset)
    assert {test in train.name(i) for i in range(len(train))} == {False}
    assert (len(train), len(holdout)) == (8, 4)
    assert any("taken for a split" in note for note in dataset.notes)
    assert len(open_dataset(data_config(tmp_path, holdout=0.0)).train) == 12


def test_flat_train_and_test_folders_are_one_class(tmp_path, save, data_config):
    for name in ("train/0.png", "train/1.png", "test/0.png"):
        save(tmp_path / "maps" / name)
    dataset = open_dataset(data_config(tmp_path / "maps"))
    assert (dataset.classes, len(dataset.holdout)) == (("maps",), 1)


def test_each_class_has_its_own_range_of_a_condition(tmp_path, save, data_config):
    rows = [("a", 1.0), ("a", 2.0), ("b", 7.0), ("b", ""), ("b", 9.0), ("c", "")]
    text = "file,class,ratio\n" + "".join(f"{n}.png,{c},{v}\n" for n, (c, v) in enumerate(rows))
    root = write(tmp_path, save, NAMES, text)
    dataset = open_dataset(data_config(root, conditions=("ratio",), label_by="class", holdout=0.0))
    assert dataset.class_ranges == (((1.0, 2.0),), ((7.0, 9.0),), (None,))

    grains = open_dataset(data_config("", source="polycrystal", count=16, conditions=("aspect_ratio",)))
    ranges = dict(zip(grains.classes, grains.class_ranges))
    assert ranges["equiaxed"][0][1] < ranges["elongated"][0][0]
    assert grains.low[0] == min(low for ((low, _),) in grains.class_ranges)


@pytest.mark.parametrize("table", ["list.csv", "metadata.csv"])
def test_two_columns_of_one_name_are_refused(tmp_path, save, data_config, table):
    text = "file,strain,strain\n" + "".join(f"{n}.png,{n},9\n" for n in range(6))
    root = write(tmp_path, save, NAMES, text, table=table)
    with pytest.raises(UserError, match="has 2 columns called 'strain'") as error:
        open_dataset(data_config(root if table == "list.csv" else tmp_path, conditions=("strain",)))
    assert error.value.where == table


def test_columns_without_a_title_are_numbered(tmp_path, save, data_config):
    write(tmp_path, save, NAMES, "file,,\n" + "".join(f"{n}.png,{n},\n" for n in range(6)), "metadata.csv")
    dataset = open_dataset(data_config(tmp_path, conditions=("column_2",)))
    assert sorted(condition(dataset).values()) == list(range(6))
    assert any("'column_3'" in line for line in dataset.unused)


def test_what_a_table_leaves_out_is_said(tmp_path, save, data_config):
    text = "file,strain\n" + "".join(f"{n}.png,{n or ''}\n" for n in range(4))
    root = write(tmp_path, save, NAMES, text)
    (tmp_path / "notes.txt").write_text("by hand")
    dataset = open_dataset(data_config(root, conditions=("strain",)))
    assert any("strain: not known of 1 of 4 images" in note for note in dataset.notes)
    assert "files that the list does not name: .png (2), .txt (1), such as 4.png" in dataset.unused

    write(tmp_path, save, [], text, table="metadata.csv")  # of four of six images
    notes = open_dataset(data_config(tmp_path, conditions=("strain",))).notes
    assert any("strain: not known of 3 of 6 images" in note for note in notes)
    assert not any("not known" in note for note in open_dataset(data_config(tmp_path)).notes)


def test_a_pattern_does_not_hide_a_column(tmp_path, save, data_config):
    write(tmp_path, save, NAMES, "file,n\n0.png,7\n", table="metadata.csv")
    with pytest.raises(UserError, match="names the column 'n', which the data have too") as error:
        open_dataset(data_config(tmp_path, filename_pattern="(?P<n>[0-9])"))
    assert error.value.where == "data.filename_pattern"


@pytest.mark.parametrize(
    ("case", "fields", "count", "classes"),
    [
        ("09_nfd", {}, 8, ("Druck", "Zugprüfung")),
        ("09_nfd_list/list.csv", {}, 6, ("a",)),
        ("10_hash/list.csv", {"conditions": ("strain",)}, 12, ("10_hash",)),
        ("10b_hash_metadata", {"conditions": ("strain",)}, 12, ("a",)),
        ("11_numeric_classes", {}, 15, ("0", "10", "2", "20", "5")),
        ("12_pandas_index/list.csv", {"conditions": ("strain",)}, 8, ("12_pandas_index",)),
        ("12b_decimal_comma/list.csv", {"conditions": ("Dehnung",)}, 8, ("12b_decimal_comma",)),
        ("12c_windows_paths/list.csv", {}, 8, ("12c_windows_paths",)),
        ("21_class_names", {}, 9, ("10% strain, 900°C", "[001] #2", "as=cast")),
        ("22_train_test", {}, 18, ("A", "B")),
    ],
)
def test_field_cases_of_tables_and_names_are_read(shared, data_config, case, fields, count, classes):
    dataset = open_dataset(data_config(shared / "field" / case, **fields))
    assert (len(dataset.train) + len(dataset.holdout), dataset.classes) == (count, classes)
    if fields:
        assert np.isfinite(list(condition(dataset).values())).all()
