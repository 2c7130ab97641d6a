"""`make gpu` runs to its end, here on a CPU, with no more than the packages that it installs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: Dependencies of gensweep that `make gpu` does not install.
MISSING = ["fsspec", "matplotlib", "mlflow", "optuna", "pyarrow", "ray", "rich", "sklearn", "torchvision"]
RUN = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({MISSING}))
sys.argv = ["gpu.py", *sys.argv[1:]]
sys.path.insert(0, "benchmarks")
runpy.run_path("benchmarks/gpu.py", run_name="__main__")
"""


def run(out, *options):
    small = ["--device", "cpu", "--width", "32", "--batch", "2", "--seconds", "3000", "--out", str(out)]
    ended = subprocess.run([sys.executable, "-c", RUN, *small, *options], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(out.read_text())
    assert result["left_out"] == []
    assert all(check["passed"] or check["name"].endswith("no step waits") for check in result["checks"])
    return result


@pytest.mark.slow
def test_it_checks_every_family_and_measures_every_width(tmp_path):
    result = run(tmp_path / "result.json", "--mode", "none")
    names = [check["name"] for check in result["checks"]]
    assert {"vdm: samples", "gan: resume", "diffusion: data-parallel, 2 processes", "width 32: memory"} <= set(names)
    (speed,) = result["speed"]
    assert [row["name"] for row in speed["whole_steps"]] == ["whole step, none"]
    assert {row["name"].partition(",")[0] for row in speed["plain_steps"]} == {"gensweep", "diffusers"}
    assert all(share > 0 for share in speed["share_of_matrix_product"].values())
    assert speed["best_against_best_of_diffusers"] > 0
