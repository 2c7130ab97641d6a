"""Peak memory of a sweep's processes by what they are: the workers' own, and what holds the sweep together beside it.

    .venv/bin/python benchmarks/sweep_memory.py
    .venv/bin/python benchmarks/sweep_memory.py search_spaces/ddpm.yaml --trials 4

Runs the sweep as the command line does, in a folder of its own, and looks at its processes every second.  Memory that
processes share is divided among them (PSS), so that the sum is what the machine needs.  With --host it looks once, at
all processes that this one can see, and prints JSON: {"driver": [processes, bytes], ...}.

Prints a table and writes benchmarks/results/sweep_memory-DATE-PROCESSOR.json.  Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import click
from dated_results import write_result

ROOT = Path(__file__).parent.parent
WORKERS = "workers that train"
#: Words of a command line, and what such a process is; the first that fits.
KINDS = {
    "ray::ResourceTrainable": "trials",
    "ray::SweepTrial": "trials",
    "ray::TrainController": "controllers of Ray Train",
    "ray::Mailbox": "mailboxes of trials",
    "ray::Bell": "bell of the sweep",
    "ray::RayTrainWorker": WORKERS,
    "ray::": "other processes of Ray's",
    "drill_driver.py": "driver",
    "gensweep tune": "driver",
    "watch_nodes.py": "watch of the drill",
    "gcs_server": "Ray's control store",
    "raylet/raylet": "raylet",
    "dashboard": "Ray's dashboard and agent",
    "runtime_env": "Ray's runtime environments",
    "log_monitor": "Ray's logs",
    "autoscaler": "autoscaler",
}


def memory_by_kind(pids: Iterable[int]) -> dict[str, tuple[int, int]]:
    """How many processes of each kind there are, and their bytes."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for pid in pids:
        folder = Path("/proc") / str(pid)
        try:
            command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            rollup = (folder / "smaps_rollup").read_text()
        except OSError:
            continue  # it has just ended
        share = next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)
        kind = next((kind for words, kind in KINDS.items() if words in command), "other")
        number, size = found[kind]
        found[kind] = (number + 1, size + share)
    return dict(found)


def all_processes() -> list[int]:
    """Their ids."""
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def family_of(ancestor: int) -> list[int]:
    """A process and all that descend from it."""
    children: dict[int, list[int]] = defaultdict(list)
    for pid in all_processes():
        try:
            parent = int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children[parent].append(pid)
    found = [ancestor]
    for pid in found:
        found += children[pid]
    return found


def watch(process: subprocess.Popen[bytes]) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    """Until a sweep has ended: the moment when most was taken, and the most that each kind ever took, in bytes."""
    whole: dict[str, tuple[int, int]] = {}
    peaks: dict[str, int] = defaultdict(int)
    while process.poll() is None:
        now = memory_by_kind(family_of(process.pid))
        whole = max(whole, now, key=lambda each: sum(size for _, size in each.values()))
        for kind, (_, size) in now.items():
            peaks[kind] = max(peaks[kind], size)
        time.sleep(1)
    return whole, peaks


@click.command(help=__doc__)
@click.argument("space", type=click.Path(exists=True), default=str(ROOT / "search_spaces" / "quickstart.yaml"))
@click.option("--trials", default=4, show_default=True)
@click.option("--host", is_flag=True, help="Only look once, at all processes.")
def main(space: str, trials: int, host: bool) -> None:
    """The command."""
    if host:
        click.echo(json.dumps(memory_by_kind(all_processes())))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gensweep", "tune", str(Path(space).resolve()), "--trials", str(trials)]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        whole, peaks = watch(process)
    if process.returncode:
        raise click.ClickException(f"the sweep ended with exit code {process.returncode}")
    megabytes = {kind: round(size / 2**20) for kind, (_, size) in whole.items()}
    for kind, size in sorted(megabytes.items(), key=lambda item: -item[1]):
        click.echo(f"{kind:28}{whole[kind][0]:4}{size:8} MB{round(peaks[kind] / 2**20):8} MB at most")
    own = megabytes.get(WORKERS, 0)
    beside = sum(megabytes.values()) - own
    click.echo(f"beside its workers' own {own} MB the sweep takes {beside} MB")
    write_result(
        "sweep_memory",
        settings={"space": Path(space).name, "trials": trials},
        versions={name: version(name) for name in ("ray", "torch", "mlflow")},
        processes={kind: number for kind, (number, _) in whole.items()},
        MB=megabytes,
        MB_at_most={kind: round(size / 2**20) for kind, size in peaks.items()},
        MB_of_workers=own,
        MB_beside=beside,
    )


if __name__ == "__main__":
    main()
