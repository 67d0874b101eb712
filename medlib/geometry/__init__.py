"""Measures of a cloud of states: arrays in, numbers out.

>>> from medlib import geometry
>>> geometry.silhouette(states[12], drugs.specialty)      # states[12]: [n, hidden]

A measure takes `[n, hidden]` arrays, computes in float64, and returns a float, or, where it is several numbers, a
dict of them by name (one row of a table).  What cannot be measured (NaN, too few rows, one label) is a `MedlibError`.
Each file is one question: how is the cloud spread (`spread`), what does a block do to it (`transitions`), how many
dimensions does it have (`dimension`), do labels cluster (`clusters`), does an order show (`ordered`), does the cloud
go round a hole (`homology`), can a number be read off (`probe`), and in which space do we look (`spaces`).
"""

from medlib.geometry.clusters import distances, silhouette, silhouette_samples, silhouette_test, silhouettes_tested
from medlib.geometry.dimension import intrinsic_dimension, two_nn
from medlib.geometry.homology import dealt_loop_test, longest_loop
from medlib.geometry.ordered import circularity, late_return, order_test, progression, step_test, steps, without
from medlib.geometry.points import centroids, distinct, rms_normalised, without_largest
from medlib.geometry.probe import ridge_probe
from medlib.geometry.spaces import spaces, umap, umap2
from medlib.geometry.spread import (
    anisotropy,
    collapse,
    effective_rank,
    intra_similarity,
    local_anisotropies,
    local_anisotropy,
    mean_cosine,
    mev,
    self_similarity,
)
from medlib.geometry.transitions import linearity, procrustes, update_linearity

__all__ = [
    "anisotropy",
    "centroids",
    "circularity",
    "collapse",
    "dealt_loop_test",
    "distances",
    "distinct",
    "effective_rank",
    "intra_similarity",
    "intrinsic_dimension",
    "late_return",
    "linearity",
    "local_anisotropies",
    "local_anisotropy",
    "longest_loop",
    "mean_cosine",
    "mev",
    "order_test",
    "procrustes",
    "progression",
    "ridge_probe",
    "rms_normalised",
    "self_similarity",
    "silhouette",
    "silhouette_samples",
    "silhouette_test",
    "silhouettes_tested",
    "spaces",
    "step_test",
    "steps",
    "two_nn",
    "umap",
    "umap2",
    "update_linearity",
    "without",
    "without_largest",
]
