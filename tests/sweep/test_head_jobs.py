"""What the head is asked to run, run by its shell; a whole sweep there: tests/cli/test_on_cluster.py."""

import subprocess
from types import SimpleNamespace

import pytest

from gensweep.errors import ConfigError, GensweepError
from gensweep.sweep import head_jobs

PROGRAM = """#!/bin/sh
echo "$COLUMNS|$PWD|$*"
echo "a warning" >&2
exit 3
"""


class Head:
    """Runs the entrypoints of jobs at once, with a gensweep that notes how it was called."""

    def __init__(self, home):
        self.home = home
        self.jobs = {}
        (home / "bin").mkdir()
        (home / "bin" / "gensweep").write_text(PROGRAM)
        (home / "bin" / "gensweep").chmod(0o755)

    def submit_job(self, *, entrypoint, submission_id, metadata):
        environment = {"HOME": str(self.home), "PATH": f"{self.home}/bin:/usr/bin:/bin"}
        command = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": environment}
        self.jobs[submission_id] = subprocess.run(["sh", "-c", entrypoint], **command)

    def get_job_info(self, job):
        status = SimpleNamespace(is_terminal=lambda: True)
        return SimpleNamespace(status=status, driver_exit_code=self.jobs[job].returncode, message="")

    def get_job_logs(self, job):
        # Ray writes its line from another process.
        return self.jobs[job].stdout.replace(
            "a warning", f"Running entrypoint for job {job}: {self.jobs[job].args[2]}\na warning"
        )

    def delete_job(self, job):
        del self.jobs[job]


@pytest.fixture
def head(tmp_path, monkeypatch):
    made = Head(tmp_path)
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", lambda: made)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:8265")
    return made


def test_a_command_runs_in_the_folder_of_the_head_and_its_outputs_stay_apart(head):
    answer = head_jobs.run_on_head(["best", "--try", "steps=10,20 ema=1"], columns=99)
    assert answer == head_jobs.HeadAnswer(3, f"99|{head.home}/results|best --try steps=10,20 ema=1\n", "a warning\n")
    assert head.jobs == {}, "a look leaves no job behind"


def test_a_search_space_travels_with_its_command_whatever_is_written_in_it(head, tmp_path):
    space = tmp_path / "it's a space.yaml"
    space.write_text('name: x  # it\'s "$HOME" `id` \\n é\n')
    job = head_jobs.submit(["tune", head_jobs.path_on_head(space)], name="x", file=space)
    assert job.startswith("gensweep-x-")
    assert (head.home / "results" / head_jobs.path_on_head(space)).read_text() == space.read_text()
    assert f"tune {head_jobs.path_on_head(space)}" in head.jobs[job].stdout
    assert head.jobs[job].returncode == 3, "the job fails as gensweep does"


def test_a_head_without_gensweep_is_told_from_a_command_that_fails(head, monkeypatch):
    monkeypatch.setattr(head, "get_job_logs", lambda job: "runtime environment could not be made")
    with pytest.raises(GensweepError, match="could not be made"):
        head_jobs.run_on_head(["trials"])


def test_without_an_address_or_an_answer_the_user_learns_how_to_get_one(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=r"ray attach cluster\.yaml -p 8265"):
        head_jobs.run_on_head(["trials"])
