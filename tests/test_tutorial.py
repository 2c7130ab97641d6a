"""Write the files of docs/tutorial.md and run its commands, in order."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(sh|python|yaml)(?: title="([^"\n]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
#: A tenth of the page's budget; the test ignores image quality.
SHORTER = "--set budget.flops=3.0e+11"
SERVICE_SECONDS = 120


@pytest.mark.slow
def test_every_command_of_the_tutorial_works(tmp_path):
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = os.environ | {"PATH": os.pathsep.join(paths)}
    running = []
    answer = ""
    try:
        for language, title, text in BLOCK.findall(PAGE.read_text()):
            if title:
                (tmp_path / title).write_text(text)
                continue
            assert language == "sh"
            for line in text.splitlines():
                line = line.replace("tune patches.yaml", f"tune patches.yaml {SHORTER}")
                if line.endswith("&"):
                    running.append(subprocess.Popen(shlex.split(line[:-1]), cwd=tmp_path, env=environment))
                    continue
                typed = {"shell": True, "cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
                for _ in range(SERVICE_SECONDS if line.startswith("curl") else 1):
                    done = subprocess.run(line, **typed)
                    if not done.returncode:
                        break
                    time.sleep(1)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
                answer = done.stdout
    finally:
        for process in running:
            process.terminate()
            process.wait()
    assert [row["label"] for row in json.loads(answer)["predictions"]] == ["flower", "flower"]
    for name in ("pictures.png", "samples.png", "report.html", "flower.png", "flower_of_diffusers.png"):
        assert (tmp_path / name).stat().st_size > 0
