"""Stand-ins for the recorded runs of the chapters on pictures: made-up numbers in the tables that the chapters write.

The rows go through the chapters' own functions, so that a column which a chapter renames is missed in a test.
"""

import numpy as np
import pandas as pd
from standins import a_notebook, a_run

from medlib.chapters.contextualisation import context_tables
from medlib.chapters.embedding_geometry import cloud_shapes, embedding_tables, linear_steps, two_traps
from medlib.chapters.grad_cam import heat_rows, heat_scores, logit_sum
from medlib.chapters.grad_cam.heat_maps import MAPS

MODEL, LAYERS, HIDDEN = "scans-llava", 30, 16
QUESTION = "Is there a lesion?"
GEOMETRY = {  # measure -> value at the first and at the last layer and control, for image and for text tokens
    "linearity": ((0.999, 0.997, 0.2), (0.998, 0.99, 0.2)),
    "update_linearity": ((0.95, 0.85, 0.2), (0.9, 0.7, 0.2)),
    "linearity_held_out": ((0.99, 0.98, -0.3), (0.97, 0.95, -0.3)),
    "update_linearity_held_out": ((0.8, 0.6, -0.3), (0.6, 0.3, -0.3)),
    "procrustes": ((0.9, 0.8, 0.1), (0.9, 0.8, 0.1)),
    "anisotropy": ((0.6, 0.3, 0.05), (0.2, 0.4, 0.05)),
    "anisotropy_without_largest": ((0.5, 0.2, 0.05), (0.1, 0.2, 0.05)),
    "mean_cosine": ((0.7, 0.5, 0.0), (0.3, 0.5, 0.0)),
    "dimension": ((9.0, 14.0, 60.0), (12.0, 16.0, 70.0)),
    "dimension_lowest": ((8.0, 12.0, None), (11.0, 15.0, None)),
}
CONTEXT = {"self_similarity": (1.0, 0.7), "intra_similarity": (0.4, 0.6), "mev": (1.0, 0.8)}
NUMBERS = {
    "embedding_geometry": {
        "verdict": "In part: made up",
        "order_of_b": "project B has image tokens the more stretched, and so does this run",
        "peak": "block 23 of 30 (95 % interval 21 to 25), which holds the place of project B, 78% of the depth",
        "copies": "a quarter of copies turns 8.0 into 31.0",
        "repeats_factor": "with the 30% of repeats left in, the fit gives up to 3.0 times the dimension",
    },
    "contextualisation": {"verdict": "Not decided: made up", "question": QUESTION},
    "image_tokens": {name: f"{name}, made up" for name in ("verdict_words", "verdict_neurons", "verdict_patches")},
    "grad_cam": {
        "verdict": "It depends on the map: made up",
        "sum_verdict": "It is no map of what the model says",
        "like_answer_sum": "0.21 (0.10 to 0.30)",
        "like_shifted_answer": "0.30 (0.20 to 0.40)",
        "hit_middle": "10% (0% to 30%)",
        "layer_middle": "15",
    },
    "multimodal_neurons": {"verdict": "not decided, made up"},
}


def a_pictured_run(folder, technique, layers=LAYERS, refused=(), model=MODEL):
    """Write a stand-in run of a chapter on pictures into `<folder>/<model>/`; `refused`: measures without a value."""
    rows = {"embedding_geometry": lambda: _geometry(layers, refused), "contextualisation": lambda: _context(layers)}
    rows |= {"grad_cam": lambda: _grad_cam(layers)}
    texts = NUMBERS[technique]
    numbers = {"peak_layer": {"value": 1, "text": "layer 1 (95 % interval 1 to 2)"}}
    numbers |= {key: {"value": int(text) if text.isdigit() else "word", "text": text} for key, text in texts.items()}
    checks = [
        {"name": "the one token that carries the answer is the hottest", "passed": True, "detail": "planted in 3"}
    ]
    return a_run(
        folder,
        technique,
        model,
        a_notebook(technique, model, numbers=texts),
        rows.get(technique, lambda: None)(),
        numbers=numbers,
        layers=layers,
        hidden=HIDDEN,
        checks=checks,
        parameters=dict(n_scenes=120, n_pictures=50, kinds="lesion side"),
    )


def _geometry(layers, refused):
    rows = []
    for metric, kinds in GEOMETRY.items():
        step = metric in linear_steps.CURVES
        at = range(1, layers + 1, 2) if step else range(0, layers + 1, 2)
        for kind, (first, last, control) in zip(("image", "text"), kinds, strict=True):
            for layer, value in zip(at, np.linspace(first, last, len(at)), strict=True):
                there = metric not in refused
                row = dict(kind=kind, layer=layer, metric=metric, n=2880, control=control if there else None)
                row |= dict(value=value, low=value - 0.01, high=value + 0.01) if there else dict(value=None)
                row |= dict(reason=None if there else "too few")
                if metric == "dimension_lowest":
                    row |= dict(low=None, high=None)
                rows.append(row | (dict(duplicates=900 * (layer == 0 and kind == "text")) if not step else {}))
    table, steps = pd.DataFrame(rows), list(linear_steps.CURVES)
    is_step, generator = table["metric"].isin(steps), np.random.default_rng(0)
    apart = pd.DataFrame([dict(layer=2, metric=cloud_shapes.CURVES[0], value=0.1, low=0.0, high=0.2)])
    x, y = generator.normal(size=(2, 3 * HIDDEN, HIDDEN))
    read = pd.DataFrame([dict(layer=0, fit="lowest", value=30.0, clean=10.0, repeats=5, n=20)])
    return embedding_tables.results_table(
        table[is_step].drop(columns="duplicates"),
        table[~is_step],
        apart,
        linear_steps.of_pictures({}, [], []),
        two_traps.few_tokens(x, y),
        two_traps.with_copies(generator.normal(size=(400, 8))),
        read,
    )


def _context(layers):
    parts = []
    for kind, variant in (("text", QUESTION), ("text", "What is shown?"), ("image", None)):
        for space in context_tables.SPACES:
            for metric, (first, last) in CONTEXT.items():
                lift = 0.0 if (variant, space) == (QUESTION, "raw") else 0.05  # what must not be taken for the curve
                value = np.linspace(first, last, layers + 1) - lift
                for name, curve in ((metric, value), (f"{metric}_baseline", value - 0.3)):
                    labels = dict(component=kind, variant=variant, space=space, metric=name, layer=range(layers + 1))
                    parts.append(pd.DataFrame(labels | dict(value=curve, low=curve - 0.02, high=curve + 0.02, n=50)))
    curves = pd.concat(parts, ignore_index=True)
    return context_tables.results_table({"scans": [curves], "scans, shuffled": [curves.assign(value=curves["low"])]})


def _grad_cam(layers):
    generator, at, metrics = np.random.default_rng(0), range(5, layers + 1, 5), heat_scores.METRICS
    levels = dict(attention=0.1, rollout=0.05, grad_cam=0.3, contrast=0.4, all_logits=0.08)
    found = [
        (scene, "lesion", name, weights, layer, *[generator.uniform(0, 2 * levels[name] * share)] * 3)
        for scene in range(20)
        for name in MAPS
        for weights, share in (("own", 1), ("randomised", 0.3))
        for layer in at
    ]
    found = pd.DataFrame(found, columns=["scene", "kind", "map", "weights", "layer", *metrics])
    bases = [
        (scene, "lesion", name, "none", *[value] * 3)
        for scene in range(20)
        for name, value in dict(centre=0.05, random=0.1, brightness=0.15, lesion=0.7).items()
    ]
    bases = pd.DataFrame(bases, columns=["scene", "kind", "map", "weights", *metrics])
    choosing, reported = heat_scores.halves(found)
    chosen = heat_scores.choose_layers(found, choosing)
    compared = heat_scores.compared(found, bases, chosen, reported)
    curves = heat_scores.layer_curves(found, reported, "pointing").assign(metric="pointing_by_layer")
    knows = pd.DataFrame(dict(value=0.9, low=0.8, high=0.95, n=20), index=["lesion"])
    likeness = pd.DataFrame(
        [
            dict(pair=pair, layer=layer, value=value, low=value - 0.1, high=value + 0.1, n=20, empty=0)
            for pair, value in zip(logit_sum.PAIRS, (0.6, 0.2, 0.1, 0.5, -0.4), strict=True)
            for layer in at
        ]
    )
    areas = dict(map="grad_cam", fill="twin", curve="deletion", control=None, value=0.4, low=0.3, high=0.5)
    single = heat_scores.at_layers(found, chosen)
    others, shifted = (
        heat_scores.other_kinds(found, chosen, reported, "lesion"),
        pd.DataFrame(dict(scene=[], shifted=[])),
    )
    tables = compared, curves, knows, likeness, None, pd.DataFrame([areas]), single, others, shifted
    return heat_rows.rows(*tables, "lesion")
