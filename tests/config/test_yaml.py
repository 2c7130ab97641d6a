import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gensweep.config.tree import Tree, place_of
from gensweep.config.yaml import read_file, read_value, to_yaml
from gensweep.errors import ConfigError


def read(tmp_path, content):
    file = tmp_path / "c.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        tree, problems = read_file(file)
    except ConfigError as error:
        return None, [problem.replace(str(file), "c.yaml") for problem in error.problems]
    return tree, [str(problem).replace(str(file), "c.yaml") for problem in problems]


@pytest.mark.parametrize(
    ("text", "advice"),
    [("!!python/object:os.system x", "tag"), ("!!str 5", "tag")],
)
def test_a_value_that_cannot_be_taken_is_a_problem_at_its_line(text, advice, tmp_path):
    tree, problems = read(tmp_path, f"a: 1\nb: {text}\n")
    assert len(problems) == 1
    assert problems[0].startswith("c.yaml:2: b: ")
    assert advice in problems[0]
    assert tree is not None
    assert tree["a"] == 1


@pytest.mark.parametrize(
    "text", ["1.0e-4", "1.0e+4", "0.5", ".5", "5.", "-3", "+7", "0", "true", "False", "null", "~", "x", "a-b"]
)
def test_plain_values_are_read_as_pyyaml_reads_them(text):
    value, problems = read_value(text, "here")
    expected = yaml.safe_load(text)
    assert (value, type(value), problems) == (expected, type(expected), [])


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("2e12", 2 * 10**12), ("-3E5", -300_000), ("2.5e3", 2500.0), (".5e-1", 0.05), ("1e30", 1e30)],
)
def test_numbers_with_an_exponent_are_numbers_whole_without_a_point(text, value):
    read, problems = read_value(text, "here")
    assert (read, type(read), problems) == (value, type(value), [])


@pytest.mark.parametrize("text", ["010", "no", "On", "1:30", ".inf", "1e999", "0x10", "1_000", "2026-01-31", "1" * 30])
def test_what_is_no_plain_number_is_text(text):
    assert read_value(text, "here") == (text, [])


@pytest.mark.parametrize("text", ["1e-4", "010", "no", "1:30", ".inf", "0x10", "<<"])
def test_in_quotes_everything_is_text(text):
    assert read_value(f"'{text}'", "here") == (text, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "c.yaml: the file is empty"),
        ("- a\n- b\n", "c.yaml:1: the file is a list"),
        ("hello", "c.yaml:1: the file is the single value 'hello'"),
        ("a: 1\n---\nb: 2\n", "c.yaml:2: a second document"),
        ("a:\n\tb: 1\n", "c.yaml:2: a tab"),
        ("a: {b: 1\n", "c.yaml:2: is not readable as YAML"),
        ("a: b: c\n", "c.yaml:1: a second ': '"),
        ("a: 1\nb: *nowhere\n", "c.yaml:2: *nowhere has no anchor &nowhere"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "c.yaml: is not UTF-8 text"),
        (b"a: \0\0", "c.yaml:1: the character"),
        ("a: \x01", "c.yaml:1: the character"),
        ("? [a, b]\n: 1\n", "c.yaml:1: a key must be plain text"),
        ("a: " + "[" * 30 + "]" * 30, "c.yaml:1: is nested more than 20 deep"),
        ("[" * 100_000, "c.yaml:1: is nested more than 20 deep"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_with_its_line(content, message, tmp_path):
    tree, problems = read(tmp_path, content)
    assert tree is None
    assert len(problems) == 1
    assert problems[0].startswith(message)
    assert "\n" not in problems[0]


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path, reason in ((tmp_path / "missing.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError, match=reason) as caught:
            read_file(path)
        assert str(path) in str(caught.value)


def test_a_key_given_twice_names_both_lines(tmp_path):
    _, problems = read(tmp_path, "a: {x: 1}\nb: 2\na: 3\n")
    assert problems == ["c.yaml:3: a: is set twice; first at c.yaml:1"]


def test_merge_keys_are_refused(tmp_path):
    _, problems = read(tmp_path, "a: &a {x: 1}\nb:\n  <<: *a\n")
    assert problems == ["c.yaml:3: b: merge keys (<<) are not supported; write out the settings"]


def test_aliases_share_values_and_cannot_explode(tmp_path):
    tree, problems = read(tmp_path, "a: &x {y: [1, 2]}\nb: *x\n")
    assert not problems
    assert tree is not None
    assert tree["b"] == tree["a"] == {"y": [1, 2]}
    assert tree["b"] is not tree["a"]
    laughs = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    tree, problems = read(tmp_path, laughs)
    assert tree is None
    assert "check its aliases (*name)" in problems[0]
    _, problems = read(tmp_path, "a: &a [*a]\n")
    assert "nested more than 20 deep" in problems[0]


def test_all_problems_of_a_file_come_at_once(tmp_path):
    _, problems = read(tmp_path, "a: !x 1\nb: [!y 2, <<]\nc: {d: !z 3}\n")
    assert [problem.partition(": ")[0] for problem in problems] == ["c.yaml:1", "c.yaml:2", "c.yaml:3"]


def test_every_key_and_item_knows_its_line(tmp_path):
    tree, _ = read(tmp_path, "a: 1\nb:\n  c:\n  - x\n  - {d: 2}\n")
    lines = {(): "", ("a",): "1", ("b",): "2", ("b", "c"): "3", ("b", "c", 1): "5", ("b", "c", 1, "d"): "5"}
    for path, line in lines.items():
        assert place_of(tree, path).rpartition(":")[2] == line
    assert place_of(tree, ("b", "nothing", "below")).endswith(":2")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]))
    | st.sampled_from(["1e4", "no", "010", "1:30", "", " x", "2026-01-01", "<<", "=", "null", "- a", "#", "a: b"]),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text("abcno1:e -", min_size=1), children, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_what_is_written_is_read_back(value):
    read, problems = read_value(to_yaml(value), "here")
    assert (read, problems) == (value, [])
    assert not (isinstance(value, float) and math.copysign(1, value) != math.copysign(1, read))


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_are_a_mapping_or_are_refused_with_the_file_in_a_line(tmp_path_factory, content):
    tree, problems = read(tmp_path_factory.getbasetemp(), content)
    assert problems or isinstance(tree, Tree)
    assert all(problem.startswith("c.yaml:") and "\n" not in problem for problem in problems)
    assert all(isinstance(key, str) for key in tree or ())
