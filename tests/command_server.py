"""A process that has imported everything and forks for each command, so that a command does not import it again.

Requests are JSON lines on standard input, `{"argv": [...], "stdout": path, "stderr": path, "devices": 1, "signals":
{"step 5/": 9}}`; the answer is the exit status. A command runs in a fork of its own: flags, signals, the backend of jax
and the working folder are its own. Once its standard output holds a text of `signals`, it gets that signal.
"""

import json
import os
import runpy
import signal
import sys
import time
import warnings
from pathlib import Path

import jax


def serve() -> None:
    """Import what every command imports, then run commands until standard input ends."""
    import microgen_jax.__main__  # noqa: F401
    from microgen_jax import commands  # noqa: F401
    from microgen_jax.commands import evaluate, export, import_run, inspect, plan, sample, train  # noqa: F401

    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)  # no backend exists yet
    for line in sys.stdin:
        print(_forked(json.loads(line)), flush=True)


def _forked(request: dict) -> int:
    for name in ("stdout", "stderr"):
        Path(request[name]).write_text("")
    child = os.fork()
    if child == 0:
        _run(request)
    for text, number in request["signals"].items():
        _wait_for(text, Path(request["stdout"]), child)
        os.kill(child, number)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _wait_for(text: str, stdout: Path, child: int) -> None:
    """Return once the text is printed, or the child has ended without it."""
    while text not in stdout.read_text():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return
        time.sleep(0.002)


def _run(request: dict) -> None:
    """Run main.py as if this were a process of its own; never returns."""
    os.setsid()
    signal.alarm(300)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    jax.config.update("jax_num_cpu_devices", request["devices"])
    sys.argv = request["argv"]
    status = 1
    try:
        runpy.run_path("main.py", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
