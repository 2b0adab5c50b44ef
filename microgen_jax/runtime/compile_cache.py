"""What is kept: compiled programs between runs, freed memory between steps."""

import ctypes
import importlib.util
import os
import platform
from pathlib import Path

import jax

YNN = "xla_cpu_experimental_ynn_fusion_type"
MALLOPT = {"TRIM_THRESHOLD": -1, "MMAP_THRESHOLD": -3, "ARENA_MAX": -8}  # malloc.h


def use_compile_cache() -> None:
    """Keeps compiled programs in the user's cache folder, or where JAX_COMPILATION_CACHE_DIR says; '' turns it off."""
    if jax.config.jax_compilation_cache_dir or os.environ.get("JAX_COMPILATION_CACHE_DIR") == "":
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "microgen_jax" / "xla"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def keep_memory() -> None:
    """On the CPU, keeps what a step frees for the next one; to be called before the first array is made.

    XLA asks for all of a step's temporaries at once, and glibc would have the kernel map and clear them every
    time: a sixth of a step. Nothing is done without glibc, or where an accelerator holds the arrays.
    """
    accelerated = any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))
    if accelerated or platform.libc_ver()[0] != "glibc":
        return
    library = ctypes.CDLL(None)
    most = 2**31 - 1
    for option, value in (("ARENA_MAX", 1), ("MMAP_THRESHOLD", most), ("TRIM_THRESHOLD", most)):
        library.mallopt(MALLOPT[option], value)


def options(size: tuple[int, int]) -> dict[str, str]:
    """`compiler_options` of the programs for images of (height, width): XLA's own convolutions for small ones.

    On the CPU YNNPACK keeps to one core where a convolution has few channels and few pixels. Its products and
    sums remain.
    """
    if jax.default_backend() != "cpu" or max(size) >= 128:
        return {}
    return {YNN: ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in ("DOT", "REDUCE", "INDIVIDUAL_DOT"))}
