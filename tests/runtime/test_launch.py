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
STOPS_WHEN_TOLD = "#!/usr/bin/env bash\ntrap 'kill $!; exit 0' TERM\ntouch started\nsleep 60 &\nwait\n"
REMOTE_SHELL = '#!/usr/bin/env bash\nmkdir -p microgen-jax\nlast=${!#}\nbash -c "${last#--command=}"\n'
COUNTS = "#!/usr/bin/env bash\necho start >> starts\nexit $(sed -n $(wc -l < starts)p statuses)\n"


def program(folder: Path, name: str, text: str) -> dict[str, str]:
    """An environment in which `name` is a script of this text."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def pod() -> list[str]:
    """The command of the JobSet's pods."""
    (job,) = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    return [*container["command"], *container["args"]]


def test_a_pod_that_is_told_to_stop_fails_so_that_the_set_starts_again(tmp_path):
    environment = program(tmp_path, "python", STOPS_WHEN_TOLD) | {"WORKDIR": "gs://bucket/run"}
    process = subprocess.Popen(pod(), env=environment, cwd=tmp_path)
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) != 0


def starts(tmp_path: Path, line: list, *statuses: int) -> tuple[int, int]:
    """Run a script whose program ends with these statuses, one a start; return its status and how often it started."""
    (tmp_path / "statuses").write_text("".join(f"{status}\n" for status in statuses))
    environment = program(tmp_path, "python", COUNTS) | {"WORKDIR": "gs://bucket/run", "SLURM_JOB_ID": "7"}
    environment |= {"TPU": "slice", "ZONE": "zone"}
    program(tmp_path, "srun", '#!/usr/bin/env bash\nshift\nexec "$@"\n')
    program(tmp_path, "scontrol", '#!/usr/bin/env bash\necho "$@" > requeued\n')
    program(tmp_path, "gcloud", REMOTE_SHELL)
    ended = subprocess.run(line, env=environment, cwd=tmp_path, timeout=60, check=False)
    return ended.returncode, len(next(tmp_path.rglob("starts")).read_text().splitlines())


@pytest.mark.parametrize("status", [0, 2, 75])
def test_a_pod_ends_with_the_run_s_status(tmp_path, status):
    assert starts(tmp_path, pod(), status) == (status, 1)


def test_the_set_starts_again_but_for_what_is_to_be_mended_by_hand():
    spec = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())["spec"]
    (rule,) = spec["replicatedJobs"][0]["template"]["spec"]["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [UserError.exit_status])
    assert spec["failurePolicy"]["maxRestarts"] > 0
    assert spec["failurePolicy"]["rules"][0]["action"] == "FailJobSet"


@pytest.mark.parametrize(("statuses", "expected"), [((75, 75, 0), (0, 3)), ((2,), (2, 1)), ((0,), (0, 1))])
def test_one_host_starts_again_on_75_alone(tmp_path, statuses, expected):
    assert starts(tmp_path, [LAUNCH / "one_host.sh"], *statuses) == expected


@pytest.mark.parametrize(("status", "again"), [(75, True), (2, False), (0, False)])
def test_a_slurm_job_is_requeued_on_75_alone(tmp_path, status, again):
    assert starts(tmp_path, ["bash", LAUNCH / "slurm.sbatch"], status) == (status, 1)
    assert (tmp_path / "requeued").exists() is again


@pytest.mark.parametrize(
    ("statuses", "expected"), [((75, 134, 0), (0, 3)), ((2,), (2, 1)), ((1,) * 11, (1, 10))]
)
def test_hosts_of_a_slice_start_again_ten_times_at_most(tmp_path, statuses, expected):
    (tmp_path / "microgen-jax").mkdir()
    (tmp_path / "microgen-jax" / "statuses").symlink_to(tmp_path / "statuses")
    assert starts(tmp_path, [LAUNCH / "tpu_slice.sh"], *statuses) == expected


def test_the_tpu_script_starts_processes_that_join_and_keeps_quoted_values(tmp_path):
    environment = program(tmp_path, "gcloud", REMOTE_SHELL)
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
