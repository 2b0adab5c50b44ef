"""Train a generator on your microstructures, draw new ones, and judge them.

    python main.py --config=configs/quickstart.py --workdir=runs/quickstart
    python main.py --mode=sample --workdir=runs/quickstart --config.sample.num=64
    python main.py --mode=inspect --config=configs/ipf128.py --config.data.root=my_maps

Any field of the config is set like `--config.train.steps=100` or `--config.data.size='(64,96)'`;
configs/default.py lists them all with what they do.
"""

from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from microgen_jax import commands
from microgen_jax.config import command_line
from microgen_jax.runtime import compile_cache, distributed

_CONFIG = config_flags.DEFINE_config_file(
    "config", help_string="Python file whose get_config() says what to do."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", "", "Folder of the run: checkpoints, metrics, samples; or gs://bucket/run, s3://bucket/run."
)
_MODE = flags.DEFINE_enum("mode", "train", list(commands.MODES), "What to do.")
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    "",
    "host:port of process 0, where several are started by hand; auto: on a Cloud TPU slice.",
)
_PROCESSES = flags.DEFINE_integer("num_processes", 0, "How many processes there are, with --coordinator.")
_PROCESS = flags.DEFINE_integer("process_id", -1, "Which of them this is, from 0, with --coordinator.")
_DEFAULT = Path(__file__).resolve().parent / "configs" / "default.py"


def main(argv: list[str]) -> None:
    compile_cache.keep_memory()
    distributed.initialize(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    commands.run(_MODE.value, command_line.request(argv, _CONFIG, _WORKDIR.value, _DEFAULT))


if __name__ == "__main__":
    command_line.hush_abandoned_reads()
    with command_line.one_line_errors():
        app.run(main, flags_parser=lambda argv: command_line.parse(argv, _DEFAULT))
