"""What the numbers of this chapter come to, in words that are chosen by the numbers.

A measure tells image tokens from text tokens where the interval of their difference excludes zero.  It counts only if
the measure itself beats its control: a difference between two curves that lie on their chance levels is none.
"""

import numpy as np

from medlib.chapters.embedding_geometry import linear_steps
from medlib.chapters.embedding_geometry.cloud_shapes import N_LARGEST
from medlib.chapters.embedding_geometry.enough_tokens import comparable, left_out

SCALE = ("dimension", "dimension_half", "dimension_quarter")
MOST = 0.5  # of the layers that must be clear on one side ...
FEW = 0.1  # ... while at most so many are clear on the other
SAID = {  # measure -> what it is, in the words for image tokens above text tokens and below
    linear_steps.MAIN: ("what a block adds to image tokens is", "more linear", "less linear", "linearity", "blocks"),
    "anisotropy": ("the cloud of image tokens is", "more stretched", "less stretched", "stretch", "states"),
    "dimension": ("the cloud of image tokens has", "more dimensions", "fewer dimensions", "dimension", "states"),
}


def side(differences, metric):
    """Which kind of token a measure is larger for: "image", "text", "mixed" (it depends on the layer), "not decided".

    >>> side(differences, "anisotropy")

    `differences`: `metric, low, high` by layer, image less text.  No layer at all is "not decided".
    """
    part = differences[differences["metric"] == metric]
    above, below, n = (part["low"] > 0).sum(), (part["high"] < 0).sum(), len(part)
    if n and above > MOST * n and below <= FEW * n:
        return "image"
    if n and below > MOST * n and above <= FEW * n:
        return "text"
    return "mixed" if n and above + below > MOST * n else "not decided"


def beats_control(table, metric):
    """For each kind of token, in how many layers a measure lies clear of its control: {kind: (layers, of so many)}.

    Clear is above it with the whole interval; a dimension has to lie below that of a Gaussian cloud.  Layers with too
    few distinct tokens do not count.
    """
    found, table = {}, comparable(table)
    for kind, part in table[(table["metric"] == metric) & table["value"].notna()].groupby("kind"):
        below = metric == "dimension"
        clear = part["high"] < part["control"] if below else part["low"] > part["control"].clip(lower=0)
        found[kind] = int(clear.sum()), len(part)
    return found


def fails(table, metric):
    """Whether a measure is clear of its control in no more than half of the layers of a kind, or was not measured.

    A dimension fails too where it falls with fewer tokens (`noisy`).
    """
    beaten = beats_control(table, metric)
    if metric == "dimension" and noisy(table):
        return True
    return any(kind not in beaten or beaten[kind][0] <= MOST * beaten[kind][1] for kind in ("image", "text"))


def scales(table):
    """How the dimension changes with fewer tokens: {kind: (states in which it falls, of so many, and large)}.

    It falls at a state where half of the tokens give less than all, and a quarter less than half.  Large: at how many
    states the change from all to a quarter is larger than image and text tokens differ.
    """
    part = comparable(table)
    part = part[part["metric"].isin(SCALE)].dropna(subset=["value"]).astype({"value": float})
    wide = part.pivot(index=["kind", "layer"], columns="metric", values="value").reindex(columns=SCALE).dropna()
    if wide.empty:
        return {}
    kinds = wide[SCALE[0]].unstack("kind")
    apart = (kinds["image"] - kinds["text"]).abs() if {"image", "text"} <= {*kinds} else kinds.iloc[:, 0] * np.nan
    found = {}
    for kind, own in wide.groupby("kind"):
        whole, half, quarter = (own.loc[kind, name] for name in SCALE)
        falls = int(((whole > half) & (half > quarter)).sum())
        found[kind] = falls, len(own), int(((whole - quarter).abs() > apart.reindex(whole.index)).sum())
    return found


def noisy(table):
    """The kinds of token whose dimension falls with fewer tokens, and by more than the kinds differ: a list.

    Both in more than half of the states; a little it falls for any cloud of many dimensions.
    """
    return [kind for kind, (falls, n, large) in scales(table).items() if min(falls, large) > MOST * n]


def scale_check(table):
    """What the scale check says: (kinds that fail it, sentence)."""
    found, failed = scales(table), noisy(table)
    if not found:
        return "refused", "The scale check could not be made, for want of tokens"
    said = []
    for kind, (falls, n, more) in found.items():
        part = comparable(table)
        part = part[(part["kind"] == kind)].astype({"value": float})
        middle = [f"{part.loc[part['metric'] == name, 'value'].median():.1f}" for name in SCALE]
        said.append(
            f"the dimension of {kind} tokens falls with fewer tokens at {falls} of {n} states (medians {middle[0]}, "
            f"{middle[1]} and {middle[2]} for all, half and a quarter), and changes by more than the kinds differ at "
            f"{more}"
        )
    if not failed:
        return 0, f"The scale check holds: {'; '.join(said)}"
    kinds = " and ".join(failed)
    return len(
        failed
    ), f"The scale check fails for {kinds} tokens, whose estimate was measuring noise: {'; '.join(said)}"


def verdict(table, differences):
    """The answer to the question of the page: (number of measures that tell the kinds apart, sentence).

    `table`: of `linear_steps` and `cloud_shapes`, one under the other; `differences`: those of both `kinds_apart`.
    """
    said, decided, sides = [], 0, 0
    for metric, (subject, more, less, word, unit) in SAID.items():
        part = differences[differences["metric"] == metric]
        above, below, n = int((part["low"] > 0).sum()), int((part["high"] < 0).sum()), len(part)
        which = side(differences, metric)
        if metric == "dimension" and (kinds := noisy(table)):
            said.append(
                f"for {word} the estimate of {' and '.join(kinds)} tokens falls with their number, as noise does"
            )
        elif fails(table, metric):
            said.append(f"for {word} the run does not beat its control, or could not be measured")
        elif which in ("image", "text"):
            decided += 1
            how, count = (more, above) if which == "image" else (less, below)
            said.append(f"{subject} {how} ({count} of {n} {unit})")
        elif which == "mixed":
            sides += 1
            said.append(f"{subject} {more} in {above} and {less} in {below} of {n} {unit}")
        else:
            said.append(f"for {word} it is not decided ({above} {unit} above and {below} below, of {n})")
    opening = "Yes" if decided == len(SAID) else "In part" if decided or sides else "Not decided"
    return decided, f"{opening}: {'; '.join(said)}"


def range_of(table, metric, kind, digits=2):
    """Where a curve runs: (median, "0.71 to 0.93"), or the reason why there is none, in few words.

    Layers with too few distinct tokens are left out.
    """
    part = comparable(table)
    part = part[(part["metric"] == metric) & (part["kind"] == kind)]
    values = part["value"].dropna().astype(float)
    if values.empty:
        return "refused", "refused, for want of tokens,"
    return float(values.median()), f"{values.min():.{digits}f} to {values.max():.{digits}f}"


def control_of(table, metric, kind, digits=2):
    """The same of the control of a curve."""
    return range_of(table.assign(value=table["control"]), metric, kind, digits)


def curves(table):
    """The ranges over the layers that the prose quotes, of both kinds and of their controls: key -> (value, text)."""
    asked = {
        "update": (linear_steps.MAIN, range_of, 2),
        "update_few": (linear_steps.FEWER, range_of, 2),
        "full": ("linearity_held_out", range_of, 3),
        "anisotropy": ("anisotropy", range_of, 2),
        "anisotropy_few": ("anisotropy_without_largest", range_of, 2),
        "dimension": ("dimension", range_of, 1),
        "gaussian": ("dimension", control_of, 1),
    }
    found = {
        f"{key}_{kind}": of(table, metric, kind, digits)
        for key, (metric, of, digits) in asked.items()
        for kind in ("image", "text")
    }
    main = comparable(table)
    control = main[main["metric"] == linear_steps.MAIN]["control"].dropna().astype(float)
    words = f"{control.max():.2f} at most" if len(control) else "refused too"
    found |= {"left_out": left_out(table[table["metric"].isin(SCALE)]), "scale": scale_check(table)}
    return found | {"update_control": (float(control.max()) if len(control) else "refused", words)}


def peak(found, fewer, transitions, n_layers, theirs):
    """Where the block's own contribution is most linear, held against B's place: (layer, text).

    `found`, `fewer`: `linear_steps.peak` of `MAIN` and of `FEWER`; `transitions`: those that were measured; `theirs`:
    (transition, blocks) of B.  B's place is held to be met where the interval of ours holds it, as a share of the depth
    and as far as the distance of two measured blocks tells.
    """
    if found is None:
        return "refused", "not named, since too few tokens were read"
    (value, low, high), step = found, transitions[1] - transitions[0] if len(transitions) > 1 else n_layers
    at = theirs[0] / theirs[1]
    met = low - step / 2 <= at * n_layers <= high + step / 2
    same = "near the place of project B" if met else "away from the place of project B"
    text = (
        f"block {value:.0f} of the {len(transitions)} of {n_layers} that were measured ({low:.0f} to {high:.0f} "
        f"as pictures are resampled, with the maps held still, no finer than the {step} from one to the next), {same}, "
        f"{at:.0%} of the depth; without the {N_LARGEST} dimensions that each block changes most it is block "
        f"{fewer[0]:.0f}"
    )
    return float(value), text


def order_of_b(table, differences):
    """Whether our run has the order that B shows: more stretched image tokens, with fewer dimensions.

    Arguments as `verdict`.  Returns how many of the two orders agree, and a sentence.
    """
    said, agree = [], 0
    for metric, theirs, words in (
        ("anisotropy", "image", "image tokens the more stretched"),
        ("dimension", "text", "text tokens of more dimensions"),
    ):
        ours = "not decided" if fails(table, metric) else side(differences, metric)
        agree += ours == theirs
        result = "so does this run" if ours == theirs else "this run does not decide it"
        if ours in ("image", "text") and ours != theirs:
            result = "this run has the opposite"
        if ours == "mixed":
            result = "in this run it depends on the layer"
        said.append(f"project B has {words}, and {result}")
    return agree, "; ".join(said)


def of_traps(few, read, copies):
    """What the two traps did to the states of this run: key -> (value, text).

    `few`: `two_traps.few_tokens`; `read`: `as_read`; `copies`: `with_copies`.
    """
    short = few[(few["ratio"] <= 1.01) & (few["score"] == "in sample")]
    lowest = {data: float(part["value"].min()) for data, part in short.groupby("data")}
    text = " and ".join(
        f"{lowest[name]:.3f} for {word}" for name, word in (("states", "the states"), ("noise", "noise"))
    )
    trap = "they are one whatever the data" if min(lowest.values()) > 0.999 else "they are not all one"
    found = {"few_tokens": (min(lowest.values()), f"at least {text}: {trap}")}
    left_in = read[(read["fit"] == "lowest") & (read["repeats"] > 0)]
    factor = (left_in["value"] / left_in["clean"]).max() if len(left_in) else np.nan
    if not len(left_in):
        found["repeats_factor"] = ("none", "no picture was asked about twice, so there was nothing to leave in")
    else:
        share = (left_in["repeats"] / left_in["n"]).max()
        how = f"up to {factor:.1f} times the dimension" if np.isfinite(factor) else "no finite dimension at all"
        text = f"with the {share:.0%} of repeats left in, the fit on the lowest fifth gives {how}"
        found["repeats_factor"] = (float(factor) if np.isfinite(factor) else "infinite", text)
    quarter = copies[(copies["share"] == 0.25) & (copies["fit"] == "lowest")].iloc[0]
    zero = copies[(copies["share"] > 0) & (copies["fit"] == "likelihood")]["value"].max()
    found["copies"] = (
        float(quarter["value"]),
        f"a quarter of copies turns {quarter['clean']:.1f} into {quarter['value']:.1f} "
        f"({quarter['low']:.1f} to {quarter['high']:.1f}) under that fit, and into "
        f"{zero:.1f} at most under the likelihood",
    )
    return found
