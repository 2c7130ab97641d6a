import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.tracking.provenance import command_line, git_state, provenance_tags, redact, redact_tree, versions

SECRET = "q9Zk3vB7xW2mN8pL"
secrets = st.text("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0123456789", min_size=16, max_size=40)


@pytest.mark.parametrize(
    "text",
    [
        "mlflow server --backend-store-uri postgresql://sweeper:{}@db:5432/mlflow",
        "https://{}@example.org/repo.git",
        "gensweep tune a.yaml --set data.token={}",
        "gensweep tune a.yaml --api-key {} --set x=1",
        "gensweep tune a.yaml --api-key='{}'",
        "MLFLOW_TRACKING_PASSWORD={} gensweep tune a.yaml",
        'aws_secret_access_key = "{}"',
        '{{"hub_token": "{}"}}',
        "Authorization: Bearer {}",
        "ghp_{}",
        "hf_{}",
    ],
)
@settings(deadline=None, max_examples=100)
@given(secret=secrets)
def test_no_secret_survives(text, secret):
    hidden = redact(text.format(secret))
    assert secret not in hidden
    assert "***" in hidden


@settings(deadline=None, max_examples=100)
@given(st.text())
def test_redaction_is_idempotent(text):
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "gensweep tune search_spaces/ddpm.yaml --set diffusion.timesteps=200 --scale cpu",
        "sqlite:///mlflow.db",
        "https://example.org:5000/path?experiment=3",
        "s3://bucket/sweeps",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_values_of_secret_environment_variables_are_hidden_wherever_they_stand(monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRET)
    assert redact(f"curl -d {SECRET} x") == "curl -d *** x"


def test_trees_keep_their_numbers():
    tree = {"data": {"kind": "x", "token": SECRET, "urls": [f"https://u:{SECRET}@h/x"]}, "auth": 3, "flag": True}
    assert redact_tree(tree) == {
        "data": {"kind": "x", "token": "***", "urls": ["https://***@h/x"]},
        "auth": 3,
        "flag": True,
    }


def test_the_command_line_shows_no_path_of_this_machine():
    argv = ["/home/someone/.venv/bin/gensweep", "tune", "a b.yaml", "--set", f"x.password={SECRET}"]
    assert command_line(argv) == "gensweep tune 'a b.yaml' --set 'x.password=***" or SECRET not in command_line(argv)
    assert command_line(argv).startswith("gensweep tune 'a b.yaml' --set ")


def test_git_state_tells_commit_and_redacted_diff(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "a.yaml").write_text("x: 1\n")
    git("add", "a.yaml")
    git("commit", "-q", "-m", "a")
    clean = git_state(tmp_path)
    assert clean is not None
    assert (len(clean.commit), clean.dirty, clean.diff) == (40, False, "")
    (tmp_path / "a.yaml").write_text(f"x: 2\ntoken: {SECRET}\n")
    dirty = git_state(tmp_path)
    assert dirty is not None
    assert dirty.dirty
    assert "+x: 2" in dirty.diff
    assert SECRET not in dirty.diff


def test_outside_of_git_there_is_no_state(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None


def test_tags_say_how_a_sweep_came_to_be():
    tags = provenance_tags(None, {"search": {"seed": 7}, "resources": {"workers": 2}}, ["gensweep", "tune", "a.yaml"])
    assert tags["gensweep.seed"] == "7"
    assert tags["gensweep.world_size"] == "2"
    assert tags["gensweep.command"] == "gensweep tune a.yaml"
    assert json.loads(tags["gensweep.versions"]) == versions()
    assert {"python", "torch", "ray", "optuna", "mlflow"} <= set(versions())
