"""A sweep that is started from the command line, as users start it, and disturbed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from made_up import empty_store
from sweep_processes import TRACKING_SERVER, adopting, descendants, kind_of, reap, started
from telling_driver import STEP
from typed_commands import foreign

from gensweep.sweep.folder import SweepFolder
from gensweep.sweep.state import SweepState

HERE = Path(__file__).parent
#: Seconds within which whatever a test waits for comes about, on a machine that has other work, too.
PATIENCE = 600.0
#: Seconds between two looks, each of which reads the whole of /proc.
INTERVAL = 0.5

SPACE = """\
name: faults
objective: {{metric: fd, mode: min}}
base:
  data: {{kind: digits, size: 8}}
  family: {{kind: diffusion, sampling_precision: float32}}
  network: {{kind: unet, width: 8, multipliers: [1], blocks: 1, attention: []}}
  diffusion: {{timesteps: 20}}
  sampler: {{kind: ddim, steps: 4}}
  training: {{images: {images}, batch_size: 20, precision: float32, memory_format: contiguous}}
  evaluation: {{every: {step}, samples: 16, batch_size: 16, extractor: {{resolution: 32}}}}
space:
  optimizer.learning_rate: {{choice: {rates}}}
search: {{trials: {trials}, seed: 0, sampler: {{kind: grid}}, scheduler: {{kind: fifo}}}}
resources: {{concurrent: {concurrent}}}
rescore: false
"""


class DisturbedSweep:
    """A sweep below `folder` of trials of so many `steps`, of which each takes `seconds`; None: they really train.

    Use it in a `with`: at the end none of its processes is left.  Commands run with `environment`, and with
    all that they start in a control group, to whose file `group` a process writes 0 to join.
    """

    name = "faults"

    def __init__(
        self,
        folder: Path,
        *,
        trials: int = 4,
        steps: int = 4,
        seconds: float | None = 0.5,
        concurrent: int = 2,
        settings: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        group: Path | None = None,
    ) -> None:
        self.folder, self.trials, self.length = folder, trials, steps
        self.environment, self._group = dict(environment or {}), group
        if seconds is not None:
            self.environment["TEST_STEP_SECONDS"] = str(seconds)
        self.store = self.environment.get("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        """Where its runs are kept in MLflow."""
        self.rates = [round(0.001 * (1 + number), 4) for number in range(trials)]
        self.disturbances: list[dict[str, Any]] = []
        self.sessions: list[subprocess.Popen[bytes]] = []
        """The drivers, in the order of their starts."""
        self._settings = [f"--set={setting}" for setting in settings]
        values = {"images": STEP * steps, "step": STEP, "rates": self.rates, "trials": trials, "concurrent": concurrent}
        (folder / "space.yaml").write_text(SPACE.format(**values))
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self._tally = folder / "steps.jsonl"
        shutil.copyfile(empty_store(), folder / "mlflow.db")

    def __enter__(self) -> DisturbedSweep:
        # Ray's sockets lie there, whose paths have 107 bytes at most.
        self._ray = tempfile.TemporaryDirectory(prefix="gsray", dir="/tmp", ignore_cleanup_errors=True)
        self._adopting = adopting()
        self._adopting.__enter__()
        self._others = set(descendants())
        return self

    def __exit__(self, *error: object) -> None:
        self._adopting.__exit__(None, None, None)
        self._ray.cleanup()

    # -- what is done with it --------------------------------------------------------------------------------------

    def start(self, *words: str, **where: Any) -> None:
        """Begin the sweep."""
        self.run("tune", "space.yaml", *self._settings, *words, **where)

    def resume(self) -> None:
        """Go on with it."""
        self.run("tune", "--resume", self.name)

    def run(self, *words: str, within: Sequence[str] = (), **where: Any) -> None:
        """Start a command of gensweep and keep its output.

        `within` is a command that starts it, such as `timeout`.  `where` are options of Popen; default: a new session.
        """
        environment = {key: value for key, value in os.environ.items() if not foreign(key)}
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            "OMP_NUM_THREADS": "1",
            "TMPDIR": str(self.temporary),
            "GENSWEEP_CLAIMS": str(self.temporary),
            "RAY_TMPDIR": self._ray.name,
            "TEST_STEPS": str(self._tally),
            **self.environment,
        }
        command = [*within, sys.executable, str(HERE / "telling_driver.py"), *words]
        if self._group is not None:
            command = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self._group), *command]
        out, err = self._output(len(self.sessions))
        with out.open("wb") as opened, err.open("wb") as opened_too:
            self.sessions.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env=environment,
                    stdout=opened,
                    stderr=opened_too,
                    **(where or {"start_new_session": True}),
                )
            )

    def wait(self, timeout: float = PATIENCE) -> int:
        """Until the last command has ended; its exit code."""
        driver = self.sessions[-1]
        self.wait_for("end of the driver", lambda: driver.poll() is not None, timeout)
        return driver.wait()

    def kill(self, kind: str, number: int = signal.SIGKILL, *, which: int = 0) -> None:
        """Send a signal to one of the processes of a kind, once there is one."""
        pid = self.wait_for(f"{kind}", lambda: self.processes(kind))[which]
        self.disturb(f"{kind} {signal.Signals(number).name}")
        os.kill(pid, number)

    def disturb(self, what: str) -> None:
        """Note that something is done to the sweep now."""
        self.disturbances.append({"what": what, "time": time.monotonic(), "date": time.time()})

    def wait_for(self, what: str, found: Callable[[], Any], timeout: float = PATIENCE) -> Any:
        """What is found, once it is not nothing."""
        deadline = time.monotonic() + timeout
        while not (answer := found()):
            assert time.monotonic() < deadline, f"no {what} within {timeout:.0f} s\n{self.said()}"
            self.wait_a_moment()
        return answer

    def wait_a_moment(self) -> None:
        """Until it is time for another look."""
        reap(self._others | {driver.pid for driver in self.sessions})
        time.sleep(INTERVAL)

    def wait_for_steps(self, number: int) -> None:
        """Until so many more steps than now are on record."""
        wanted, driver = number + self.recorded_steps, self.sessions[-1]

        def are_there() -> bool:
            alive = driver.poll() is None
            enough = self.recorded_steps >= wanted
            assert alive or enough, f"the driver has ended\n{self.said()}"
            return enough

        self.wait_for(f"step {wanted}", are_there)

    # -- what is seen of it ----------------------------------------------------------------------------------------

    def said(self, session: int = -1) -> str:
        """What a command, by default the last one, has written on stdout and stderr."""
        files = self._output(session % len(self.sessions))
        return "\n".join(file.read_text(errors="replace") for file in files)

    def processes(self, kind: str | None = None) -> list[int]:
        """The ids of the living processes of the sweep, of one kind or all, the oldest first.

        A process that another one is about to start has the command line of the other for a moment.
        """
        found = {pid: kind_of(command) for pid, command in descendants().items() if pid not in self._others}
        chosen = (pid for pid, each in found.items() if each == kind or (kind is None and each != TRACKING_SERVER))
        return sorted(chosen, key=started)

    @property
    def sweep_folder(self) -> SweepFolder:
        """Where it lies."""
        return SweepFolder(self.folder / "sweeps", self.name)

    @property
    def ray_folder(self) -> Path:
        """Where its Ray has logs and sockets."""
        return Path(self._ray.name)

    @property
    def state(self) -> SweepState:
        """What its log says."""
        return self.sweep_folder.state()

    @property
    def recorded_steps(self) -> int:
        """Steps of which the log says that they were trained."""
        return sum(len(trial.evaluations) for trial in self.state.trials.values())

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Every step that was trained, again or for the first time, in their order."""
        text = self._tally.read_text() if self._tally.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    @property
    def repeated(self) -> list[dict[str, Any]]:
        """Steps that had been trained before."""
        seen, again = set(), []
        for step in self.steps:
            if (known := (step["trial"], step["images"])) in seen:
                again.append(step)
            seen.add(known)
        return again

    def _output(self, session: int) -> tuple[Path, Path]:
        return self.folder / f"session-{session}.out", self.folder / f"session-{session}.err"
