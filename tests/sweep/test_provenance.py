import json
import subprocess

from gensweep.sweep.provenance import command_line, git_state, provenance_tags, versions

SECRET = "q9Zk3vB7xW2mN8pL"


def test_the_command_line_shows_neither_path_nor_secret(monkeypatch):
    argv = ["/home/someone/.venv/bin/gensweep", "tune", "a b.yaml", "--set", f"x.password={SECRET}"]
    monkeypatch.setattr("sys.argv", argv)
    assert command_line().startswith("gensweep tune 'a b.yaml' --set ")
    assert SECRET not in command_line()


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
    assert (len(clean.commit), clean.diff) == (40, "")
    (tmp_path / "a.yaml").write_text(f"x: 2\ntoken: {SECRET}\n")
    dirty = git_state(tmp_path)
    assert dirty is not None
    assert "+x: 2" in dirty.diff
    assert SECRET not in dirty.diff


def test_tags_say_how_a_sweep_came_to_be():
    tags = provenance_tags(None, {"search": {"seed": 7}, "resources": {"workers": 2}})
    assert tags["gensweep.seed"] == "7"
    assert tags["gensweep.world_size"] == "2"
    assert json.loads(tags["gensweep.versions"]) == versions()
    assert {"python", "torch", "ray", "optuna", "mlflow"} <= set(versions())
