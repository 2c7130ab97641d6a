"""Digits of 8 px as pictures, scored from the command line."""

import json
from unittest.mock import patch

from PIL import Image

from gensweep.cli.main import run

COUNT = 12


def write(folder, images):
    """Grey pictures (n, h, w), one file each."""
    folder.mkdir(parents=True)
    for index, pixels in enumerate(images):
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    return folder


def real_digits():
    import untrained

    from gensweep.build.parts import load_images

    return load_images(untrained.config("gan")).pixels[:, 0].numpy()


def evaluate(capsys, *arguments, code=0):
    """Rows of the JSON and lines of stderr; with another code, the problems."""
    capsys.readouterr()
    words = ["evaluate-images", *map(str, arguments), "--format", "json"]
    with patch("sys.argv", ["gensweep", *words]):
        assert run(words) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return (json.loads(out) if code == 0 else out), err


def compared(capsys, *arguments):
    capsys.readouterr()
    assert run(["best", "--compare", *arguments, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    return {entry["sweep"]: entry for entry in json.loads(out)["entries"]}, err
