"""Honest statistics for comparing variants: pure functions on arrays, no files, no models.

    one score         wilson · clopper_pearson · mean_t · bounds_with_missing · threshold
    two judges        agreement
    two variants      paired_difference · verdict · flip_rate
    corpus metrics    corpus_interval · paired_corpus_difference · corpus_contrast · corpus_mean
                      bootstrap_statistic · bootstrap_difference
    several tasks     macro_mean
    many              holm · benjamini_hochberg · shrunken_means
    factors           main_effects · interaction → contrast
    several seeds     seed_mean · seed_difference, seed_corpus_mean · seed_corpus_difference, between_seed_sd
    before running    minimum_detectable_effect · items_needed, and _mean for graded scores · mcnemar_power
                      fewest_items · minimum_detectable_with_seeds · minimum_detectable_t · seeds_needed

Every distribution is scipy's or statsmodels'. Scores are finite floats, one per item, in the same item order
for all variants; shares run from 0 to 1. What is wrong raises ``ValueError``, and no result is NaN.
"""

from tunelab.stats.agreement import Agreement, agreement, flip_rate
from tunelab.stats.bootstrap import (
    bootstrap_difference,
    bootstrap_statistic,
    corpus_contrast,
    corpus_interval,
    corpus_mean,
    paired_corpus_difference,
)
from tunelab.stats.factors import interaction, main_effects
from tunelab.stats.intervals import Interval, bounds_with_missing, clopper_pearson, wilson
from tunelab.stats.macro import macro_mean
from tunelab.stats.means import mean_t
from tunelab.stats.multiple import benjamini_hochberg, holm
from tunelab.stats.paired import Estimate, Paired, contrast, mcnemar_exact, paired_difference
from tunelab.stats.power import (
    fewest_items,
    items_needed,
    items_needed_mean,
    mcnemar_power,
    minimum_detectable_effect,
    minimum_detectable_mean,
    minimum_detectable_t,
    minimum_detectable_with_seeds,
    seeds_needed,
)
from tunelab.stats.seeds import (
    between_seed_sd,
    seed_corpus_difference,
    seed_corpus_mean,
    seed_difference,
    seed_mean,
)
from tunelab.stats.shrinkage import shrunken_means
from tunelab.stats.verdict import ThresholdVerdict, Verdict, threshold, verdict

__all__ = [
    "Agreement",
    "Estimate",
    "Interval",
    "Paired",
    "ThresholdVerdict",
    "Verdict",
    "agreement",
    "benjamini_hochberg",
    "between_seed_sd",
    "bootstrap_difference",
    "bootstrap_statistic",
    "bounds_with_missing",
    "clopper_pearson",
    "contrast",
    "corpus_contrast",
    "corpus_interval",
    "corpus_mean",
    "fewest_items",
    "flip_rate",
    "holm",
    "interaction",
    "items_needed",
    "items_needed_mean",
    "macro_mean",
    "main_effects",
    "mcnemar_exact",
    "mcnemar_power",
    "mean_t",
    "minimum_detectable_effect",
    "minimum_detectable_mean",
    "minimum_detectable_t",
    "minimum_detectable_with_seeds",
    "paired_corpus_difference",
    "paired_difference",
    "seed_corpus_difference",
    "seed_corpus_mean",
    "seed_difference",
    "seed_mean",
    "seeds_needed",
    "shrunken_means",
    "threshold",
    "verdict",
    "wilson",
]
