"""The script of experiments/evening, from pictures to an exported model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits

SCRIPT = Path(__file__).parent.parent / "experiments" / "evening" / "evening.sh"


@pytest.mark.slow
def test_the_evening_script_ends_with_a_model(tmp_path):
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if label < 2:
            folder = tmp_path / "photos" / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels * 15).astype("uint8")).resize((16, 16)).save(folder / f"{number}.png")
    environment = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [SCRIPT, "photos", "6min", "3min"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("live.html", "verdict.html", "best.yaml", "samples.png", "model/state.safetensors"):
        assert (tmp_path / name).stat().st_size > 0
