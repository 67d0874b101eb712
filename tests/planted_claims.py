"""Planted recorded tables: for each claim one that supports it, one that contradicts it, one that decides nothing."""

import numpy as np
import pandas as pd

from medlib import concepts, results
from medlib.book.claims.evidence import Run

LAYERS = range(1, 13)
MEDICAL = concepts.medical()
CONTROLS = [concepts.control(name) for name in MEDICAL]
SMALL, OTHER = "gemma-3-270m", "smollm2-135m"


def row(metric, value, low=None, high=None, **where):
    return dict(metric=metric, value=value, low=low, high=high) | where


def around(metric, value, width=0.05, **where):
    return row(metric, value, value - width, value + width, **where)


def run(rows, numbers=None):
    return Run(results.tidy(pd.DataFrame(rows), model="m", technique="t"), numbers or {})


def knows(*unknown):
    return run([row("known", float(name not in unknown), domain=name) for name in [*MEDICAL, *CONTROLS]])


def a1(word):
    shares = {"supported": (0.7, 0.7, 0.7), "contradicted": (0.3, 0.3, 0.3), "not decided": (0.9, 0.7, 0.3)}[word]
    hows = zip(("identity", "mean", "resample"), shares, strict=True)
    rows = [around(f"early_half_{how}", at, domain=name) for how, at in hows for name in [*MEDICAL, *CONTROLS]]
    rows += [row("kl_identity", 1.0, domain=name, component="block", layer=1, n=12) for name in [*MEDICAL, *CONTROLS]]
    return {SMALL: {"lesion": run(rows), "knowledge": knows("dosage")}}


def _r2(curve, width):
    of = {"age": curve, "numbers": dict.fromkeys(LAYERS, 0.95)}
    return [around("ridge_r2", of[d][layer], width, domain=d, layer=layer, n=101) for d in of for layer in LAYERS]


def a2a(word):
    value, width = {"supported": (0.95, 0.02), "contradicted": (0.5, 0.2), "not decided": (0.95, 0.1)}[word]
    dealt = [around("ridge_r2_control_task", -1.0, domain="age", layer=layer, n=101) for layer in LAYERS]
    return {SMALL: {"ages": run(_r2(dict.fromkeys(LAYERS, value), width) + dealt)}}


def a2b(word):
    curve = {layer: 0.6 if word == "supported" and 5 <= layer <= 8 else 0.95 for layer in LAYERS}
    line = 0.6 if word == "contradicted" else 0.2
    return {SMALL: {"ages": run(_r2(curve, 0.02), dict(likeness_age=0.7, likeness_line=line, likeness_helix=0.3))}}


def a2c(word):
    generator = np.random.default_rng(0)
    stands_out, p = {"supported": (9.0, 0.001), "contradicted": (0.0, 0.6), "not decided": (9.0, 0.6)}[word]
    rows = []
    for domain, t_17, p_17 in (("age", stands_out, p), ("numbers", 0.0, 0.6)):
        for step, t in enumerate(generator.normal(size=100)):
            t = {17: t_17, 18: 0.0}.get(step, t)
            rows += [row("step_t", t, domain=domain, item=f"{step}|{step + 1}", layer=layer) for layer in LAYERS]
        where = dict(domain=domain, item="17|18")
        rows += [row("p_step_in_every_wording", p_17, layer=layer, **where) for layer in LAYERS]
    return {SMALL: {"ages": run(rows)}}


SERIES = {"progression": ["Parkinson's disease", "COPD", *(f"disease {i}" for i in range(10))]}
SERIES["processes"] = [f"process {i}" for i in range(12)]
STAGES = dict(space="raw", variant="mean, unnumbered")


def _of_series(measure, values, ps):
    """`values`, `ps`: item -> number on every state; 0.2 and 0.5 of those that are not named."""
    return [
        row(metric, of.get(item, other), domain=domain, item=item, layer=layer, **STAGES)
        for domain, items in SERIES.items()
        for item in items
        for layer in [0, *LAYERS]
        for metric, of, other in ((measure, values, 0.2), (f"p_{measure}", ps, 0.5))
    ]


def a3a(word):
    mean, width = {"supported": (0.1, 0.2), "contradicted": (-0.2, 0.1), "not decided": (-0.05, 0.1)}[word]
    sure = SERIES["progression"][:4] if word == "supported" else []
    rows = _of_series("circularity", {}, dict.fromkeys(sure, 0.001))
    where = dict(domain="progression", **STAGES)
    rows += [around("circularity", mean, width, layer=layer, **where) for layer in [0, *LAYERS]]
    return {SMALL: {"progression": run(rows)}}


def a3b(word):
    late, p = {"supported": (0.3, 0.001), "contradicted": (-0.3, 0.9), "not decided": (0.3, 0.5)}[word]
    two = SERIES["progression"][:2]
    return {SMALL: {"progression": run(_of_series("late_return", dict.fromkeys(two, late), dict.fromkeys(two, p)))}}


NAMES, APART = "residual stream", "residual stream, no shared piece"


def a4(word):
    both = {"supported": (0.1, 0.1), "contradicted": (-0.1, 0.0), "not decided": (0.1, 0.0)}[word]
    metric = "silhouette_specialty_minus_mechanism_above_shuffled"
    components = zip((NAMES, APART), both, strict=True)
    rows = [around(metric, value, domain="drugs", component=c, space="raw", n=304) for c, value in components]
    for label, value in (("specialty", 0.3), ("mechanism", 0.1)):
        where = dict(domain="drugs", space="umap30", component="residual stream, late", variant="late, seed 0")
        rows += [row(f"silhouette_{label}_above_shuffled", value, layer=layer, **where) for layer in (0, 6, 12)]
    metric = "silhouette_kind_minus_origin_above_shuffled"
    return {SMALL: {"geometry": run([*rows, around(metric, 0.0, domain="foods", component=NAMES, space="raw", n=304)])}}


def a5(word):
    value, width = {"supported": (0.3, 0.1), "contradicted": (0.8, 0.1), "not decided": (0.5, 0.1)}[word]
    rows = [
        around("depth", value if 4 <= layer <= 6 else 0.9, width, space=space, **where, layer=layer)
        for domain in [*MEDICAL, *CONTROLS]
        for where in (dict(domain=domain, component="mean", variant=v) for v in ("early", "late"))
        for space in ("raw", "without largest")
        for layer in LAYERS[1:-1]
    ]
    return {SMALL: {"collapse": run(rows)}}


def a6(word):
    p, apart, value = {
        "supported": (0.01, 0.01, 0.1),
        "contradicted": (0.9, 0.9, -0.1),
        "not decided": (0.01, 0.9, 0.1),
    }[word]
    labels = {"symptoms": ["system"], "diseases": ["chapter", "organ_system"]}
    labels |= {"animals": ["group"], "cities": ["latitude", "subregion"]}
    rows = []
    for domain, label in ((domain, label) for domain, of in labels.items() for label in of):
        for layer in [0, *LAYERS]:
            where = dict(domain=domain, space="raw", layer=layer)
            for component, found in ((NAMES, p), (APART, apart)):
                rows.append(row(f"silhouette_{label}_p_corrected", found, component=component, **where))
            each = (row(f"silhouette_{label}_above_shuffled", value + 0.001 * i, item=f"item {i}") for i in range(9))
            rows += [one | where | dict(component=NAMES) for one in each]
    return {SMALL: {"geometry": run(rows)}}


def lesions(harm, same, layers):
    """A lesion run of a model of so many layers in which every lesion costs `harm` and `same` of the words stay."""
    rows = []
    for domain in [*MEDICAL, *CONTROLS]:
        for layer in range(1, layers + 1):
            where = dict(domain=domain, component="block", layer=layer)
            if domain in MEDICAL:
                rows += [around(f"kl_{how}", harm, **where) for how in ("identity", "mean", "resample")]
                rows.append(around("top1_same", same, **where))
            rows += [row("kl", harm + 0.01 * item, item=f"{domain} {item}", **where) for item in range(4)]
            rows += [
                around("kl", harm * size, domain=domain, component="window", variant=f"from block {layer}", layer=end)
                for size in (1, 2)
                if domain in MEDICAL and (end := layer + size - 1) <= layers
            ]
    return run(rows)


def a7(word):
    here, there = {"supported": (9.0, 1.0), "contradicted": (1.0, 9.0), "not decided": (1.5, 1.0)}[word]
    stays = {"supported": (0.3, 0.6), "contradicted": (0.6, 0.3), "not decided": (0.6, 0.3)}[word]
    book = {SMALL: {"lesion": lesions(here, stays[0], 12)}}
    return book | {OTHER: {"lesion": lesions(there, stays[1], 20)}}


def a8(word):
    inner = {"supported": (0.9, 0.1), "contradicted": (0.1, 0.1), "not decided": (0.5, 0.3)}[word]
    where = dict(domain="dosage", component="residual", space="last", n=7)
    rows = [around("recovered", *(inner if layer < 12 else (1.0, 0.0)), layer=layer, **where) for layer in LAYERS]
    rows += [
        around("handover", 8, 1, domain=name, component="residual", space="last") for name in ("dosage", "elements")
    ]
    return {SMALL: {"patching": run(rows), "knowledge": knows()}}


IMAGE = "llava-med-7b"


def _steps(held_out, metric, other):
    """Curves of image tokens over blocks 1..12: linearity held out with its control, and another metric."""
    rows = []
    for layer in LAYERS:
        where = dict(component="image", layer=layer, n=1000)
        rows.append(around("update_linearity_held_out", held_out[layer], 0.01, **where))
        rows.append(around(metric, other, 0.01, **where))
        rows.append(row("update_linearity_held_out", -0.2, variant="control", **where))
    return {IMAGE: {"embedding_geometry": run(rows)}}


def b1(word):
    out, into = {"supported": (0.92, 0.97), "contradicted": (0.5, 0.7), "not decided": (0.8, 0.97)}[word]
    return _steps(dict.fromkeys(LAYERS, out), "update_linearity", into)


def b2(word):
    if word == "not decided":
        return _steps(dict.fromkeys(LAYERS, 0.8), "anisotropy", 0.7)
    peak = 9 if word == "supported" else 2
    curve = {layer: 0.9 if layer == peak else 0.8 for layer in LAYERS}
    return _steps(curve, "anisotropy", 0.7)


def _kinds(metric, image, text, difference, control):
    rows = []
    for layer in [0, *LAYERS]:
        for kind, value in (("image", image), ("text", text)):
            rows.append(around(metric, value, component=kind, layer=layer, n=1000))
            rows.append(row(metric, control, component=kind, variant="control", layer=layer, n=1000))
            for part in ("half", "quarter") if metric == "dimension" else ():
                rows.append(row(f"{metric}_{part}", value, component=kind, layer=layer, n=1000))
        rows.append(around(f"{metric}_difference", difference, component="image less text", layer=layer))
    return {IMAGE: {"embedding_geometry": run(rows)}}


def b3(word):
    values = {"supported": (0.7, 0.3, 0.4), "contradicted": (0.3, 0.7, -0.4), "not decided": (0.5, 0.5, 0.0)}[word]
    return _kinds("anisotropy", *values, control=0.1)


def b4(word):
    values = {"supported": (7, 12, -0.5), "contradicted": (12, 7, 0.5), "not decided": (9, 9, 0.0)}[word]
    return _kinds("dimension", *values, control=40)


ASKED = "Is there a lesion?"


def b5(word):
    falls = {"supported": 0.1, "contradicted": -0.1, "not decided": 0.1}[word]
    text = dict(component="text", variant=ASKED, n=50)
    rows = [around("self_similarity", 0.9, domain="scans", space="raw", layer=layer, **text) for layer in LAYERS]
    for measure in ("self_similarity", "self_similarity_adjusted"):
        for space in ("raw", "without largest", "without 1 largest", "without 3 largest"):
            unlike = word == "not decided" and space == "without 1 largest"
            where = dict(domain="scans", space=space, **text)
            for ending in ("", "_without_first", "_without_ends"):
                rows.append(around(f"{measure}_fall{ending}", -falls if unlike else falls, 0.02, **where))
                rows.append(row(f"{measure}_fall{ending}_p", 0.001, **where))
        where = dict(domain="scans against shuffled", space="raw", **text)
        rows.append(around(f"{measure}_fall_less_shuffled", 0.05, 0.02, **where))
        rows.append(row(f"{measure}_fall_less_shuffled_p", 0.001, **where))
    return {IMAGE: {"contextualisation": run(rows)}}


def _ends(metric, first, last):
    """A measure of the first question at every state of 32: `first` at state 0 and `last` after it."""
    text = dict(domain="scans", component="text", variant=ASKED, space="raw", n=50)
    names = dict.fromkeys(["self_similarity", metric, f"{metric}_adjusted"])
    rows = [around(name, last if layer else first, 0.02, layer=layer, **text) for name in names for layer in range(33)]
    return {IMAGE: {"contextualisation": run(rows)}}


def b6(word):
    return _ends("intra_similarity", 0.3, {"supported": 0.6, "contradicted": 0.1, "not decided": 0.31}[word])


def b7(word):
    return _ends("mev", 0.9, {"supported": 0.6, "contradicted": 0.98, "not decided": 0.91}[word])


def b8(word):
    value, q = {"supported": (0.1, 0.01), "contradicted": (-0.1, 0.01), "not decided": (0.1, 0.4)}[word]
    rows = []
    for layer in (5, 10, 15, 20, 25, 30):
        where = dict(domain="neurons", layer=layer, n=20)
        rows.append(around("answer_words", value, **where))
        rows += [row(f"answer_words_{name}", x, **where) for name, x in (("q", q), ("own", 0.3), ("control", 0.2))]
    return {IMAGE: {"image_tokens": run(rows)}}


def b9(word):
    last = {"supported": 0.2, "contradicted": -0.2, "not decided": 0.0}[word]
    less = dict(centre=0.2, random=0.2, brightness=last, randomised=0.2)
    where = dict(domain="lesion", component="all_logits", layer=15, n=20)
    rows = [around("pointing", 0.4, **where), around("answered_right", 0.8, domain="lesion", n=40)]
    rows += [around("pointing", value, variant=f"less {name}", **where) for name, value in less.items()]
    return {IMAGE: {"grad_cam": run(rows)}}


def b10(word):
    carried = {"supported": 0.5, "contradicted": -0.5, "not decided": 0.0}[word]
    rows = []
    for kind, answers in (("polarity", ("bright", "dark")), ("plane", ("axial", "coronal", "sagittal"))):
        rows.append(around("balanced accuracy", 0.9, domain=kind, n=30))
        rows += [row("mean score", 0.1, domain=kind, variant=a, item=f"3:7 {a}", component="gradient") for a in answers]
        for k in (5, 80):
            where = dict(domain=kind, component=f"{k} units by the gradient", n=30)
            for control in ("random", "matched"):
                rows.append(around(f"drop, first less {control}", 0.5, variant=f"units for {kind}", **where))
        rows.append(around("drop, where right less where wrong", carried, **where))
    return {IMAGE: {"multimodal_neurons": run(rows)}}


PLANTED = dict(A1=a1, A2a=a2a, A2b=a2b, A2c=a2c, A3a=a3a, A3b=a3b, A4=a4, A5=a5, A6=a6, A7=a7, A8=a8)
PLANTED |= dict(B1=b1, B2=b2, B3=b3, B4=b4, B5=b5, B6=b6, B7=b7, B8=b8, B9=b9, B10=b10)


def model_of(key):
    return SMALL if key.startswith("A") else IMAGE
