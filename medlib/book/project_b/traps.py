"""Three experiments on what numbers of project B can mean, on our states where a run recorded them.

Linearity of no more tokens than dimensions; the dimension of a cloud with copies; Grad-CAM of the sum of all logits.
The first two are also shown where no model is needed, on noise and on a made cloud, which is all that is computed here.
"""

import numpy as np
import pandas as pd

from medlib import geometry
from medlib.book.pages.markdown import table
from medlib.book.project_b import figures as draw
from medlib.book.project_b import published
from medlib.chapters.embedding_geometry import planted_clouds, two_traps
from medlib.chapters.grad_cam.heat_prose import spoken
from medlib.errors import MedlibError

NOISE = 96  # dimensions of the noise: few, since the book is built from it each time
KNOWN, CLOUD = 8, 2000  # dimensions and tokens of the made cloud
SEED = 0
LESS = {  # what the score of a map is held against, as the table of the chapter names it
    "centre": "centre",
    "random": "random token",
    "brightness": "brightness alone",
    "randomised": "random weights",
    "all_logits": "sum of all logits",
}


def pieces(runs, folder):
    """The pieces of the page, name -> Markdown; figures go into `folder`; `runs` are those of `published.recorded`."""
    return {
        "few_tokens": _few_tokens(runs, folder),
        "copies": _copies(runs, folder),
        "logit_sum": _logit_sum(*runs["grad_cam"], folder) if "grad_cam" in runs else published.not_run("grad_cam"),
    }


def _few_tokens(runs, folder):
    b, most = published.read()[0], int(max(two_traps.SIZES)) * NOISE
    x, y = np.random.default_rng(SEED).normal(size=(2, most, NOISE))
    made, ours = two_traps.few_tokens(x, y, SEED), _few_tokens_of(runs)
    made = made[made["data"] == "noise"]
    ratio = b["text_tokens"] / b["hidden"]
    n = round(ratio * NOISE)
    inside, outside = (two_traps.naive_linearity(x[:n], y[:n], fitted=fitted) for fitted in (None, n * 4 // 5))
    caption = (
        f"Linearity over the number of tokens: from noise of {NOISE} dimensions to other noise"
        + (", and from text tokens of our model to what its middle block adds to them" if len(ours) else "")
        + ". In sample, and fitted on four fifths and scored on the rest; mean of three draws; what lies below -1 is "
        "drawn there."
    )
    alt = "Linearity over tokens per dimension: in sample it is one up to one token per dimension, also for noise."
    said = (
        f"From {n} tokens of noise in {NOISE} dimensions to other noise, as few for their dimensions as B's text "
        f"tokens ({ratio:.2f}), linearity is {inside:.3f} in sample and {_floored(outside)} held out. "
        f"The measure of this book refuses it: *{_refusal(x[:n], y[:n])}*.\n"
    )
    rows = [
        [name, tokens, f"{part['ratio'].iloc[0]:.2f}", *_two_scores(part)]
        for name, data in (("noise", made), ("text tokens of this book", ours))
        for tokens, part in data.groupby("tokens")
    ]
    numbers = table(["data", "tokens", "per dimension", "in sample", "held out"], rows)
    parts = [draw.shown(draw.few_tokens(made, ours, ratio), folder, "b_few_tokens", caption, alt), said]
    parts += [_folded("The numbers of the figure", numbers), "" if len(ours) else _no_states()]
    return "\n".join(parts)


def _few_tokens_of(runs):
    """The experiment of a run as its table holds it: `tokens, ratio, score, value`."""
    if "embedding_geometry" not in runs:
        return pd.DataFrame(columns=["tokens", "ratio", "score", "value"])
    found, record = runs["embedding_geometry"]
    part = found[found["metric"].str.startswith("few_tokens_") & (found["variant"] == "states")]
    tokens = part["position"].astype(int)
    score = part["metric"].str.removeprefix("few_tokens_").str.replace("_", " ")
    ratio = tokens / record["model"]["hidden_size"]
    return pd.DataFrame(dict(tokens=tokens, ratio=ratio, score=score, value=part["value"])).sort_values("ratio")


def _two_scores(part):
    values = part.set_index("score")["value"]
    return [f"{values['in sample']:.3f}", _floored(values["held out"])]


def _floored(value):
    return "below -1" if value < draw.LEAST_LINEARITY else f"{value:.3f}"


def _refusal(x, y):
    try:
        geometry.linearity(x, y)
    except MedlibError as error:
        return str(error).split(";")[0]
    raise MedlibError(f"linearity of {len(x)} tokens in {x.shape[1]} dimensions was not refused: mend medlib.geometry.")


def _copies(runs, folder):
    b = published.read()[0]
    made = two_traps.with_copies(planted_clouds.cloud_of(KNOWN, CLOUD, KNOWN, SEED), SEED)
    ours = _copies_of(runs)
    caption = (
        "Intrinsic dimension by TwoNN with a growing share of exact copies among the tokens, their number held: "
        f"{CLOUD:,} tokens of a Gaussian cloud of {KNOWN} dimensions"
        + (", and image tokens of the middle layer of our model" if len(ours) else "")
        + ". Mean and range of three draws; what lies below 0.1 is drawn there."
    )
    alt = "The intrinsic dimension over the share of copies: B's fit rises many times, the likelihood falls to nothing."
    lowest = made[made["fit"] == "lowest"].set_index("share")
    said = (
        f"For the made cloud of {KNOWN} dimensions B's fit gives {lowest['value'][0.0]:.1f}; with one copy in twenty "
        f"tokens {_spread(lowest.loc[0.05])}, and with one in four {_spread(lowest.loc[0.25])}. "
        f"B's {b['questions']} questions are about {b['pictures']} pictures, and image tokens do not see the question: "
        f"read once a question, at most {b['pictures'] / b['questions']:.0%} of them are different ones.\n"
    )
    parts = [draw.shown(draw.copies(made, KNOWN, ours), folder, "b_copies", caption, alt), said]
    parts += [_folded("The numbers of the figure", _copies_table(made, ours))]
    parts.append(_found_of_copies(*runs["embedding_geometry"]) if len(ours) else _no_states())
    return "\n".join(parts)


def _copies_of(runs):
    """The experiment of a run: columns as of `two_traps.with_copies`, without what was infinite."""
    columns = ["share", "fit", "value", "low", "high", "clean"]
    if "embedding_geometry" not in runs:
        return pd.DataFrame(columns=columns)
    found = runs["embedding_geometry"][0]
    part = found[found["metric"].isin(["copies_lowest", "copies_likelihood"])]
    parted = part["variant"].str.extract(r"(?P<share>[\d.]+)% copies(?P<removed> removed)?")
    part = part.assign(share=parted["share"].astype(float) / 100, fit=part["metric"].str.removeprefix("copies_"))
    removed = parted["removed"].notna()
    clean = part.loc[removed, ["share", "fit", "value"]].rename(columns={"value": "clean"})
    return part[~removed].merge(clean, on=["share", "fit"])[columns].sort_values("share")


def _copies_table(made, ours):
    header, rows = ["copies"], [[f"{share:.0%}"] for share in two_traps.SHARES]
    for name, data in (("made cloud", made), ("image tokens", ours)):
        for fit, said in (("lowest", "B's fit"), ("likelihood", "likelihood")):
            of_fit = data[data["fit"] == fit].set_index("share")
            if of_fit.empty:
                continue
            header.append(f"{name}, {said}")
            for row, share in zip(rows, two_traps.SHARES, strict=True):
                row.append(_spread(of_fit.loc[share]) if share in of_fit.index else "none: infinite")
    return table(header, rows)


def _found_of_copies(found, record):
    rows = [
        ["copies put among image tokens", record["numbers"]["copies"]["text"]],
        ["states as they were read", record["numbers"]["repeats_factor"]["text"]],
    ]
    removed = found[(found["metric"] == "duplicates") & (found["component"] == "text") & (found["layer"] == 0)]
    for row in removed.itertuples():
        said = (
            f"{row.value:,.0f} of {row.value + row.n:,.0f} are copies, since a word has one embedding, and are left out"
        )
        rows.append(["text tokens at state 0", said])
    return table(["on our model", "what was found"], rows)


def _logit_sum(found, record, folder):
    numbers, kind = record["numbers"], record["parameters"]["kinds"].split()[0]
    here = found[(found["domain"] == kind) & found["item"].isna()]
    pointing = here[here["metric"] == "pointing"]
    scores = pointing[pointing["variant"].isna()].set_index("component")
    at_middle = numbers["layer_middle"]["value"]
    middle = here[(here["metric"] == "pointing_by_layer") & (here["variant"] == "own weights")]
    middle = middle[(middle["layer"] == at_middle) & middle["component"].isin(draw.MAPS)].set_index("component")
    alike = here[here["metric"] == "rank_correlation"].rename(columns={"variant": "pair"})
    caption = (
        "Above: how much of the hottest token lies in the painted lesion, the pointing score, mean over "
        f"{int(scores['n'].max())} scenes with its 95 % bootstrap interval. "
        "Grad-CAM of the answer, of the answer less the other one, and of the sum of all logits: at the layer that "
        f"points best in other scenes, and at layer {at_middle}, the middle one, near which B read its maps; and what "
        "needs no map. Below: rank correlation of two maps over relative depth."
    )
    alt = (
        "Above, a row for each map with its pointing score and interval, and rows for what needs no map; below, two "
        "curves of rank correlation over depth."
    )
    figure = draw.logit_sum(scores, middle, alike, record["model"]["layers"])
    rows = [
        [label, int(scores.loc[name, "layer"]), spoken(scores.loc[name]), *_less(pointing, name), _at(middle, name)]
        for name, label in draw.MAPS.items()
        if name in scores.index
    ]
    header = ["map of", "layer", "pointing score", *(f"less {said}" for said in LESS.values())]
    header.append(f"pointing score at layer {at_middle}")
    said = [
        ["does a map point?", numbers["verdict"]["text"]],
        ["is the map of the sum one of what is said?", numbers["sum_verdict"]["text"]],
        ["the answer's own map in that model", f"rank correlation {numbers['like_shifted_answer']['text']}"],
        ["the map of the answer and that of the sum", f"rank correlation {numbers['like_answer_sum']['text']}"],
        [f"hottest token of the sum, layer {at_middle}", f"touches the lesion in {numbers['hit_middle']['text']}"],
    ]
    planted = [check["detail"] for check in record["checks"] if "carries the answer" in check["name"]]
    said += [["an answer that hangs on one token alone", detail] for detail in planted]
    parts = [draw.shown(figure, folder, "b_logit_sum", caption, alt), table(header, rows)]
    return "\n".join([*parts, table(["on our model", "what was found"], said)])


def _less(pointing, name):
    """The pointing score of a map less each of `LESS`."""
    of_map = pointing[pointing["component"] == name].set_index("variant")
    variants = [f"less {other}" for other in LESS]
    return [spoken(of_map.loc[variant], "{:+.2f}") if variant in of_map.index else "" for variant in variants]


def _at(middle, name):
    return spoken(middle.loc[name]) if name in middle.index else ""


def _no_states():
    return f"The same on the states of our model: {published.not_run('embedding_geometry')}"


def _folded(title, text):
    return f":::{{dropdown}} {title}\n{text}:::\n"


def _spread(row):
    return f"{row['value']:.1f} ({row['low']:.1f} to {row['high']:.1f})"
