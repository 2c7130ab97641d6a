"""`gensweep best A B --by-eye` and `--votes`: a page without names, and votes that only this pair can decode."""

import json
import re

import pytest

from gensweep.api.by_eye import PAIRS, draw_grids, find_pair, page_of
from gensweep.cli.main import run
from gensweep.results import Identity
from gensweep.tracking.checkpoints import checkpoint_folder

IDENTITY = Identity("fd", "efficientnet_lite0", 8, "digits", "floor(127.5 x + 128)")
PAIR = ["best", "gans", "vaes/t0000"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Sweeps of untrained models, one each: two of digits, one of larger digits; and one without a checkpoint."""
    import untrained
    from logged import LoggedSweep
    from made_up import project

    with project(tmp_path_factory.mktemp("store")) as folder:
        for name, kind in {"gans": "gan", "vaes": "vae", "large": "vae", "empty": "gan"}.items():
            trial = untrained.config(kind)
            sweep = LoggedSweep(folder / "sweeps", name)
            made = untrained.checkpoint(folder / name, trial)
            if name == "large":
                file = made / "checkpoint.json"
                file.write_text(file.read_text().replace('"shape": [\n  1,\n  8,', '"shape": [\n  1,\n  16,'))
            sweep.start("t0000", {}, trial.as_dict())
            sweep.evaluate("t0000", 32, 9.0, None if name == "empty" else made, identity=IDENTITY)
            sweep.end("t0000")
            sweep.close()
        yield folder


@pytest.fixture(scope="module")
def page(store):
    assert run([*PAIR, "--by-eye", "eye.html"]) == 0
    return (store / "eye.html").read_text(encoding="utf-8")


@pytest.fixture
def votes(store, page):
    """Writes a file as the page saves it; returns its name."""

    def write(file="votes.json", **changes):
        values = {"page": re.search('data-page="(.*?)"', page)[1], "voter": "0" * 16, "votes": [1]}
        (store / file).write_text(json.dumps(values | changes))
        return file

    return write


def kept(store):
    return sorted(store.glob("sweeps/*/votes/*.json"))


def test_page_shows_pairs_without_a_name_and_loads_nothing(page):
    assert page.count('<div class="pair" hidden>') == PAIRS
    pictures = re.findall('<img src="(.*?)"', page)
    assert len(set(pictures)) == 2 * PAIRS
    rest = re.sub('src="data:[^"]*"', "", page)
    assert not re.search("gan|vae|t0000|https?:|src=", rest, re.IGNORECASE)


def test_a_page_is_the_same_each_time_and_does_not_depend_on_the_order(store, page):
    assert run(["best", "vaes", "gans/t0000", "--by-eye", "again.html"]) == 0
    assert (store / "again.html").read_text(encoding="utf-8") == page


def test_unlabelled_training_is_named(store, capsys):
    assert run([*PAIR, "--by-eye", "eye.html"]) == 0
    assert "gans/t0000 was trained without labels, so its grids have random classes" in capsys.readouterr().err


def test_sides_are_random_and_balanced_and_the_id_is_new_for_each_seed():
    found = [page_of(["a", "b"], seed) for seed in range(200)]
    assert len({page for page, _ in found}) == 200
    for pair in range(PAIRS):
        assert 70 <= sum(sides[pair] for _, sides in found) <= 130  # p < 3e-5 for each
    assert all(sides[pair] != sides[pair + 1] for _, sides in found for pair in range(0, PAIRS, 2))


def test_a_vote_counts_for_the_run_whose_images_were_chosen(store, page, votes, capsys):
    pictures = re.findall('<img src="(.*?)"', page)
    for trial in ("gans/t0000", "vaes/t0000"):
        own, _ = draw_grids(checkpoint_folder(trial), trial)
        assert len(set(own)) == PAIRS
        chosen = [1 if left in own else 2 for left in pictures[::2]]
        assert run([*PAIR, "--votes", votes(votes=chosen), "--format", "json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["preferred"], found["share"]) == (trial, 1.0)


def test_votes_add_up_and_are_kept_once_a_person(store, votes, capsys):
    for file in kept(store):
        file.unlink()
    pair = find_pair("gans", "vaes")
    _, first_left = page_of(pair)
    vae_is_first = next(iter(pair.values())).name == "vaes/t0000"
    for_vae = [1 if left is vae_is_first else 2 for left in first_left]
    one, other = votes("one.json", votes=for_vae), votes("other.json", votes=[*for_vae[:10], 0], voter="f" * 16)
    assert run([*PAIR, "--votes", one, "--votes", other, "--votes", one]) == 0
    capsys.readouterr()
    assert run([*PAIR, "--votes", one, "--format", "json"]) == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)
    assert (found["preferred"], found["votes"], found["ties"], found["voters"]) == ("vaes/t0000", 30, 1, 2)
    words = "By eye, people prefer vaes/t0000 to gans/t0000: 100 % (89 to 100) of 30 votes from 2 people, leaving out 1"
    assert words in err
    assert "Warning" not in err
    assert len(kept(store)) == 4
    assert run(["best", "--compare", "gans", "vaes"]) == 0
    assert words in capsys.readouterr().err
    assert f"<h2>By eye</h2>\n<p>{words}" in (store / "report.html").read_text(encoding="utf-8")
    assert run(["best", "--compare", "gans"]) == 0
    assert "By eye" not in capsys.readouterr().err


def test_few_and_one_sided_votes_are_warned_of(store, votes, capsys):
    for file in kept(store):
        file.unlink()
    assert run([*PAIR, "--votes", votes(votes=[1] * 10)]) == 0
    err = capsys.readouterr().err
    assert "are too close to call: the first gets 50 % (24 to 76) of 10 votes from 1 person." in err
    assert "Warning: 10 votes by eye are few; collect at least 30." in err
    assert "Warning: the left side got more votes than chance explains" in err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"page": "0123456789abcdef"}, "is of another page than that of"),
        ({"votes": []}, "has no votes"),
        ({"votes": [1, 3]}, "is missing, damaged, or not saved"),
        ({"votes": [1] * (PAIRS + 1)}, "is missing, damaged, or not saved"),
        ({"voter": "../../../t"}, "is missing, damaged, or not saved"),
        ({"voter": None}, "is missing, damaged, or not saved"),
    ],
)
def test_unfit_votes_are_refused_and_none_is_kept(store, votes, capsys, changes, words):
    before, good = kept(store), votes("good.json", voter="7" * 16)
    assert run([*PAIR, "--votes", good, "--votes", votes(**changes)]) == 2
    assert re.fullmatch(f"Error: votes.json {words}.*\n", capsys.readouterr().err)
    assert kept(store) == before


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (["gans", "gans/t0000"], "have the same checkpoint"),
        (["gans", "large"], "draw images of different sizes or classes"),
        (["gans", "empty"], "the best checkpoint of empty/t0000 is missing"),
        (["gans"], "take two runs"),
        (["gans", "vaes", "--compare"], "take two runs"),
        (["gans", "vaes", "--votes", "votes.json"], "take two runs"),
        (
            ["gans", "vaes", "--budget", "8h"],
            "--budget, --draw, --price, --watch, --panel and --no-html need --compare",
        ),
    ],
)
def test_runs_that_cannot_be_compared_by_eye_are_refused(store, capsys, runs, words):
    assert run(["best", *runs, "--by-eye", "none.html"]) == 2
    assert words in capsys.readouterr().err
    assert not (store / "none.html").exists()
