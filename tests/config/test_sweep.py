"""Sweeps as a whole, and their objective."""

from demo_sweeps import BASE, TWO_FAMILIES

from gensweep.config import checked_sweep


def test_a_sweep_is_itself_after_a_round_trip(load):
    for text in (BASE, TWO_FAMILIES):
        sweep = load(text)
        again = checked_sweep(sweep.as_dict())
        assert again == sweep
        assert checked_sweep(sweep.complete()).complete() == sweep.complete()


def test_all_problems_of_a_file_come_in_order_of_its_lines(refused):
    found = refused(
        "name: a b\nobjective: {metric: fad, mode: low}\nbase:\n  family: {kind: diffusion}\n  sed: 1\n  seed: 010\n"
        "space:\n  network.width: {int: [2, 1]}\nsearch: {trials: 0, sampler: {kind: tpee}}\nresorces: {}\n"
        "keep_best: no\nscales: {cpu: 3}\n",
        "seed=a",
    )
    assert [problem.split(": ")[:2] for problem in found[:-1]] == [
        ["s:1", "name"],
        ["s:2", "objective.mode"],
        ["s:2", "objective.metric"],
        ["s:5", "sed"],
        ["s:8", "space"],
        ["s:9", "search.trials"],
        ["s:9", "search.sampler.kind"],
        ["s:10", "resorces"],
        ["s:11", "keep_best"],
        ["s:12", "scales.cpu"],
    ]
    assert found[-1].startswith("--set seed=a: 'a' is not a whole number")


def test_a_likelihood_as_objective_needs_a_family_that_has_one(refused):
    gan = BASE.replace("kind: diffusion", "kind: gan")
    (line,) = refused(f"{gan}objective: {{metric: bpd}}\n")
    assert line.startswith("s:6: objective.metric: 'bpd' needs a likelihood, which the family gan does not have; use")
    (line,) = refused(f"{BASE}objective: {{metric: bpd}}\n")
    assert line == "s:6: objective.metric: 'bpd' is not evaluated; add it to evaluation.metrics (fd)"


def test_fid_of_another_extractor_is_refused_where_it_is_written(refused):
    told = "'fid' needs the features of inception, but evaluation.extractor.kind is {}; use fd, or set "
    told += "evaluation.extractor.kind to inception"
    text = f"{BASE}objective: {{metric: fid}}\n"
    assert refused(text) == [f"s:6: objective.metric: {told.format('efficientnet_lite0')}"]
    named = text.replace("{every: 5000}", "{every: 5000, metrics: [fid]}")
    assert refused(named) == [f"s:5: evaluation.metrics: {told.format('efficientnet_lite0')}"]
    searched = named.replace("[fid]", "[fid], extractor: {kind: inception}")
    searched += "space: {evaluation.extractor: {choice: [{kind: inception}, {kind: dinov2}]}}\n"
    (line,) = refused(searched)
    assert line.startswith(f"s:5: evaluation.metrics: {told.format('dinov2')}")


def test_the_final_score_is_checked_as_an_evaluation_is(load, refused):
    found = refused(f"{BASE}final: {{metrics: [fid], samples: 1, every: 5, extractr: {{kind: inception}}}}\n")
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == [
        "final.every", "final.samples", "final.extractr",
    ]  # fmt: skip
    (line,) = refused(f"{BASE}final: {{metrics: [fid]}}\n")
    assert line.startswith("s:6: final.metrics: 'fid' needs the features of inception, but final.extractor")
    likelihood = f"{BASE.replace('kind: diffusion', 'kind: gan')}final: {{metrics: [bpd]}}\n"
    assert "final.metrics: 'bpd' needs a likelihood, which the family gan does not have" in refused(likelihood)[0]
    (line,) = refused(f"{BASE}final: {{against: real.npz, metrics: [kid]}}\n")
    assert line.startswith("s:6: final.metrics: 'kid' compares with real images, and real.npz contains only")
    whole = load(f"{BASE}final: {{metrics: [fid], samples: 50000, extractor: {{kind: inception}}}}\n")
    assert whole.trial(whole.final_settings).flat()["evaluation.samples"] == 50000


def test_the_first_rung_must_lie_within_the_budget(refused):
    found = refused(f"{BASE}search: {{scheduler: {{kind: asha, grace: 30000}}}}\n")
    assert found == ["s:6: search.scheduler.grace: 30000 is more than training.images (20000)"]


def test_a_trial_file_is_not_a_sweep(refused):
    assert refused("family: {kind: gan}\n") == [
        "s: is the configuration of one trial, not of a sweep; run `gensweep train s`"
    ]
