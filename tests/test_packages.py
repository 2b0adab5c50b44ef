"""The wheel carries every package, and the configs."""

import tomllib

from tests.conftest import ROOT


def test_every_package_is_in_the_wheel():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {".".join(path.relative_to(ROOT).parts[:-1]) for path in (ROOT / "microgen_jax").rglob("*.py")}
    assert set(listed) == found | {"microgen_jax.configs"}
