"""The rules of the claims on models of image and text, as the page words them: recorded tables in, a `Verdict` out.

Arguments as in text_rules.py.  Where a chapter has a rule of its own for the same question, that rule decides.
"""

import numpy as np
import pandas as pd

from medlib.book.claims.evidence import (
    NOT_DECIDED,
    NotThere,
    Number,
    Verdict,
    decide,
    listed,
    number,
    rows,
)
from medlib.chapters.contextualisation import context_prose, published
from medlib.chapters.contextualisation.later_layers import MEASURES, SPANS
from medlib.chapters.embedding_geometry import embedding_prose, linear_steps, project_b
from medlib.chapters.grad_cam.heat_scores import CONTROLS

LOWEST = min(project_b.band("update_linearity", "image"))
SIGNIFICANT = 0.05
CHANCE = 0.5  # of a question about a scene with a lesion and its twin without one


def nearly_linear(book, model):
    """B1: what blocks add to image tokens is linear in the state, held out and in sample."""
    run = book[model]["embedding_geometry"]
    held_out, in_sample = (_blocks(run, metric) for metric in (linear_steps.MAIN, "update_linearity"))
    above = int((held_out["low"] > LOWEST).sum())
    below = int((in_sample["high"] < LOWEST).sum())
    word = decide(above > len(held_out) / 2, below > len(in_sample) / 2)
    why = (
        f"The interval held out lies above {LOWEST} on {above} of {len(held_out)} blocks, and that in sample, which is "
        f"too high, below it on {below} of {len(in_sample)} blocks"
    )
    control = rows(run, linear_steps.MAIN, component="image", variant="control")
    numbers = (_middle("held out", held_out), _middle("in sample", in_sample))
    controls = (Number("held out with targets of other pictures, at most", control["value"].max()),)
    return Verdict(word, f"{why}.", numbers, controls, bool(control["value"].max() > LOWEST))


def peak_of_linearity(book, model):
    """B2: the block whose contribution is the most linear lies where project B has its peak."""
    run = book[model]["embedding_geometry"]
    curve = _blocks(run, linear_steps.MAIN)
    best = curve.loc[curve["value"].idxmax()]
    near = curve[curve["high"] >= best["low"]]  # the blocks that are not told apart from the best one
    depth = rows(run, "anisotropy", component="image", variant=None)["layer"].max()
    wanted = project_b.PEAK / project_b.BLOCKS * depth
    place = curve.loc[(curve["layer"] - wanted).abs().idxmin()]
    narrow = near["layer"].max() - near["layer"].min() <= depth / 3
    inside = place["layer"] in set(near["layer"])
    word = decide(inside and narrow, not inside)
    ends = f"blocks {near['layer'].min()} to {near['layer'].max()} are not told apart from it"
    why = (
        f"The most linear of {depth} blocks is block {best['layer']}, and "
        f"{ends if len(near) > 1 else 'no other is like it'}; project B's place is block {place['layer']}"
    )
    numbers = (
        number(f"linearity of block {best['layer']}, the highest", best),
        number(f"of block {place['layer']}, project B's place", place),
    )
    control = rows(run, linear_steps.MAIN, component="image", variant="control")
    controls = (Number("with targets of other pictures, at most", control["value"].max()),)
    return Verdict(word, f"{why}.", numbers, controls)


def _blocks(run, metric):
    found = rows(run, metric, interval=True, component="image", variant=None)
    return found.sort_values("layer").reset_index(drop=True)


def _middle(what, curve, form="{:.2f}"):
    """The number of the layer with the middle value of a curve."""
    row = curve.sort_values("value").iloc[(len(curve) - 1) // 2]
    return number(f"{what}, the middle one of {len(curve)} layers ({row['layer']})", row, f"{row['n']} tokens", form)


def more_stretched(book, model):
    """B3: image tokens are more stretched than text tokens."""
    return _kinds(book[model]["embedding_geometry"], "anisotropy", "image", "{:.2f}")


def fewer_dimensions(book, model):
    """B4: image tokens have fewer dimensions than text tokens."""
    return _kinds(book[model]["embedding_geometry"], "dimension", "text", "{:.1f}")


def _kinds(run, metric, wanted, form):
    """Which kind of token a measure is larger for, by the rule of the chapter (`embedding_prose.side`)."""
    differences = rows(run, f"{metric}_difference", interval=True).assign(metric=metric)
    curves = _with_control(run, metric)
    side = embedding_prose.side(differences, metric)
    beaten = embedding_prose.beats_control(curves, metric)
    of_scale = [_of_kinds(run, name) for name in embedding_prose.SCALE[1:]] if metric == "dimension" else []
    whole = pd.concat([curves, *of_scale], ignore_index=True)
    word = (
        NOT_DECIDED
        if embedding_prose.fails(whole, metric)
        else decide(side == wanted, side in {"image", "text"} - {wanted})
    )
    above, below = int((differences["low"] > 0).sum()), int((differences["high"] < 0).sum())
    clear = listed([f"{kind} tokens on {n} of {of}" for kind, (n, of) in beaten.items()])
    why = (
        f"Image tokens have more of it on {above} and less on {below} of {len(differences)} layers; clear of the "
        f"control are {clear}"
    )
    if metric == "dimension":
        noisy = embedding_prose.noisy(whole)
        why += f"; the dimension falls with the number of tokens, so it does not count, for: {listed(noisy)}"
    by_kind = {kind: part.reset_index(drop=True) for kind, part in curves.groupby("kind")}
    numbers = tuple(_middle(f"{kind} tokens", part, form) for kind, part in by_kind.items())
    name = "Gaussian cloud of the same covariance" if metric == "dimension" else "dimensions dealt to other tokens"
    controls = tuple(
        Number(f"{kind} tokens, {name}, median", part["control"].median(), form=form) for kind, part in by_kind.items()
    )
    return Verdict(word, f"{why}.", numbers, controls)


def _with_control(run, metric):
    """The curves of both kinds as the chapter's rules take them, with columns `kind` and `control`."""
    own = _of_kinds(run, metric, interval=True).rename(columns={"kind": "component"})
    control = rows(run, metric, component=["image", "text"], variant="control")
    control = control[["component", "layer", "value"]].rename(columns={"value": "control"})
    both = own.merge(control, on=["component", "layer"], how="left").rename(columns={"component": "kind"})
    if both["control"].isna().any():
        raise NotThere(f"the control of {metric} has gaps")
    return both


def _of_kinds(run, metric, interval=False):
    found = rows(run, metric, interval=interval, component=["image", "text"], variant=None)
    return found.rename(columns={"component": "kind"})


def picture_specific(book, model):
    """B5: SelfSim falls over the layers, by the rule of the chapter on contextualisation (`context_prose.verdict`)."""
    run = book[model]["contextualisation"]
    question = _question(run)
    where = dict(interval=True, component="text", variant=question)
    metrics = [f"{measure}_fall{ending}" for measure in MEASURES for ending in SPANS]
    every = rows(run, metrics[0], domain="scans", **where)["space"].unique()
    spaces = [space for space in every if context_prose.counted(space)]
    later = _tested(run, metrics, domain="scans", space=spaces, **where)
    beyond = [f"{measure}_fall_less_shuffled" for measure in MEASURES]
    against = _tested(run, beyond, domain="scans against shuffled", space="raw", **where)
    said = context_prose.verdict(later, against, question)
    word = decide(said.startswith("Yes, and more than with shuffled"), said.startswith("No, the other way round"))
    names = dict(zip(metrics[:: len(SPANS)], ("as the cosine stands", "less random tokens"), strict=True))
    numbers = tuple(
        number(f"fall of SelfSim {names[row.metric]}, {row.space}", row, f"{row.n} pictures", "{:+.4f}")
        for row in later[later["metric"].isin(names)].itertuples()
    )
    controls = tuple(
        number(f"fall beyond that with shuffled pictures, {name}", row, f"{row.n} pictures", "{:+.4f}")
        for name, row in zip(names.values(), against.itertuples(), strict=True)
    )
    return Verdict(word, f"{said}.", numbers, controls)


def _question(run):
    """The first question that was asked: the chapter's rows begin with it."""
    asked = rows(run, "self_similarity", domain="scans", component="text")["variant"].dropna()
    if asked.empty:
        raise NotThere("the table names no question")
    return asked.iloc[0]


def _tested(run, metrics, **where):
    """Rows of some metrics with their p-values beside them, as the chapter's rules take them."""
    own = pd.concat([rows(run, metric, **where) for metric in metrics], ignore_index=True)
    plain = where | {"interval": False}
    p = pd.concat([rows(run, f"{metric}_p", **plain).assign(metric=metric) for metric in metrics], ignore_index=True)
    found = own.merge(
        p[["metric", "space", "value"]].rename(columns={"value": "p"}), on=["metric", "space"], how="left"
    )
    expected = len(metrics) * (len(where["space"]) if isinstance(where["space"], list) else 1)
    if found["p"].isna().any() or len(found) != expected:
        raise NotThere(f"the rows of {metrics[0]} have gaps")
    return found


def prompt_draws_together(book, model):
    """B6: IntraSim is higher after the first layers than at the start."""
    return _moves(book[model]["contextualisation"], "intra_similarity", 0, 10, up=True)


def states_spread(book, model):
    """B7: MEV is lower at the place of project B's minimum than at the start."""
    return _moves(book[model]["contextualisation"], "mev", 0, 25, up=False)


def _moves(run, metric, first, last, up):
    """Whether a measure is higher (`up`) or lower at one of project B's layers than at another, with clear intervals.

    Both as it stands and less random tokens; the layers are ours of the same relative depth.
    """
    own, less = (
        rows(run, name, interval=True, domain="scans", component="text", space="raw", variant=_question(run))
        .sort_values("layer")
        .set_index("layer")
        for name in (metric, f"{metric}_adjusted")
    )
    layers = [published.at_depth(layer, int(own.index.max())) for layer in (first, last)]
    if not {*layers} <= {*own.index} & {*less.index}:
        raise NotThere(f"{metric} was not measured at the layers {layers[0]} and {layers[1]}")
    ends = [[curve.loc[layer] for layer in layers] for curve in (own, less)]
    rises = [b["low"] > a["high"] for a, b in ends]
    falls = [b["high"] < a["low"] for a, b in ends]
    word = decide(all(rises if up else falls), all(falls if up else rises))
    said = [
        "rises" if one else "falls" if other else "is not told apart" for one, other in zip(rises, falls, strict=True)
    ]
    why = f"From layer {layers[0]} to layer {layers[1]} it {said[0]} as it stands and {said[1]} beside random tokens"
    numbers, controls = (
        tuple(
            number(f"{name}, layer {layer}", row, f"{row['n']} pictures", "{:.3f}")
            for layer, row in zip(layers, pair, strict=True)
        )
        for name, pair in zip(("as it stands", "less random tokens"), ends, strict=True)
    )
    return Verdict(word, f"{why}.", numbers, controls)


def words_of_neurons(book, model):
    """B8: the strongest neurons at image tokens write answer words more often than random ones."""
    run = book[model]["image_tokens"]
    share = rows(run, "answer_words", interval=True, domain="neurons").set_index("layer").sort_index()
    q = rows(run, "answer_words_q", domain="neurons").set_index("layer")["value"].reindex(share.index)
    if q.isna().any():
        raise NotThere("the q-values of answer_words have gaps")
    sure = q < SIGNIFICANT
    more, fewer = int((sure & (share["low"] > 0)).sum()), int((sure & (share["high"] < 0)).sum())
    word = decide(more > len(share) / 2 and not fewer, fewer > len(share) / 2 and not more)
    why = f"They do so more often on {more} and less often on {fewer} of {len(share)} layers (false discovery rate 5 %)"
    best = share.loc[share["value"].idxmax()]
    numbers = (
        number(
            f"share of answer words, strongest less random, layer {best.name}", best, f"{best['n']} pictures", "{:+.2%}"
        ),
    )
    controls = tuple(
        Number(f"{name}, median over layers", rows(run, metric, domain="neurons")["value"].median(), form="{:.2%}")
        for name, metric in (("strongest neurons", "answer_words_own"), ("random neurons", "answer_words_control"))
    )
    return Verdict(word, f"{why}.", numbers, controls)


def map_points(book, model, name="all_logits", kind="lesion"):
    """B9: Grad-CAM of the sum of all logits points at the lesion more than each of its controls."""
    run = book[model]["grad_cam"]
    answered = rows(run, "answered_right", interval=True, domain=kind).iloc[0]
    less = {
        said: rows(run, "pointing", interval=True, domain=kind, component=name, variant=f"less {control}").iloc[0]
        for control, said in CONTROLS.items()
    }
    own = rows(run, "pointing", interval=True, domain=kind, component=name, variant=None, item=None).iloc[0]
    share = number("questions about the lesion answered right", answered, f"{answered['n']} scenes", "{:.0%}")
    numbers = (number(f"pointing score, layer {own['layer']}", own, f"{own['n']} scenes"), share)
    controls = tuple(number(f"less {said}", row, f"{row['n']} scenes", "{:+.2f}") for said, row in less.items())
    if not answered["low"] > CHANCE:
        why = "The model is not shown to answer above chance, and a map of no answer is neither right nor wrong."
        return Verdict(NOT_DECIDED, why, numbers, controls)
    beaten = [said for said, row in less.items() if row["low"] > 0]
    lost = [said for said, row in less.items() if row["high"] < 0]
    word = decide(len(beaten) == len(less), bool(lost))
    why = f"It points at the lesion more than: {listed(beaten)}; less than: {listed(lost)}"
    return Verdict(word, f"{why}.", numbers, controls)


def units_carry(book, model, score="gradient"):
    """B10: the first units by the gradient carry answers from the picture, by the rule of the chapter on neurons."""
    run = book[model]["multimodal_neurons"]
    accuracy = rows(run, "balanced accuracy", interval=True)
    answers = rows(run, "mean score", component=score).groupby("domain")["variant"].nunique()
    states, numbers, controls = [], [], []
    for right in accuracy.itertuples():
        kind = right.domain
        if kind not in answers:
            raise NotThere(f"the table has no units for {kind}")
        costs = {
            said: _largest(run, f"drop, first less {name}", score, domain=kind, variant=f"units for {kind}")
            for name, said in (("random", "random units"), ("matched", "units that write as much"))
        }
        carried = _largest(run, "drop, where right less where wrong", score, domain=kind)
        knows = right.low > 1 / answers[kind]
        yes = knows and all(row["low"] > 0 for row in (*costs.values(), carried))
        no = knows and any(row["high"] < 0 for row in (*costs.values(), carried))
        states.append((kind, knows, yes, no))
        numbers.append(
            number(
                f"{kind}: loss in logits where the answer is right less where it is wrong",
                carried,
                f"{carried['n']} scenes",
                "{:+.2f}",
            )
        )
        for said, cost in costs.items():
            controls.append(number(f"{kind}: loss in logits beyond {said}", cost, f"{cost['n']} scenes", "{:+.2f}"))
        controls.append(
            number(f"{kind}: answered right, chance {1 / answers[kind]:.0%}", right, f"{right.n} scenes", "{:.0%}")
        )
    word = decide(all(yes for *_, yes, _ in states), any(no for *_, no in states))
    why = "; ".join(
        f"{kind}: "
        + (
            "not shown to be answered above chance"
            if not knows
            else "carried"
            if yes
            else "the other way round"
            if no
            else "not shown to be carried"
        )
        for kind, knows, yes, no in states
    )
    return Verdict(word, f"{why[0].upper()}{why[1:]}.", tuple(numbers), tuple(controls))


def _largest(run, metric, score, **where):
    """The row of the largest set of units by a score: `component` is "80 units by the gradient"."""
    found = rows(run, metric, interval=True, item=None, **where)
    found = found[found["component"].str.endswith(f"units by the {score}")]
    if found.empty:
        raise NotThere(f"the table has no rows of {metric} by the {score}")
    size = found["component"].str.split().str[0].astype(int)
    return found.iloc[int(np.argmax(size.to_numpy()))]
