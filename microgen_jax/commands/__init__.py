"""The modes of the command line, one file each."""

from collections.abc import Callable
from dataclasses import replace

from microgen_jax.commands.evaluate import evaluate
from microgen_jax.commands.export import export
from microgen_jax.commands.import_run import import_run
from microgen_jax.commands.inspect import run_inspect
from microgen_jax.commands.plan import plan
from microgen_jax.commands.sample import sample
from microgen_jax.commands.train import train_request
from microgen_jax.config.command_line import Request
from microgen_jax.runtime import storage

__all__ = ["MODES", "run"]

MODES: dict[str, Callable[[Request], None]] = {
    "train": train_request,
    "sample": sample,
    "evaluate": evaluate,
    "inspect": run_inspect,
    "plan": plan,
    "export": export,
    "import": import_run,
}


def run(mode: str, request: Request) -> None:
    """Run a mode in the work directory, or in the folder that stands for an object store's.

    Args:
      mode: a key of `MODES`.
      request: the parsed command line.

    Raises:
      UserError: an error of the user.
    """
    owning = mode in ("train", "import")
    with storage.opened(request.workdir, owning, with_samples=mode == "evaluate") as folder:
        MODES[mode](replace(request, workdir=folder))
