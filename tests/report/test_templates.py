"""How files of pages are written."""

import pytest

from gensweep.errors import GensweepError
from gensweep.report.html import write_whole


def test_a_file_that_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GensweepError, match=r"cannot be written .*; name another folder"):
        write_whole(tmp_path / "file" / "index.html", "x", "name another folder")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
