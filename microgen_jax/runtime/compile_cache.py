"""Compiler settings: compiled programs kept between runs, freed memory kept between steps."""

import ctypes
import importlib.util
import os
import platform
from pathlib import Path

import jax

YNN_FUSIONS = "xla_cpu_experimental_ynn_fusion_type"
MALLOPT = {"TRIM_THRESHOLD": -1, "MMAP_THRESHOLD": -3, "ARENA_MAX": -8}  # malloc.h


def use_compile_cache() -> None:
    """Keep compiled programs in the user's cache folder, or in JAX_COMPILATION_CACHE_DIR; '' turns it off."""
    if jax.config.jax_compilation_cache_dir or os.environ.get("JAX_COMPILATION_CACHE_DIR") == "":
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "microgen_jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def keep_memory() -> None:
    """Keep the memory that a step on the CPU frees for the next one; to be called before the first array is made.

    XLA allocates all temporaries of a step at once, and glibc would have the kernel map and clear them every time,
    which takes a sixth of a step. Nothing is done without glibc, or where an accelerator holds the arrays.
    """
    accelerated = any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    if accelerated or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    never = 2**31 - 1
    for option, value in (("ARENA_MAX", 1), ("MMAP_THRESHOLD", never), ("TRIM_THRESHOLD", never)):
        library.mallopt(MALLOPT[option], value)


def options(size: tuple[int, int]) -> dict[str, str]:
    """Return `compiler_options` for programs over images of one size: XLA's own convolutions for small ones.

    On the CPU YNNPACK uses one core where a convolution has few channels and few pixels. Its products and sums
    remain.

    Args:
      size: height and width of an image.
    """
    if jax.default_backend() != "cpu" or max(size) >= 128:
        return {}
    return {
        YNN_FUSIONS: ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in ("DOT", "REDUCE", "INDIVIDUAL_DOT"))
    }
