import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gensweep.redaction import holds_secret, redact, redact_tree

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
        "az://c/photos?account_name=me&account_key={}",
        "az://c?connection_string=AccountName=me;AccountKey={};EndpointSuffix=core",
        "https://me.blob.core.windows.net/c/photos?sv=2024&sig={}",
        "s3://b/photos?access_key=me&secret_key={}",
        "MINIO_SECRET_KEY={}",
        "storage_key: {}",
        "shared-key={}",
        "encryption_key={}",
        "signing_key={}",
        "smb://host/photos?pwd={}",
        "passcode={}",
        "ghp_{}",
        "hf_{}",
    ],
)
@settings(deadline=None, max_examples=100)
@given(secret=secrets)
def test_no_secret_survives(text, secret):
    assert holds_secret(text.format(secret))
    hidden = redact(text.format(secret))
    assert secret not in hidden
    assert "***" in hidden


@pytest.mark.parametrize("password", ["p@ss", "pa/ss", "pa'ss", 'pa"ss', "p?a#s:s", "p@a/s:s@w", "12345"])
@pytest.mark.parametrize("user", ["me", "me@example.org", ""])
def test_a_password_in_a_url_may_hold_anything(user, password):
    url = f"postgresql://{user}:{password}@db:5432/mlflow"
    assert holds_secret(url)
    told = "{} cannot be reached, ask it@example.org; or https://example.org:80/@help"
    assert redact(told.format(url)) == told.format("postgresql://***@db:5432/mlflow")


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
        "https://example.org/@me/a:b@c and http://[::1]:5000/@me",
        "http://localhost:5000/@me ['http://localhost:5000','me@example.org']",
        "s3://bucket/signal/photos?key=cats",
        "keyboard=qwerty key=1 sigma=0.5 signature=round sig=3 monkey=ape",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text
    assert not holds_secret(text)


def test_values_of_secret_environment_variables_are_hidden(monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRET)
    assert redact(f"curl -d {SECRET} x") == "curl -d *** x"


def test_the_folders_of_a_shell_are_no_secrets(monkeypatch):
    for name, value in (("PWD", "/home/me/work"), ("OLDPWD", "/home/me/older"), ("MYSQL_PWD", SECRET)):
        monkeypatch.setenv(name, value)
    assert redact(f"/home/me/work/a.yaml /home/me/older {SECRET}") == "/home/me/work/a.yaml /home/me/older ***"


def test_trees_keep_their_numbers():
    tree = {"data": {"kind": "x", "token": SECRET, "urls": [f"https://u:{SECRET}@h/x"]}, "auth": 3, "flag": True}
    assert redact_tree(tree) == {
        "data": {"kind": "x", "token": "***", "urls": ["https://***@h/x"]},
        "auth": 3,
        "flag": True,
    }


def test_a_name_that_is_no_utf_8_can_be_written():
    name = b"b\xe9d.png".decode("utf-8", "surrogateescape")
    assert redact(f"{name} is damaged") == "b\\udce9d.png is damaged"
    assert redact_tree({"classes": [name]}) == {"classes": ["b\\udce9d.png"]}
