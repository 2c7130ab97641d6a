"""Modules that tests share lie here, one folder up, and beside the tests of the report."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "report")]
