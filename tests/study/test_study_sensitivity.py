"""What a comparison could have seen, what it would take, and what clusters change; against formulas by hand."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import binom, norm, ttest_1samp
from statsmodels.stats.power import TTestPower
from study_files import changed, opened

from tunelab.engine.runner import Runner
from tunelab.engine.step import Step
from tunelab.engine.store import Store
from tunelab.files import read_json, write_json, write_lines
from tunelab.scoring.aggregate import summarise
from tunelab.scoring.score import Metric, judged
from tunelab.study.api import SilentReporter
from tunelab.study.cells import cells, describe_cell
from tunelab.study.comparison import compare
from tunelab.study.scored import Scored
from tunelab.study.steps.score import read_scores

K = norm.ppf(0.975) + norm.ppf(0.8)
METRIC = Metric("m", binary=False)


@pytest.fixture
def pair(tmp_path):
    """The base and two losses under one evaluation."""
    train = {loss: {"format": "chat", "loss": loss} for loss in ("all", "completion")}
    study = changed(train=train, evaluate={"chat": {"format": "chat"}})
    return [describe_cell(cell) for cell in cells(opened(tmp_path, study))]


def scored(cell, values, clusters=None):
    scores = {f"q{i}": [judged(v == 1, "4", {"m": float(v)})] for i, v in enumerate(values)}
    return Scored(cell, scores, summarise(scores, [METRIC]), "v1", clusters or {})


def compared(pair, base, values, alpha=0.05, clusters=None):
    found = [scored(cell, v, clusters) for cell, v in zip(pair, (base, values), strict=False)]
    [row] = compare({s.cell["cell"]: s for s in found}, alpha)["comparisons"]
    return row


def detectable(n):
    """Standardised effect that a one-sample t test on n units finds in 80 of 100 studies."""
    return TTestPower().solve_power(nobs=n, power=0.8, alpha=0.05)


def test_right_and_wrong_need_the_items_of_the_power_equation(pair):
    base, better = [0] * 400, [1] * 30 + [0] * 360 + [1] * 10
    base[380:390] = [1] * 10
    row = compared(pair, base, better)
    changed = 50 / 400
    assert (row["difference"], row["discordant"]) == pytest.approx((30 / 400, changed))
    assert row["items_needed"] == np.ceil(K**2 * (changed - 0.075**2) / 0.075**2)
    assert row["minimum_detectable_effect"] == pytest.approx(K * np.sqrt(changed / (400 + K**2)))


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_graded_values_need_about_the_items_of_the_t_test(pair, alpha):
    base, other = np.random.default_rng(0).random((2, 60))
    row = compared(pair, base, other, alpha)
    size = abs(np.mean(other - base)) / np.std(other - base, ddof=1)
    assert 0 <= TTestPower().solve_power(size, power=0.8, alpha=alpha) - row["items_needed"] < 5


def test_outputs_that_are_all_alike_could_still_have_shown_a_difference(pair):
    row = compared(pair, [1, 0] * 15, [1, 0] * 15)
    assert (row["difference"], row["verdict"], row["items_needed"]) == (0, "undecided", None)
    assert binom.sf(5, 30, row["minimum_detectable_effect"]) == pytest.approx(0.8)  # six one way are enough


@pytest.mark.parametrize(("n", "alpha"), [(5, 0.05), (7, 0.01)])
def test_fewer_items_than_the_exact_test_needs_could_have_shown_nothing(pair, n, alpha):
    assert compared(pair, [0] * n, [1] * n, alpha)["minimum_detectable_effect"] is None
    assert compared(pair, [0] * n, [0] * n, alpha)["minimum_detectable_effect"] is None
    assert compared(pair, [0] * (n + 1), [1] * (n + 1), alpha)["minimum_detectable_effect"] <= 1


def test_graded_values_that_are_all_alike_could_still_have_shown_a_difference(pair):
    values = np.random.default_rng(1).random(25)
    row = compared(pair, values, values)
    assert (row["difference"], row["test"], row["items_needed"]) == (0, "sign_exact", None)
    assert binom.sf(5, 25, row["minimum_detectable_effect"]) == pytest.approx(0.8)


def test_a_constant_difference_needs_what_the_sign_test_needs(pair):
    values = np.arange(12) / 16
    row = compared(pair, values, values + 0.25)
    assert (row["test"], row["items_needed"]) == ("sign_exact", 6)


def test_effects_say_what_they_could_see_and_what_they_take(pair):
    one, two = np.random.default_rng(2).random((2, 50))
    found = [scored(cell, values) for cell, values in zip(pair[1:], (one, two), strict=True)]
    [row] = compare({s.cell["cell"]: s for s in found}, 0.05)["effects"]
    spread = np.std(two - one, ddof=1)
    assert row["minimum_detectable_effect"] == pytest.approx(spread * detectable(50), rel=1e-5)
    assert row["items_needed"] == np.ceil((K * spread / np.mean(two - one)) ** 2)


def clustered(kind):
    """Scores in 20 clusters of 4 that differ from each other; and the name of each item's cluster."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(20), 4)
    shifts = rng.normal(0.1, 0.3, 20)[groups]
    base = rng.random(80)
    other = np.clip(base + shifts, 0, 1)
    base, other = (base.round(), other.round()) if kind == "right" else (base, other)
    return base, other, groups, {f"q{i}": f"passage {g}" for i, g in enumerate(groups)}


@pytest.mark.parametrize("kind", ["right", "graded"])
def test_clusters_widen_a_comparison_as_cluster_robust_errors_do(pair, kind):
    base, other, groups, names = clustered(kind)
    row = compared(pair, base, other, clusters=names)
    fit = sm.OLS(other - base, np.ones(80)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert (row["test"], row["clusters"]) == ("clustered_t", 20)
    assert row["p_value"] == pytest.approx(fit.pvalues[0])
    assert (row["low"], row["high"]) == pytest.approx(tuple(fit.conf_int()[0]))
    assert row["minimum_detectable_effect"] == pytest.approx(fit.bse[0] * np.sqrt(20) * detectable(20), rel=1e-5)
    assert row["items_needed"] == np.ceil((K * fit.bse[0] / fit.params[0]) ** 2 * 80)


def test_clusters_widen_effects_too(pair):
    one, two, groups, names = clustered("graded")
    found = [scored(cell, values, names) for cell, values in zip(pair[1:], (one, two), strict=True)]
    [row] = compare({s.cell["cell"]: s for s in found}, 0.05)["effects"]
    fit = sm.OLS(two - one, np.ones(80)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert (row["p_value"], row["test"]) == (pytest.approx(fit.pvalues[0]), "clustered_t")


def test_clusters_of_one_item_leave_mcnemars_test(pair):
    base, other, _, _ = clustered("right")
    row = compared(pair, base, other, clusters={f"q{i}": f"passage {i}" for i in range(80)})
    assert (row["test"], row["clusters"]) == ("mcnemar_exact", None)


def test_an_item_without_a_cluster_stands_alone_even_if_a_cluster_has_its_name(pair):
    values = np.random.default_rng(6).random((2, 6))
    row = compared(pair, *values, clusters={"q0": "q5", "q1": "q5"})
    assert row["clusters"] == 5


def write(context):
    """Write what a score step writes."""
    write_lines(context.directory / "scores.jsonl", context.settings["rows"])
    write_json(context.directory / "summary.json", summarise(read_scores(context.settings["rows"]), [METRIC]))


def test_the_step_reads_clusters_from_the_rows_of_scores(tmp_path, pair):
    base, other, _, names = clustered("right")
    inputs = {}
    for cell, values in zip(pair[:2], (base, other), strict=True):
        rows = [
            {"id": f"q{i}", "sample": 0, "outcome": "wrong", "values": {"m": float(v)}}
            | ({} if i < 4 else {"cluster": names[f"q{i}"]})
            for i, v in enumerate(values)
        ]
        settings = {"rows": rows, "scorer": {"name": "t"}}
        inputs[cell["cell"]] = Step("score", 1, "s", f"{__name__}:write", settings)
    known = {"rows": {"declared": None, "place": "", "published": None, "size": None, "reserves": False}}
    settings = {"cells": [{**cell, **known} for cell in pair[:2]], "alpha": 0.05, "tree": {}}
    step = Step("compare", 1, "c", "tunelab.study.steps.compare:run", settings, inputs, {"folder": "."}, tolerant=True)
    store = Store(tmp_path / "store")
    assert Runner(store, SilentReporter()).run([step]).ok
    [row] = read_json(store.find(step).path("comparison.json"))["comparisons"]
    assert (row["test"], row["clusters"]) == ("clustered_t", 19 + 4)
    groups = [f"alone {i}" if i < 4 else names[f"q{i}"] for i in range(80)]
    sums = np.array([np.sum((other - base - np.mean(other - base))[np.array(groups) == g]) for g in set(groups)])
    assert row["p_value"] != pytest.approx(ttest_1samp(other - base, 0).pvalue)
    se = np.sqrt(23 / 22 * np.sum(sums**2)) / 80
    assert row["minimum_detectable_effect"] == pytest.approx(se * np.sqrt(23) * detectable(23), rel=1e-5)
