"""Grids of drawn images name the classes; folders hold the images in their order."""

import numpy as np
import torch
from PIL import Image

from gensweep.report.sample_files import write_pictures
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
