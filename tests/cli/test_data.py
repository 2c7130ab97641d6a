import csv
import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from gensweep.cli.main import run
from gensweep.data import cifar10


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A tiny CIFAR-10 in the official layout, that the program takes for the real one."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in cifar10.SHA256:
        data = np.zeros((10, 3073), dtype=np.uint8)
        data[:, 0] = np.arange(10)
        (folder / name).write_bytes(data.tobytes())
        monkeypatch.setitem(cifar10.SHA256, name, hashlib.sha256(data.tobytes()).hexdigest())
    monkeypatch.setattr(cifar10, "RECORDS", 10)
    return folder


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def test_fetch_prints_where_the_data_lie_and_the_second_call_nothing_else(official, cache, capsys):
    assert run(["data", "fetch", "cifar10", "--from", str(official)]) == 0
    first = capsys.readouterr()
    assert lines(first.out) == [str(cache / "cifar10")]
    assert lines(first.err) == [f"cifar10 came from {official}"]
    assert run(["data", "fetch", "cifar10"]) == 0
    assert capsys.readouterr() == (first.out, "")


def test_list_tells_what_is_here(official, capsys):
    def states():
        assert run(["data", "list", "--format", "json"]) == 0
        return {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}

    before = states()
    assert before["digits"] == "ready"
    assert before["image_folder"] == "your own"
    assert before["cifar10"] == "run: gensweep data fetch cifar10"
    assert run(["data", "fetch", "cifar10", "--from", str(official)]) == 0
    capsys.readouterr()
    assert states()["cifar10"] == "ready"


def test_a_damaged_file_is_named_and_listed(official, cache, capsys):
    run(["data", "fetch", "cifar10", "--from", str(official)])
    (cache / "cifar10" / "data_batch_5.bin").write_bytes(b"junk")
    capsys.readouterr()
    assert run(["data", "show", "cifar10"]) == 1
    (line,) = lines(capsys.readouterr().err)
    assert line.startswith("Error: ")
    assert "data_batch_5.bin is damaged" in line
    assert line.endswith("run: gensweep data fetch cifar10")
    assert run(["data", "list"]) == 0
    assert "damaged; run: gensweep data fetch cifar10" in capsys.readouterr().out


def test_show_counts_classes_in_every_format(capsys):
    arguments = ["data", "show", "digits", "--class", "3", "--class", "1", "--size", "8"]
    assert run([*arguments, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "digits/train"
    assert told["shape"] == [1, 8, 8]
    assert told["classes"] == [{"class": "3", "images": 146}, {"class": "1", "images": 145}]
    assert len(told["fingerprint"]) == 64
    assert run([*arguments, "--format", "csv"]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out))) == [["class", "images"], ["3", "146"], ["1", "145"]]
    assert run(arguments) == 0
    table = capsys.readouterr().out
    assert "291 images of 1 x 8 x 8" in table
    assert told["fingerprint"] in table
    assert "mirror images are not in training" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "digit"], "'digit' is not a data set or a folder; did you mean 'digits'?"),
        (["show", "digits", "--class", "10"], "'10' is not a class of digits"),
        (["show", "digits", "--limit", "0"], "digits: limit: 0 is not a whole number >= 1 or null"),
        (["show", "digits", "-o", "a.txt"], "the name must end in .png"),
        (["show", "cifar10"], "run: gensweep data fetch cifar10"),
        (["show", "."], "it has no picture for training"),
        (["fetch", "cifar10", "--from", "."], "has no CIFAR-10"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_2(arguments, message, capsys):
    assert run(["data", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = lines(told.err)
    assert message in line


def test_data_show_and_a_sweep_say_the_same_of_what_is_skipped(tmp_path, capsys):
    import untrained

    from gensweep.build.parts import check_inputs

    folder = tmp_path / "it's 100% #1"
    folder.mkdir()
    for index in range(400):
        Image.new("RGB", (8, 8), (index % 256, 0, 0)).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    (folder / "away.png").symlink_to("/etc/hostname")
    run(["data", "show", str(folder), "--size", "8"])
    shown = capsys.readouterr()
    data = {"kind": "image_folder", "path": str(folder), "size": 8}
    notes = check_inputs([untrained.config("gan").with_overrides({"data": data})])
    assert any("broken.png" in note for note in notes)
    assert any("away.png" in note for note in notes)
    for note in notes:
        assert note in shown.out + shown.err
