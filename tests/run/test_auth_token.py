"""The file with the token of a Ray cluster."""

import sys

import pytest
from mounts import needs_mounts, read_only, run_mounted

from gensweep.run.cluster import close_token_file


@pytest.fixture
def token(tmp_path, monkeypatch):
    file = tmp_path / "auth_token"
    file.write_text("secret")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    return file


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o602, 0o777])
def test_a_token_that_others_can_read_or_write_is_closed_and_it_is_said(token, rights, caplog):
    token.chmod(rights)
    close_token_file()
    assert token.stat().st_mode & 0o777 == 0o600
    assert f"others could read {token}" in caplog.text
    assert "secret" not in caplog.text


def test_closed_token_files_and_files_ray_ignores_stay_unchanged(token, caplog, monkeypatch):
    token.chmod(0o400)
    close_token_file()
    assert token.stat().st_mode & 0o777 == 0o400
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    close_token_file()
    assert token.stat().st_mode & 0o777 == 0o644
    assert caplog.text == ""


@needs_mounts
def test_one_that_cannot_be_closed_is_refused(token):
    token.chmod(0o644)
    code = "from gensweep.run.cluster import close_token_file; close_token_file()"
    done = run_mounted([read_only(token.parent)], [sys.executable, "-c", code])
    assert done.returncode == 1
    assert f"run: chmod 600 {token}" in done.stderr
