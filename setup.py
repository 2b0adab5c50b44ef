"""Packages of the wheel: configs/ is carried as `microgen_jax.configs`; all else is in pyproject.toml."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[*find_namespace_packages(include=["microgen_jax*"]), "microgen_jax.configs"],
    package_dir={"microgen_jax.configs": "configs"},
)
