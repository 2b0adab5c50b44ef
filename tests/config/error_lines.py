"""What the program prints for wrong commands: `error_lines.txt` holds each command and, below it, its one line.

`python -m tests.config.error_lines` writes the lines anew; read what `git diff` shows before you commit it. A new
command is added to the file on a line of its own, with `$ ` before it.
"""

import io
import json
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import jax
import numpy as np
from absl import flags
from PIL import Image

import tests.conftest  # noqa: F401
from configs import quickstart
from microgen_jax import __main__ as program
from microgen_jax import commands
from microgen_jax.config import command_line, fields, run_config
from microgen_jax.config.command_line import Request
from microgen_jax.config.run_config import Resolved
from microgen_jax.runtime import mesh as meshes

FILE = Path(__file__).with_name("error_lines.txt")


def stored() -> dict[str, str]:
    """Error lines by command, as the file has them; '' where a line is still to be written."""
    lines: dict[str, str] = {}
    for text in FILE.read_text().splitlines():
        if text.startswith("$ "):
            lines[text[2:]] = ""
        elif text:
            lines[list(lines)[-1]] = text
    return lines


def make_workspace(folder: Path) -> None:
    """The files that the commands name: images, whole and broken, arrays, configs, a run and damaged ones."""
    rng = np.random.default_rng(0)
    for root, names in (("maps", "012"), ("broken", "0123")):
        for label in "ab":
            (folder / root / label).mkdir(parents=True)
            for name in names:
                pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
                Image.fromarray(pixels).save(folder / root / label / f"{name}.png")
    bad = folder / "broken" / "a" / "3.png"
    bad.write_bytes(bad.read_bytes()[:-300])
    for name in ("empty", "run", "damaged", "old", "lost/checkpoints/3"):
        (folder / name).mkdir(parents=True)
    (folder / "notes.txt").write_text("no image\n")
    (folder / "scan.ang").write_text("# HEADER: Start\n# GRID: SqrGrid\n")
    write_scan(folder / "grains.ang", 32)
    np.savez(folder / "arrays.npz", images=np.zeros((4, 16, 16, 3), np.uint8), labels=np.zeros(3, np.int32))
    (folder / "fails.py").write_text("import nothing_of_this_name\n")
    (folder / "without.py").write_text("config = {}\n")
    resolved = Resolved(("a", "b"), ("grain",), (2.0,), (1.0,), 3, "folder", "0")
    run_config.write(folder / "run", fields.freeze(quickstart.get_config()), resolved)
    (folder / "damaged" / "config.json").write_text("{")
    (folder / "old" / "config.json").write_text(json.dumps({"format": 1}))


def write_scan(path: Path, size: int) -> None:
    """A .ang of square grains, 8 px wide, of random orientations."""
    grains = np.random.default_rng(0).random((size // 8, size // 8, 3)) * [2 * np.pi, np.pi, 2 * np.pi]
    euler = grains.repeat(8, 0).repeat(8, 1).reshape(-1, 3)
    y, x = np.indices((size, size)).reshape(2, -1)
    lines = [
        "# TEM_PIXperUM 1.0",
        "# x-star 0.5",
        "#",
        "# Phase 1",
        "# MaterialName \tNickel",
        "# Symmetry 43",
    ]
    lines += ["#", "# GRID: SqrGrid", "# XSTEP: 1.0", "# YSTEP: 1.0"]
    lines += [f"# NCOLS_ODD: {size}", f"# NCOLS_EVEN: {size}", f"# NROWS: {size}", "#"]
    for angles, column, row in zip(euler, x, y):
        turns = " ".join(f"{angle:9.5f}" for angle in angles)
        lines.append(f"{turns} {column:12.5f} {row:12.5f} 100.0 0.500 1 1 0.500")
    path.write_text("\n".join(lines) + "\n")


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder with the commands' files, and the working folder meanwhile."""
    with tempfile.TemporaryDirectory() as name, chdir(name):
        make_workspace(Path(name))
        yield Path(name)


@contextmanager
def parsed(argv: list[str]) -> Iterator[Request]:
    """What a command line asks for; its flags are forgotten afterwards."""
    known = set(flags.FLAGS)
    try:
        with mock.patch.object(sys, "argv", argv), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of ml_collections
            rest = command_line.parse(argv)
            yield command_line.request(rest, program._CONFIG, program._WORKDIR.value)
    finally:
        for name in set(flags.FLAGS) - known:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()
        flags.FLAGS.mark_as_parsed()


def printed(line: str) -> str:
    """What a command prints on standard error, run in this process."""
    err, status = io.StringIO(), 0
    with (
        mock.patch.object(meshes, "compiled_step", side_effect=AssertionError("a wrong command is compiled")),
        jax.numpy_dtype_promotion("standard"),
        redirect_stdout(io.StringIO()),
        redirect_stderr(err),
    ):
        try:
            with command_line.one_line_errors(), parsed(["microgen", *shlex.split(line)]) as request:
                commands.run(program._MODE.value, request)
        except SystemExit as end:
            status = end.code
    return err.getvalue().rstrip("\n") if status == 2 else f"ended with status {status}: {err.getvalue()}"


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 8)  # as in the tests
    with workspace():
        lines = {line: printed(line) for line in stored()}
    FILE.write_text("\n".join(f"$ {line}\n{error}\n" for line, error in lines.items()))


if __name__ == "__main__":
    main()
