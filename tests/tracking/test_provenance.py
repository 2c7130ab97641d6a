import json
import subprocess

from gensweep.tracking.provenance import command_line, git_state, provenance_tags, versions

SECRET = "q9Zk3vB7xW2mN8pL"


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
