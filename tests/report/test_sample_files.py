"""Grids of drawn images name the classes; folders hold the images in their order."""

import numpy as np
import pytest
import torch
from PIL import Image

from gensweep.errors import ConfigError
from gensweep.report.sample_files import check_output, write_pictures
from gensweep.training.result_files import write_class_grid


def test_a_grid_has_class_names_and_a_folder_the_images(tmp_path):
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
    with pytest.raises(ConfigError, match="is a folder; name another"):
        check_output(tmp_path / "pictures.png", 4)
    with pytest.raises(ConfigError, match=r"must end in \.png"):
        check_output(tmp_path / "grid.jpg", 4)


def test_pictures_that_would_stay_beside_the_new_ones_are_refused(tmp_path):
    folder = tmp_path / "drawn"
    write_pictures(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), folder)
    (folder / "notes.txt").write_text("mine")
    check_output(folder, 6)
    with pytest.raises(ConfigError, match=r"already holds pictures, such as 000003\.png, which would mix with 3 new"):
        check_output(folder, 3)
    (folder / "cats").mkdir()
    (folder / "cats" / "000000.png").touch()
    with pytest.raises(ConfigError, match=r"such as cats/000000\.png"):
        check_output(folder, 6)
    check_output(folder / "grid.png", 3)
