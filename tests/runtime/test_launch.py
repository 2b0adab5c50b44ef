"""The launch scripts of docs/launch, with stand-ins for the programs that they call."""

import os
import signal
import subprocess
import time
from pathlib import Path

import jax
import pytest
import yaml

from microgen_jax.errors import UserError
from microgen_jax.runtime import distributed

LAUNCH = Path(__file__).resolve().parents[2] / "docs" / "launch"
STOPS_WHEN_TOLD = (
    "#!/usr/bin/env bash\ntrap 'kill $!; exit 0' TERM\ntouch \"$WORKDIR/started\"\nsleep 60 &\nwait\n"
)


def program(folder: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which `name` is a script of this text."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(("whole", "succeeds"), [(False, False), (True, True)])
def test_a_preempted_pod_fails_unless_all_steps_are_saved(tmp_path, whole, succeeds):
    (job,) = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())["spec"]["replicatedJobs"]
    (pod,) = job["template"]["spec"]["template"]["spec"]["containers"]
    environment = program(tmp_path, "python", STOPS_WHEN_TOLD) | {"WORKDIR": str(tmp_path), "STEPS": "9"}
    (tmp_path / "checkpoints" / ("9" if whole else "8")).mkdir(parents=True)
    process = subprocess.Popen([*pod["command"], *pod["args"]], env=environment, cwd=tmp_path)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert (process.wait(timeout=30) == 0) is succeeds


def test_the_tpu_script_starts_processes_that_join_and_keeps_quoted_values(tmp_path):
    remote_shell = '#!/usr/bin/env bash\nmkdir microgen-jax\nlast=${!#}\nbash -c "${last#--command=}"\n'
    environment = program(tmp_path, "gcloud", remote_shell)
    program(tmp_path, "python", '#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    environment |= {"TPU": "slice", "ZONE": "zone", "WORKDIR": "/shared/my run"}
    line = [LAUNCH / "tpu_slice.sh", "--config.data.size=(64,96)"]
    said = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    flags = said.stdout.splitlines()
    assert {"--config.data.size=(64,96)", "--workdir=/shared/my run", "--coordinator=auto"} <= set(flags)


def test_auto_lets_jax_find_the_others(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given: asked.append(given))
    distributed.initialize("auto")
    assert asked == [()]
    with pytest.raises(UserError, match="--coordinator"):
        distributed.initialize("auto", 2, 0)


def test_an_unreachable_metadata_server_is_one_line(monkeypatch):
    def refused():
        raise ConnectionError("metadata.google.internal")

    monkeypatch.setattr(jax.distributed, "initialize", refused)
    with pytest.raises(UserError, match=r"cannot join the other processes .*metadata\.google"):
        distributed.initialize("auto")
