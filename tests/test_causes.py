"""Real faults of files, disks and databases, and what is said of them."""

import json
import sqlite3
import sys
from contextlib import closing

import pytest
import torch
from mounts import needs_mounts, run_mounted, small

from gensweep.causes import file_problem, memory_problem, plain_cause

#: Writes a megabyte to the file that is named, and prints what is said of what happens.
WRITE = """
import json, sys
from gensweep.causes import plain_cause
from gensweep.files import write_bytes
from pathlib import Path
try:
    write_bytes(Path(sys.argv[1]), b"x" * 2**20)
except OSError as error:
    print(json.dumps(plain_cause(error)))
"""


def said(mounts, file):
    return json.loads(run_mounted(mounts, [sys.executable, "-c", WRITE, str(file)], check=True).stdout)


@needs_mounts
def test_a_full_disk_is_told_with_its_file(tmp_path):
    words = said([small(tmp_path, 512)], tmp_path / "a.bin")
    assert words.startswith("no space is left for")
    assert str(tmp_path) in words


def test_a_locked_database_is_told_through_what_was_raised_from_it(tmp_path):
    file = tmp_path / "x.db"
    with closing(sqlite3.connect(file)) as one, closing(sqlite3.connect(file, timeout=0)) as two:
        one.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError) as raised:
            two.execute("BEGIN EXCLUSIVE")
    error = RuntimeError("the study")
    error.__cause__ = raised.value
    assert "database is locked); stop the process that uses it" in str(plain_cause(error))


def test_memory_that_cannot_be_had_is_told():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**60, dtype=torch.uint8)
    assert memory_problem(raised.value) == "this machine is out of memory"
    assert memory_problem(MemoryError()) == "this machine is out of memory"


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), OSError("x"), KeyError("x")])
def test_a_defect_has_no_plain_cause(error):
    assert plain_cause(error) is None
    assert file_problem(error) is None
