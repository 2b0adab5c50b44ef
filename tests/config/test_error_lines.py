"""The wording of errors, held by `error_lines.txt`: a new wording is written there and read before it is committed."""

from pathlib import Path

import pytest

from tests.config import error_lines


@pytest.fixture(scope="module")
def folder():
    with error_lines.workspace() as folder:
        yield folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("line", error_lines.stored())
def test_a_wrong_command_ends_in_its_one_line_and_writes_nothing(folder, line):
    before = files(folder)
    assert error_lines.printed(line) == error_lines.stored()[line]
    assert files(folder) == before


def test_every_mode_and_part_is_there():
    text = error_lines.FILE.read_text()
    modes = ("sample", "evaluate", "inspect", "plan", "export", "import")
    parts = ("data", "model", "diffusion", "mesh", "train", "sample", "evaluate", "plan", "export")
    assert [name for name in modes if f"--mode={name}" not in text] == []
    assert [name for name in parts if f"--config.{name}." not in text] == []
