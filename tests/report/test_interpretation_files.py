"""Names of files of a look inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gensweep.report.interpretation import file_words


@given(st.lists(st.text("ab-_ !?ÄA", min_size=1, max_size=3), unique=True, max_size=6))
def test_no_two_classes_share_a_file_whatever_they_are_called(names):
    words = [word.lower() for word in file_words(names)]
    assert len(set(words)) == len(names)
    assert all(letter.isalnum() or letter in "-_" for word in words for letter in word)


@pytest.mark.parametrize("name", ["cat", "3", "großer_hund-2"])
def test_plain_names_stay_what_they_are(name):
    assert file_words([name, "other"]) == [name, "other"]
