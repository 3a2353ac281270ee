"""Many comparisons at once: p-values adjusted so that one lucky one does not become a finding.

Holm for the family that a study declares (each variant against the baseline, per task): the chance of any
false "better" or "worse" stays under alpha. Benjamini-Hochberg for tables of many subjects, where the share
of false findings among the findings is what matters. Adjusted values keep the order of the input and compare
with alpha directly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tunelab.stats.arrays import FloatArray


def holm(p: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values, shape (comparisons,), that control the family-wise error (Holm 1979).

    An empty family stays empty. Raises ValueError for NaN or values outside 0 to 1.
    """
    return _adjust(p, "holm")


def benjamini_hochberg(p: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values, shape (comparisons,), that control the false discovery rate (Benjamini & Hochberg 1995).

    An empty table stays empty. Raises ValueError for NaN or values outside 0 to 1.
    """
    return _adjust(p, "fdr_bh")


def _adjust(p: npt.ArrayLike, method: str) -> FloatArray:
    from statsmodels.stats.multitest import multipletests  # imports pandas: not before it is needed

    raw = np.asarray(p, dtype=np.float64)
    if raw.ndim != 1:
        raise ValueError(f"p-values: got shape {raw.shape}, expected one axis")
    if not np.all((raw >= 0) & (raw <= 1)):
        raise ValueError(f"p-values: got {raw.tolist()}, expected each between 0 and 1")
    if raw.size == 0:
        return raw
    adjusted = np.asarray(multipletests(raw, method=method)[1], dtype=np.float64)
    return np.maximum(adjusted, raw)  # n p / n can round below p
