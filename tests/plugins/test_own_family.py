"""A family from a plug-in, without the sections that the families of the package have, and a target of its own."""

import sys
from pathlib import Path

import pytest
import untrained

from gensweep import plugins
from gensweep.build.costs import TrialCosts
from gensweep.cli.main import run
from gensweep.config import TrialConfig
from gensweep.errors import ConfigError


@pytest.fixture
def checkpoint(here):
    assert run(["new", "family", "pixelwise"]) == 0
    plugins.load("pixelwise.py")
    sections = {"plugins": ["pixelwise.py"], "family": {"kind": "pixelwise"}}
    return untrained.checkpoint(here, TrialConfig.from_dict(untrained.DIGITS | sections))


def test_a_family_without_a_network_section_is_exported(checkpoint):
    assert run(["export", str(checkpoint), "--to", "safetensors", "-o", "out"]) == 0
    card = Path("out/README.md").read_text()
    assert "- Network: Pixels, 128 parameters" in card
    assert run(["sample", "./out", "-n", "2", "-o", "images.png"]) == 0


def test_a_budget_of_operations_needs_some_that_count(checkpoint):
    trial = TrialConfig.from_dict(untrained.DIGITS | {"family": {"kind": "pixelwise"}})
    with pytest.raises(ConfigError, match="no layer of this family counts"):
        TrialCosts().with_length(trial, 1e9)


def test_a_refused_target_names_those_that_work(checkpoint, capsys):
    assert run(["export", str(checkpoint), "--to", "diffusers", "-o", "out"]) == 2
    assert capsys.readouterr().err.endswith("choose --to safetensors or onnx\n")
    assert not Path("out").exists()
    assert run(["export", str(checkpoint), "--to", "onnx", "-o", "out"]) == 0
    assert 'generator.run(None, {"z": z})' in Path("out/README.md").read_text()


def test_an_installed_package_adds_a_target_of_export(checkpoint, bought, monkeypatch):
    text = "def write(model, folder):\n    (folder / 'a.txt').write_text('a')\n    return {'usage': 'Read it.'}\n"
    bought(text, "gensweep.export_targets", "bought:write")
    monkeypatch.delitem(sys.modules, "gensweep.extras.exporting.export_command", raising=False)
    assert run(["export", str(checkpoint), "--to", "any", "-o", "out"]) == 0
    assert Path("out/a.txt").read_text() == "a"
    assert "## Use\n\nRead it.\n" in Path("out/README.md").read_text()
