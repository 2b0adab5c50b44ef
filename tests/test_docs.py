"""What README, CONTRIBUTING, docs/, configs and docstrings name exists: links, commands, fields, modules, files."""

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from microgen_jax import commands
from microgen_jax.config import fields
from tests.command_line import ROOT
from tests.config.error_lines import parsed

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROSE = [*PAGES, ROOT / "docs" / "tour.ipynb", *sorted((ROOT / "docs" / "launch").glob("*.s*"))]
SOURCES = [
    ROOT / "main.py",
    *(path for part in ("configs", "microgen_jax") for path in (ROOT / part).rglob("*.py")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"(?:python main\.py|microgen) ((?:--|[^`\s.]+ )(?:\\\n|[^`\n])+)")
SETTING = re.compile(r"`(--config\.[^`=]+=[^`]+)`")
FLAG = re.compile(r"--config\.([a-z_]+(?:\.[a-z_0-9]+)?)")
FIELD = re.compile(rf"`((?:{'|'.join(fields.parts())})\.[a-z_0-9]+)(?==|`)")
MODE = re.compile(r"--mode=(\w+)")
MODULE = re.compile(r"\bmicrogen_jax(?:\.[A-Za-z_]\w*)+")
FILE = re.compile(r"(?<![\w/.-])((?:configs|docs|microgen_jax|tests)(?:/[\w.-]+)*/[\w-]+\.\w+)")
FILES_OF_FIELDS = {"sample.py"}  # what looks like a field and is a file


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_and_anchors_resolve(page):
    for link in LINK.findall(page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("path", PROSE, ids=relative)
def test_fields_and_files_of_the_docs_exist(path):
    text = path.read_text()
    assert set(FIELD.findall(text)) <= {*fields.fields(), *FILES_OF_FIELDS}
    assert [name for name in FILE.findall(text) if not (ROOT / name).exists()] == []


def test_flags_and_modules_of_docs_and_docstrings_exist():
    text = "\n".join(path.read_text() for path in [*PROSE, *SOURCES])
    assert set(FLAG.findall(text)) <= {*fields.fields(), *fields.parts()}
    assert set(MODE.findall(text)) <= set(commands.MODES)
    assert [name for name in sorted(set(MODULE.findall(text))) if not exists(name)] == []


@pytest.mark.parametrize("path", [*PAGES, *sorted((ROOT / "configs").glob("*.py"))], ids=relative)
def test_commands_and_settings_parse(path):
    text = path.read_text()
    settings = SETTING.findall(text) if path.suffix == ".md" else []
    for line in [*COMMAND.findall(text), *settings]:
        if not re.search(r"\$|\.{3}", line):
            with parsed(["microgen", *shlex.split(line.replace("\\\n", " "), comments=True)]):
                pass


def exists(name: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    parent, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return hasattr(importlib.import_module(parent), attribute)
    return True


def test_benchmarks_of_the_docs_exist():
    names = {name for page in PAGES for name in re.findall(r"tests\.benchmarks[. ](\w+)", page.read_text())}
    assert names <= {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}


def test_every_package_is_listed():
    tree = (ROOT / "CONTRIBUTING.md").read_text().split("## Where things are")[1]
    packages = {path.parent.name for path in (ROOT / "microgen_jax").glob("*/__init__.py")}
    assert set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)) == packages
