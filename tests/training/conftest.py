"""Modules that tests share lie here and one folder up; processes that tests start find them too."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
