"""The compiled kernel's file: built once, checked by its hash, rebuilt where it is damaged, done without if need be."""

import json
import os
import subprocess
import sys
from itertools import count
from typing import NamedTuple

import pytest
from kernel_paths import needs_kernel

from gensweep.kernels import library

pytestmark = pytest.mark.trains

#: Loads PyTorch once, then forks a worker for each line of its input, which says its path and computes on it.
WORKERS = """
import json, os, sys
import torch
from gensweep.kernels import active, norm_act

def work(environment, said):
    os.environ.clear()
    os.environ.update(environment)
    for number in (1, 2):
        os.dup2(os.open(said[number - 1], os.O_WRONLY | os.O_CREAT), number)
    norm_act(torch.ones(2, 8, 4, 4).to(memory_format=torch.channels_last), torch.nn.GroupNorm(2, 8))
    print(active(), active("cuda"))
    sys.exit()

for line in sys.stdin:
    if (forked := os.fork()) == 0:
        work(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]), flush=True)
"""
DAMAGES = {
    "empty": lambda sound: b"",
    "cut": lambda sound: sound[: len(sound) // 2],  # the process that maps it is killed by SIGBUS
    "garbled": lambda sound: sound[:5000] + b"\xff" * 64 + sound[5064:],
    "foreign": lambda sound: b"#!/bin/sh\necho not a library\n",
}


class Worker(NamedTuple):
    """How a worker ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A function that lets a process use the kernel, with this cache folder."""
    folder, numbers = tmp_path_factory.mktemp("workers"), count()
    command = [sys.executable, "-c", WORKERS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forking:

        def work(cache, **environment):
            kept = os.environ | {"GENSWEEP_CACHE": str(cache), library.KERNELS_VARIABLE: "1"} | environment
            said = [folder / f"{next(numbers)}.{end}" for end in ("out", "err")]
            forking.stdin.write(json.dumps([kept, [str(file) for file in said]]) + "\n")
            forking.stdin.flush()
            return Worker(int(forking.stdout.readline()), *(file.read_text() for file in said))

        yield work
        forking.stdin.close()


def paths(process):
    """What the process said; it must not have been killed."""
    assert process.returncode == 0, process.stderr
    return process.stdout.split()[0]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The library, in a folder of its own."""
    needs_kernel()
    return library.build(library.compiler(), tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def sound(built):
    """The library, as bytes."""
    return built.read_bytes()


@pytest.fixture
def compiler(tmp_path, sound):
    """A compiler that gives a library that was compiled before, and the file where it leaves a line at each call."""
    (tmp_path / "sound.so").write_bytes(sound)
    script, calls = tmp_path / "cxx", tmp_path / "calls"
    script.write_text(f'#!/bin/sh\nfor last; do :; done\necho called >> {calls}\ncp {tmp_path}/sound.so "$last"\n')
    script.chmod(0o755)
    calls.touch()
    return str(script), calls


@pytest.mark.parametrize("damage", [*DAMAGES])
def test_a_damaged_library_is_noticed_and_rebuilt(damage, work, compiler, sound, tmp_path):
    command, calls = compiler
    built = library.build(command, tmp_path / "kernels")
    assert library.build(command, tmp_path / "kernels") == built
    assert len(calls.read_text().splitlines()) == 1
    built.write_bytes(DAMAGES[damage](sound))
    process = work(tmp_path, CXX=command)
    assert paths(process) == "c++"
    assert process.stderr == ""
    assert len(calls.read_text().splitlines()) == 2
    assert [*(tmp_path / "kernels").iterdir()] == [built]
    assert built.read_bytes() == sound


def test_without_a_compiler_or_with_one_that_fails_it_is_said_once(work, tmp_path):
    for environment, words in (
        ({"PATH": str(tmp_path), "CXX": ""}, "there is no C++ compiler (g++, clang++ or $CXX)"),
        ({"CXX": "false"}, "/false failed"),
    ):
        process = work(tmp_path, **environment)
        assert paths(process) == "torch"
        (line,) = process.stderr.splitlines()
        assert words in line


def test_switched_off_nothing_is_built_or_said(work, tmp_path):
    process = work(tmp_path, **{library.KERNELS_VARIABLE: "0"})
    assert (paths(process), process.stderr) == ("torch", "")
    assert [*tmp_path.iterdir()] == []
