"""Train a generator on your microstructures, sample new ones, and evaluate them.

    microgen --config=quickstart --workdir=runs/quickstart
    microgen --mode=sample --workdir=runs/quickstart --config.sample.num=64
    microgen --mode=inspect --config=ipf128 --config.data.root=my_maps

`python main.py` in a checkout is the same command. --config takes a file, or the name of one in configs/. Any field is
set like `--config.train.steps=100` or `--config.data.size='(64,96)'`; configs/default.py lists them all.
"""

import sys

from absl import app, flags
from ml_collections import config_flags

from microgen_jax import commands
from microgen_jax.config import command_line
from microgen_jax.runtime import compile_cache, distributed

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="Name of a ready-made config, or a Python file with get_config()."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the run: checkpoints, metrics, samples; or gs://bucket/run, s3://bucket/run."
)
_MODE = flags.DEFINE_enum("mode", "train", list(commands.MODES), "What to do.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    "",
    "host:port of process 0 where processes are started by hand; auto on a Cloud TPU slice.",
)
_PROCESSES = flags.DEFINE_integer("num_processes", 0, "Number of processes, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process_id", -1, "Number of this process from 0, with --coordinator.")


def main() -> None:
    """Run the command line; the entry point of `microgen` and of main.py."""
    sys.modules["__main__"].__doc__ = __doc__  # absl prints it above the flags of --help
    for flag in (_CONFIG, _WORKDIR, _MODE, _COORDINATOR, _PROCESSES, _PROCESS):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[flag.name])
    command_line.silence_abandoned_orbax_reads()
    with command_line.one_line_errors():
        app.run(_run, flags_parser=command_line.parse)


def _run(argv: list[str]) -> None:
    compile_cache.keep_memory()
    distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    commands.run(_MODE.value, command_line.request(argv, _CONFIG, _WORKDIR.value))


if __name__ == "__main__":
    main()
