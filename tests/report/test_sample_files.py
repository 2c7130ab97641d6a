"""Grids of drawn images name the classes; folders hold the images in their order."""

import sys

import numpy as np
import pytest
import torch
from mounts import needs_mounts, read_only, run_mounted, small
from PIL import Image

from gensweep.errors import ConfigError
from gensweep.report.sample_files import check_output, write_pictures
from gensweep.training.class_grid import write_class_grid


def test_a_grid_of_all_classes_has_their_names_and_a_folder_the_images_as_drawn(tmp_path):
    labels, names = torch.tensor([0, 1, 0, 1]), ["ant", "bee"]
    images = torch.randint(256, (4, 1, 8, 8), dtype=torch.uint8)
    assert write_pictures(images, tmp_path / "new" / "grid.png", classes=(labels, names)) == [
        tmp_path / "new" / "grid.png"
    ]
    write_class_grid(images, labels, names, tmp_path / "expected.png")
    assert (tmp_path / "new" / "grid.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    files = write_pictures(images, tmp_path / "each", classes=(labels, names))
    assert [np.asarray(Image.open(file)).tolist() for file in files] == images[:, 0].tolist()


def test_a_folder_is_one_whatever_it_is_called_and_a_file_ends_in_png(tmp_path):
    for name in ("v1.0", "pictures.png"):
        (tmp_path / name).mkdir()
    check_output(tmp_path / "v1.0", 4)
    check_output(tmp_path / "new", 4)
    check_output(tmp_path / "grid.PNG", 4)
    with pytest.raises(ConfigError, match="it is a folder"):
        check_output(tmp_path / "pictures.png", 4)
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        check_output(tmp_path / "grid.jpg", 4)


def test_pictures_that_would_stay_beside_the_new_ones_are_refused(tmp_path):
    folder = tmp_path / "drawn"
    write_pictures(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), folder)
    (folder / "notes.txt").write_text("mine")
    check_output(folder, 6)
    with pytest.raises(ConfigError, match=r"it holds other pictures, such as 000003\.png, among which these 3 would"):
        check_output(folder, 3)
    (folder / "cats").mkdir()
    (folder / "cats" / "000000.png").touch()
    with pytest.raises(ConfigError, match=r"such as cats/000000\.png"):
        check_output(folder, 6)
    check_output(folder / "grid.png", 3)


#: Writes noise to each of the first names and prints what is said of a disk that is full, then checks the others.
PROGRAM = """
import sys
from pathlib import Path
import torch
from gensweep.causes import plain_cause
from gensweep.errors import GensweepError
from gensweep.report.sample_files import check_output, write_pictures
images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
for name in sys.argv[1:3]:
    try:
        write_pictures(images, Path(name))
    except OSError as error:
        print(plain_cause(error))
for name in sys.argv[3:]:
    try:
        check_output(Path(name), 4)
    except GensweepError as error:
        print(error)
"""


@pytest.mark.trains
@needs_mounts
def test_a_full_disk_is_noticed_and_the_file_named_and_a_read_only_one_before_anything_is_drawn(tmp_path):
    full, fixed = tmp_path / "full", tmp_path / "fixed"
    outputs = [folder / name for folder in (full, fixed) for name in ("grid.png", "folder")]
    full.mkdir()
    fixed.mkdir()
    done = run_mounted([small(full, 4), read_only(fixed)], [sys.executable, "-c", PROGRAM, *map(str, outputs)])
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    for line, named in zip(lines[:2], ("grid.png", "folder/000000.png"), strict=True):
        assert line.startswith(f"no space is left for {full / named} (0 MiB are free)")
    for line, output in zip(lines[2:], outputs[2:], strict=True):
        assert line.startswith(f"--output {output}: {fixed}")
        assert "its file system is read-only" in line
