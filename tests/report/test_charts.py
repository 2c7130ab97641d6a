"""The contents of the report's figures, of verdicts on made-up trainings."""

import pytest
from histories import History, diffusion_law, gan_law
from recorded import sweep, trial

from gensweep.report.charts import budget_figure, draw_charts, importance_rows
from gensweep.results import Anchor
from gensweep.verdict.comparison import compare
from gensweep.verdict.importance import importance
from gensweep.verdict.pareto import pareto_rows
from gensweep.verdict.recommendation import recommend


@pytest.fixture(scope="module")
def comparison():
    """Two families of which one is better below 4e12 FLOPs, and the other above."""
    floor = Anchor(12.0, "digits/test", 300, error=0.5)
    gan = History().family("g", "gan", 16, gan_law, sample_flops=1e6, floor=floor)
    diffusion = History().family("d", "diffusion", 16, diffusion_law, seed=1, sample_flops=1e9, floor=floor)
    return compare([gan, diffusion])


def lead(comparison, **asked):
    [panel] = budget_figure(comparison, recommend(comparison, **asked)).panels
    return panel


def test_a_flip_is_marked_with_its_interval_and_both_sides(comparison):
    (flip,) = recommend(comparison).flips
    crossing, budget = lead(comparison).crossings
    assert (budget.x, budget.faint, crossing.faint) == (pytest.approx(16e12), True, False)
    assert (crossing.x, crossing.interval) == (flip.value, (flip.low, flip.high))
    assert "GAN" in crossing.below
    assert "diffusion" in crossing.above


def test_the_score_of_real_images_is_a_level_of_every_figure(comparison):
    verdict = recommend(comparison)
    for figure in (budget_figure(comparison, verdict), *draw_charts(comparison, verdict)):
        for panel in figure.panels:
            [level] = panel.levels
            assert (level.y, level.note) == (12.0, ("300 held-out real images", "12 (11 to 13)"))


def test_the_cost_of_drawing_moves_trainings_by_group(comparison):
    plain, moved = ({dot.y: dot.x for dot in lead(comparison, draw=n).dots} for n in (None, 4000))
    group = {entry.score.value: entry.trial.sweep for entry in comparison.entries}
    assert len(group) == len(plain) == 32
    for score, spent in plain.items():
        assert moved[score] - spent == pytest.approx({"g": 4e9, "d": 4e12}[group[score]])


def test_models_on_the_front_are_strong_in_both_costs(comparison):
    verdict = recommend(comparison)
    [costs] = [figure for figure in draw_charts(comparison, verdict) if len(figure.panels) == 2]
    front = {row.entry.score.value for row in pareto_rows(comparison, verdict)}
    for panel in costs.panels:
        assert {dot.y for dot in panel.dots if not dot.faint} == front
    assert [panel.x for panel in costs.panels] == ["training FLOPs", "sampling FLOPs an image"]


def test_what_mattered_are_the_families_and_the_settings_of_each():
    found = [
        trial("a", n, (10.0 if n % 2 else 90.0) * (1 + n % 3), family=("gan", "vdm")[n % 2], params={"gan.loss": n % 3})
        for n in range(24)
    ]
    comparison = compare([sweep("a", found)])
    rows = list(importance_rows(importance(comparison)))
    assert {name for name, _ in rows} == {"family", "VDM: loss", "GAN: loss", "interactions and noise"}
    assert rows[0][0] == "family"
    assert sum(shown.share for _, shown in rows) == pytest.approx(1)
