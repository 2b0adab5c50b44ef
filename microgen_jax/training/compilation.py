"""Compiled programs are kept between runs, so that only the first start of a configuration waits."""

import os
from pathlib import Path

import jax


def use_compile_cache() -> None:
    """Keeps compiled programs in the user's cache folder, or where JAX_COMPILATION_CACHE_DIR says; '' turns it off."""
    if jax.config.jax_compilation_cache_dir or os.environ.get("JAX_COMPILATION_CACHE_DIR") == "":
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "microgen_jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
