"""Plug-ins: modules and files outside of this repository that add kinds, used as a person uses them."""

import gc
import importlib
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import untrained
import yaml
from made_up import empty_store
from typed_commands import call, start

import gensweep
from gensweep import plugins, registry
from gensweep.cli.main import run
from gensweep.config import load_sweep, load_trial
from gensweep.diffusion.schedules import SCHEDULES
from gensweep.errors import ConfigError
from gensweep.plugins import Plugin
from gensweep.registry import Registry
from gensweep.remote_folder import below
from gensweep.sweep.carried import Carried
from gensweep.sweep.head_jobs import _entrypoint
from gensweep.tracking.provenance import changed_plugins, provenance_tags

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"
SCHEDULE = '''
import torch
from gensweep.diffusion.schedules import SCHEDULES

@SCHEDULES.register("{kind}")
def {kind}(timesteps: int, *, rate: float = 5.0) -> torch.Tensor:
    """Alpha_bar that decays exponentially."""
    return torch.exp(-rate * torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps)
'''


def trial_with(kind, **more):
    return {"family": {"kind": "diffusion"}, "diffusion": {"schedule": {"kind": kind}}, **more}


@pytest.fixture(scope="module")
def registries():
    """All registries of the package."""
    gc.unfreeze()  # get_objects() leaves out what conftest.py froze
    found = [each for each in gc.get_objects() if type(each) is Registry and each._package.startswith("gensweep")]
    gc.freeze()
    return found


@pytest.fixture
def here(registries, tmp_path, monkeypatch):
    """An empty current folder; what is imported from it is gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(plugins, "_loaded", dict(plugins._loaded))
    kinds = [{kind: each[kind] for kind in each} for each in registries]
    before = set(sys.modules)
    yield tmp_path
    for each, items in zip(registries, kinds, strict=True):
        each._items = items
    for forget in registry._forget:
        forget()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_file_is_a_plugin_and_its_parameters_are_settings(here):
    Path("mine.py").write_text(SCHEDULE.format(kind="steady"))
    trial = load_trial(trial_with("steady", plugins="mine.py"), overrides={"diffusion.schedule.rate": 4.0})
    assert (trial.plugins, trial.flat()["diffusion.schedule.rate"]) == (("mine.py",), 4.0)
    assert SCHEDULES.kinds()[-1] == "steady"
    with pytest.raises(ConfigError, match=r"schedule\.rate: 'a'"):
        load_trial(trial_with("steady", plugins=["mine.py"]), overrides={"diffusion.schedule.rate": "a"})


def test_a_module_that_was_imported_otherwise_is_recorded_where_it_is_used(here):
    Path("by_hand.py").write_text(SCHEDULE.format(kind="handmade"))
    plugins.load("by_hand.py")
    plain = load_trial(trial_with("linear"))
    assert "plugins" not in plain.as_dict()
    space = {"name": "a", "base": trial_with("linear"), "space": {}}
    space["space"]["diffusion.schedule.kind"] = {"choice": ["linear", "handmade"]}
    sweep = load_sweep(space, overrides={"search.trials": 2})
    assert sweep.plugins == ("by_hand.py",)
    assert sweep.trial({"diffusion.schedule.kind": "linear"}).plugins == ("by_hand.py",)


def test_a_package_in_the_current_folder_is_covered_by_its_name(here):
    Path("bought").mkdir()
    Path("bought/__init__.py").write_text("from bought import schedules")
    Path("bought/schedules.py").write_text(SCHEDULE.format(kind="bought"))
    Path("bought/table.json").write_text("[]")
    assert load_trial(trial_with("bought", plugins=["bought"])).plugins == ("bought",)
    (plugin,) = (each for each in plugins.loaded() if each.module == "bought")
    assert set(plugin.files) == {"bought/__init__.py", "bought/schedules.py", "bought/table.json"}


@pytest.mark.parametrize(
    ("file", "text", "name", "message"),
    [
        (None, "", "nowhere.mine", "plug-in nowhere.mine: there is no module nowhere, neither installed nor in "),
        (None, "", "gone.py", "plug-in gone.py: there is no such file, seen from "),
        (None, "", "a b", "plug-in 'a b': name a module, such as my_package.schedules, or a file, such as mine.py"),
        ("json.py", "", "json.py", "plug-in json.py: json is the name of another module ("),
        ("bad.py", "1 / 0", "bad.py", "plug-in bad.py: importing it raises ZeroDivisionError: division by zero ("),
        ("torn.py", "def f(:", "torn", "plug-in torn: importing it raises SyntaxError: "),
        ("needy.py", "import not_there", "needy", "plug-in needy: it imports not_there, which is not installed"),
        (
            "again.py",
            SCHEDULE.format(kind="cosine"),
            "again.py",
            "plug-in again.py: 'cosine' is the name of another schedule, that of gensweep.diffusion.schedules",
        ),
        ("leaving.py", "raise SystemExit(3)", "leaving.py", "plug-in leaving.py: importing it raises SystemExit: 3 ("),
    ],
)
def test_what_is_no_plugin_is_told_in_a_line(here, capsys, file, text, name, message):
    if file is not None:
        Path(file).write_text(text)
    Path("trial.yaml").write_text(yaml.safe_dump({"plugins": [name], **trial_with("cosine")}, sort_keys=False))
    assert run(["config", "validate", "trial.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: trial.yaml:2: plugins: {message}")
    assert run(["config", "show", "trial.yaml", "--set", "plugins=[]", "--import", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith((f"Error: {message}", "Error: trial.yaml:2: plugins: "))
    assert SCHEDULES["cosine"].__module__ == "gensweep.diffusion.schedules"


def test_a_setting_without_a_type_is_told_in_a_line(here):
    Path("vague.py").write_text(SCHEDULE.format(kind="vague").replace("rate: float", "rate"))
    with pytest.raises(ConfigError, match=r"vague\.vague: rate needs a type"):
        load_trial(trial_with("vague", plugins=["vague.py"]))


def test_data_stay_out_of_what_goes_to_workers(here, monkeypatch):
    monkeypatch.setattr(plugins, "MAX_BYTES", 1000)
    Path("heavy").mkdir()
    Path("heavy/__init__.py").write_text("")
    Path("heavy/weights.bin").write_bytes(bytes(1001))
    with pytest.raises(ConfigError, match=r"plug-in heavy: .*heavy holds more than .* keep data out of the package"):
        plugins.load("heavy")


def test_a_function_of_a_script_is_refused_and_one_that_is_defined_again_replaces_itself(here):
    scope = {"__name__": "__main__"}
    for rate in ("5.0", "7.0"):
        exec(SCHEDULE.format(kind="typed_in").replace("5.0", rate), scope)
    assert SCHEDULES["typed_in"] is scope["typed_in"]
    with pytest.raises(ConfigError, match="typed_in is registered in a script or notebook, which workers cannot"):
        load_trial(trial_with("typed_in"))


@pytest.mark.trains
def test_code_goes_with_a_value_to_a_process_that_lacks_it(here, tmp_path_factory):
    """The receiving process has neither the folder nor the file, and gets the code as it was when it was loaded."""
    Path("mine.py").write_text(SCHEDULE.format(kind="carried"))
    carried = Carried(load_trial(trial_with("carried", plugins=["mine.py"])))
    Path("mine.py").write_text("raise RuntimeError('changed since')")
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).open().hash(), sys.modules['mine'].__file__)"
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    cache = elsewhere / "cache"
    root = str(Path(gensweep.__file__).parents[1])
    environment = {**os.environ, "GENSWEEP_CACHE": str(cache), "PYTHONPATH": root}
    mine = [plugin for plugin in plugins.loaded() if plugin.module == "mine"]
    carried._plugins = tuple(mine)
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(carried), cwd=elsewhere, env=environment, capture_output=True
    )
    hashed, _, file = done.stdout.decode().strip().partition(" ")
    assert hashed == load_trial(trial_with("carried", plugins=["mine.py"])).hash(), done.stderr.decode()
    assert Path(file).parent == cache / "plugins" / mine[0].sha256[:16]


def test_changed_code_is_noticed_by_its_hash(here, monkeypatch):
    def tags(text):
        monkeypatch.setattr(plugins, "_loaded", {"mine": Plugin("mine.py", "mine", {"mine.py": text})})
        return provenance_tags(None, {}, ["gensweep"])

    old, new = tags(b"a = 1"), tags(b"a = 2")
    assert json.loads(old["gensweep.plugins"]).keys() == {"mine"}
    assert changed_plugins(old, old) == changed_plugins({}, new) == []
    (line,) = changed_plugins(old, new)
    assert line.startswith("the code of the plug-in mine has changed since the sweep last ran (")


EVERY_KIND = """
from gensweep.data.digits import digits
from gensweep.data.images import DATASETS
from gensweep.diffusion.samplers.ancestral import ancestral
from gensweep.diffusion.samplers.sampler import SAMPLERS
from gensweep.families.diffusion import DiffusionFamily
from gensweep.families.family import FAMILIES
from gensweep.metrics.efficientnet import efficientnet_lite0
from gensweep.metrics.extractors import EXTRACTORS
from gensweep.metrics.kid import KernelDistance
from gensweep.metrics.metric import METRICS
from gensweep.nn.cnn import CNN
from gensweep.nn.networks import DENOISERS
from gensweep.registry import SameAs
from typing import Annotated, Any

@DATASETS.register("own_data")
def own_data(split, root, **settings: Annotated[Any, SameAs(digits)]):
    return digits(split, root, **settings)

@SAMPLERS.register("own_sampler")
def own_sampler(*known, **settings: Annotated[Any, SameAs(ancestral)]):
    return ancestral(*known, **settings)

@EXTRACTORS.register("own_extractor")
def own_extractor(*known, **settings: Annotated[Any, SameAs(efficientnet_lite0)]):
    return efficientnet_lite0(*known, **settings)

@FAMILIES.register("own_family")
class OwnFamily(DiffusionFamily): ...

@METRICS.register("own_metric")
class OwnMetric(KernelDistance): ...

@DENOISERS.register("own_network")
class OwnNetwork(CNN): ...
"""


def test_every_sort_of_kind_can_be_ones_own(here):
    Path("owned.py").write_text(EVERY_KIND)
    plugins.load("owned.py")
    trial = load_trial(
        {
            "data": {"kind": "own_data", "size": 8},
            "family": {"kind": "own_family"},
            "network": {"kind": "own_network", "width": 8},
            "sampler": {"kind": "own_sampler"},
            "evaluation": {"extractor": {"kind": "own_extractor"}, "metrics": ["own_metric"]},
        }
    )
    assert trial.plugins == ("owned.py",)
    by_metric = load_trial({"family": {"kind": "diffusion"}, "evaluation": {"metrics": ["own_metric"]}})
    assert by_metric.plugins == ("owned.py",)
    images = trial.bound("data")("test", here)
    assert images.shape == (1, 8, 8)


def test_an_installed_package_is_a_plugin_by_its_entry_point(here, monkeypatch):
    Path("bought.py").write_text(SCHEDULE.format(kind="bought"))
    info = Path("bought-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bought\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gensweep.plugins]\nany = bought\n")
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(plugins, "_installed_are_loaded", False)
    plugins.load_installed()
    assert load_trial(trial_with("bought")).plugins == ("bought",)
    monkeypatch.setattr(plugins, "_installed_are_loaded", False)
    monkeypatch.setattr(plugins, "_loaded", {})
    del sys.modules["bought"]
    Path("bought.py").write_text("import not_there")
    with pytest.raises(ConfigError, match="it imports not_there, which is not installed; it came with the package bou"):
        plugins.load_installed()


@pytest.mark.trains
def test_the_page_holds_what_new_writes_and_that_passes_its_own_tests(here, capsys):
    text = PAGE.read_text(encoding="utf-8")
    for line in re.findall(r"^gensweep (new .*)$", text, re.MULTILINE):
        assert run(line.split()) == 0
    assert Path("exponential.py").read_text().endswith(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    Path("own.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    assert load_sweep("own.yaml").plugins == ("exponential.py", "shapes.py")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(words, cwd=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    capsys.readouterr()
    for name, message in (("shapes", "exists already"), ("json", "that is installed"), ("a-b", "cannot name a module")):
        assert run(["new", "dataset", name]) == 2
        assert message in capsys.readouterr().err


def test_nothing_runs_that_only_the_folder_of_a_checkpoint_names(here, capsys):
    folder = untrained.checkpoint(here, untrained.config("diffusion"))
    record = json.loads((folder / "checkpoint.json").read_text())
    record["metadata"]["plugins"] = ["evil.py"]
    (folder / "checkpoint.json").write_text(json.dumps(record))
    Path("evil.py").write_text("open('ran', 'w').close()")
    for command in ("sample", "evaluate", "interpret"):
        assert run([command, str(folder)]) == 2
        assert "was trained with the plug-in evil.py; importing that runs its code" in capsys.readouterr().err
    assert not Path("ran").exists()
    assert run(["sample", str(folder), "-n", "1", "--import", "evil.py"]) == 0
    assert Path("ran").exists()


def test_a_head_gets_the_code_into_the_folder_of_the_command(here, monkeypatch):
    sent = [
        Plugin("deep/mine.py", "mine", {"mine.py": b"a = 1"}),
        Plugin("pack.b", "pack.b", {"pack/b.py": b"b = 'x'"}),
    ]
    monkeypatch.setenv("GENSWEEP_FOLDER", str(here / "head"))
    words = "python -c 'import mine, pack.b; print(mine.a, pack.b.b)'"
    done = subprocess.run(["sh", "-c", _entrypoint(words, None, sent)], capture_output=True, text=True)
    assert done.stdout == "1 x\n"
    with pytest.raises(ConfigError, match="plug-ins large are too large to be sent to the head; install them there"):
        _entrypoint(words, None, [Plugin("large", "large", {"large.py": random.Random(0).randbytes(100_000)})])


@pytest.mark.ray
@pytest.mark.mlflow
def test_a_package_outside_of_this_repository_is_swept_extended_sampled_and_judged(here):
    """From the command line; what trains and what must find nothing, as processes of their own."""
    for kind, name in (("schedule", "expo"), ("network", "plainnet"), ("dataset", "shapes")):
        call(here, "new", kind, name, "-o", here / "kinds")
    space = {
        "name": "own",
        "plugins": ["kinds.expo", "kinds/shapes.py"],
        "objective": {"metric": "bpd", "mode": "min"},
        "base": {
            "data": {"kind": "shapes", "size": 8, "limit": 100},
            "family": {"kind": "diffusion"},
            "network": {"kind": "plainnet", "width": 8, "depth": 1},
            "diffusion": {"timesteps": 20, "schedule": {"kind": "expo"}},
            "sampler": {"kind": "ddim", "steps": 2},
            "training": {"images": 64, "batch_size": 16, "precision": "float32", "memory_format": "contiguous"},
            "evaluation": {"every": 64, "metrics": ["bpd"], "likelihood": {"images": 20, "timesteps": 5}},
        },
        "space": {"diffusion.schedule.rate": {"float": [4.0, 12.0]}},
        "search": {"trials": 1, "sampler": {"kind": "random"}, "scheduler": {"kind": "fifo"}},
        "resources": {"workers": 2, "cpus_per_worker": 0.5},
    }
    (here / "own.yaml").write_text(yaml.safe_dump(space, sort_keys=False))
    shutil.copyfile(empty_store(), here / "mlflow.db")
    imported = ("--import", "kinds.plainnet")
    start(here, "tune", "own.yaml", *imported)
    log = [json.loads(line) for line in (here / "sweeps/own/events.jsonl").read_text().splitlines()]
    (session,) = (event for event in log if event["event"] == "session_started")
    hashes = json.loads(session["tags"]["gensweep.plugins"])
    assert hashes.keys() == {"kinds.expo", "shapes", "kinds.plainnet"}
    kept = here / "sweeps/own/plugins" / hashes["shapes"][:12] / "shapes.py"

    (here / "kinds/shapes.py").rename(here / "kinds/gone.py")
    start(here, "sample", "own", "-n", 1, "-o", "b.png")  # the copy will do
    kept.rename(here / "away.py")
    (line,) = start(here, "tune", "--resume", "own", code=2).err.splitlines()
    assert "plug-in shapes: it is not on this machine, and its copy in " in line
    (here / "away.py").rename(kept)
    (here / "kinds/gone.py").rename(here / "kinds/shapes.py")
    with (here / "kinds/shapes.py").open("a") as file:
        file.write("# changed\n")
    assert "the code of the plug-in shapes has changed" in start(here, "tune", "--extend", "own", "--trials", 1).err
    rows = json.loads(call(here, "trials", "own", "--format", "json").out)
    assert [(row["trial"], row["status"]) for row in rows] == [("t0000", "finished"), ("t0001", "finished")]

    call(here, "sample", "own", "-n", 4, "-o", "a.png")  # without --import: the run knows what it needs
    best = json.loads(call(here, "best", "own", "--format", "json").out)
    assert best["objective"]["identity"]["metric"] == "bpd"
    assert best["config"]["plugins"] == ["kinds.expo", "kinds/shapes.py", "kinds.plainnet"]
    assert "valid sweep" in call(here, "config", "validate", "own.yaml", *imported).out
    assert '"plainnet"' in call(here, "config", "schema", *imported).out
    preview = json.loads(
        call(here, "tune", "own.yaml", "--name", "new", "--dry-run", "--format", "json", *imported).out
    )
    assert preview["sweep"]["base"]["network"]["kind"] == "plainnet"


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_machine_without_a_plug_in_takes_its_code_from_the_storage_of_the_sweep(s3, tmp_path, monkeypatch, place):
    from gensweep.sweep.events import Created, SessionStarted
    from gensweep.sweep.folder import PLUGINS_FOLDER, SweepFolder
    from gensweep.sweep.storage import adopt, held_storage
    from gensweep.tracking.provenance import PLUGINS, SHORT_HASH, install_kept_plugins
    from gensweep.tracking.runs import import_plugins

    monkeypatch.setenv("GENSWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", sys.path[:])
    plugin = plugins.Plugin("far/brought_along.py", "brought_along", {"brought_along.py": b"ANSWER = 42\n"})
    here, storage = SweepFolder(tmp_path / "here", "digits"), str(tmp_path / "bucket")
    if place == "bucket":
        storage = s3.url("plugged")
    plugin.write(here.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH])
    with held_storage(here, storage, {}):
        here.log.append(Created("0123456789abcdef", "digits", "fd", "min", 2))
        here.log.append(SessionStarted(1, "", {PLUGINS: json.dumps({plugin.module: plugin.sha256})}))

    there = SweepFolder(tmp_path / "there", "digits")
    assert adopt(tmp_path / "there", below(storage, "digits")) == ("digits", storage)
    copy = there.path / PLUGINS_FOLDER / plugin.sha256[:SHORT_HASH] / "brought_along.py"
    copy.write_text("ANSWER = 43\n")
    with pytest.raises(ConfigError, match=r"brought_along: it is not on this machine, and its copy .* not what"):
        install_kept_plugins(there)
    copy.write_bytes(b"ANSWER = 42\n")
    assert install_kept_plugins(there) == ["brought_along"]
    assert sys.modules["brought_along"].ANSWER == 42
    assert install_kept_plugins(there) == []
    # In another process a run of that sweep is drawn from.
    del sys.modules["brought_along"], plugins._loaded["brought_along"]
    sys.path.remove(str(next((tmp_path / "cache" / "plugins").glob("[0-9a-f]*"))))
    importlib.invalidate_caches()
    run_of_it = {"config": {"plugins": '["far/brought_along.py"]'}, "folder": str(there.path)}
    import_plugins(SimpleNamespace(**run_of_it, sweep_id="0123456789abcdef"))
    assert sys.modules["brought_along"].ANSWER == 42
    del sys.modules["brought_along"], plugins._loaded["brought_along"]
