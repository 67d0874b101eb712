"""The results table of the chapter on ages: every number that its figures and prose come from, a row each."""

import pandas as pd

from medlib import results
from medlib.chapters.ages.age_prose import AT, name
from medlib.chapters.ages.number_line import DOMAIN_OF


def table(read, moved, shapes, umap, found, everywhere, factors):
    """All rows, in the columns of `results.COLUMNS`.

    `read`: `(r2, r2_control, r2_difference, reading)`; `moved`: `(ordered, control)`; `shapes`: `(likeness, noise)`;
    `found`: place -> `age_steps.breaks`; `everywhere`: family -> `age_steps.in_every_wording`; `factors`:
    `age_steps.numeral_lengths`.
    """
    parts = [*_read(*read), *_shapes(*shapes, umap)]
    for curve, metric in zip(moved, ("probe_ordered", "probe_ordered_control_task"), strict=True):
        parts.append(curve.assign(metric=metric, variant=curve["task"]))
    parts += [one for place, steps in found.items() for one in _steps(steps, place)]
    for family, tested in everywhere.items():
        steps = tested.assign(value=tested["p"], item=tested["step"].map(name))
        parts.append(steps.assign(metric="p_step_in_every_wording", domain=DOMAIN_OF[family]))
    taken = factors.assign(domain=factors["kind"].map(_domain_of_kind(found["entity"])), item=factors["step"])
    variant = taken["kind"] + " / " + taken["variant"]
    parts.append(taken.assign(metric="step_factor_of_numeral", value=taken["factor"], variant=variant))
    whole = pd.concat(parts)
    whole["space"] = whole["space"].fillna("raw")
    return whole[whole.columns.intersection(results.COLUMNS)].assign(component="residual stream")


def drawn(overall, flat, reading):
    """What figures show beyond `table`, as its rows: steps over all layers, points of clouds, ranges of residuals.

    `overall`: family -> `age_steps.over_all`; `flat`: of `number_figures.flattened`, one wording; `reading`: of
    `number_line.readings`, with `domain`, at the states that are shown.
    """
    each = reading.groupby(["domain", "cluster", "layer"])["residual"]
    ranges = results.significant(each.agg(["mean", "min", "max"]))
    ranges = pd.DataFrame(ranges, each.mean().index, columns=["value", "low", "high"]).reset_index()
    parts = [ranges.assign(metric="ridge_residual_range", item=ranges["cluster"])]
    for family, steps in overall.items():
        named = dict(metric="step_over_all", domain=DOMAIN_OF[family], item=steps["step"].map(name))
        parts.append(steps.assign(value=steps["even"], **named))
    for axis in ("first", "second"):
        points = flat.assign(metric=f"{axis}_component", domain=flat["family"].map(DOMAIN_OF))
        parts.append(
            points.assign(item=points["number"], variant=points["kind"], value=results.significant(flat[axis]))
        )
    whole = pd.concat(parts, ignore_index=True)
    return whole[whole.columns.intersection(results.COLUMNS)].assign(component="residual stream", space="raw")


def _read(r2, control, difference, reading):
    yield r2.assign(metric="ridge_r2")
    yield control.assign(metric="ridge_r2_control_task")
    yield difference.assign(metric="ridge_r2_difference", domain="age", variant="minus numbers")
    by_number = reading.groupby(["domain", "cluster", "layer"])
    for column, metric in (("explained", "ridge_r2"), ("residual", "ridge_residual")):
        rows = by_number[column].mean().reset_index(name="value")
        yield rows.assign(metric=metric, item=rows["cluster"])


def _shapes(shape, noise, umap):
    yield shape.assign(metric="local_anisotropy")
    yield noise.assign(metric="local_anisotropy_of_noise")
    for column, metric in (("value", "local_anisotropy"), ("noise", "local_anisotropy_of_noise")):
        variant = umap["variant"] + ", seed " + umap["seed"].astype(str)
        rows = umap.assign(metric=metric, value=umap[column], variant=variant, space="umap30")
        yield rows.drop(columns="seed").dropna(subset="value")  # noise is drawn with fewer seeds


def _steps(found, place):
    domain_of = _domain_of_kind(found)
    mean = found.groupby(["family", "step", "layer"], as_index=False)["t"].mean()
    variant = None if place == "entity" else place
    rows = mean.assign(metric="step_t", domain=mean["family"].map(DOMAIN_OF), item=mean["step"].map(name))
    yield rows.assign(value=rows["t"], variant=variant)
    here = found[found["step"] == AT]
    rows = here.assign(metric="step_percentile", domain=here["kind"].map(domain_of), item=name(AT))
    where = "" if place == "entity" else f" / {place}"
    yield rows.assign(value=rows["percentile"], variant=rows["kind"] + " / " + rows["variant"] + where)


def _domain_of_kind(found):
    return found.drop_duplicates("kind").set_index("kind")["family"].map(DOMAIN_OF)
