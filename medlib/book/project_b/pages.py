"""The page that sets project B beside this book: the two models, its published curves and ours, and what has no number.

Ours come from the recorded runs of the chapters on pictures; where a run is missing, the piece names the command that
makes it.  The three experiments on B's numbers are in traps.py.
"""

from medlib import paths
from medlib.book.pages.markdown import Markdown, table
from medlib.book.project_b import figures as draw
from medlib.book.project_b import published, traps
from medlib.chapters.embedding_geometry import enough_tokens
from medlib.chapters.grad_cam.heat_prose import listed

OF_B = {  # chapter -> its question, what B has of it
    "embedding_geometry": ("how image and text tokens lie", "curves, above"),
    "contextualisation": ("how far a picture changes the words behind it", "values, above"),
    "image_tokens": ("what words image tokens hold", "lists of words in layers {word_layers}, no number"),
    "grad_cam": ("where heat maps point", "maps at layer {grad_cam_layer} of {blocks}, no number"),
    "multimodal_neurons": ("which units carry the picture", "the units behind its lists of words, no number"),
}
VERDICTS = {"image_tokens": ("verdict_words", "verdict_neurons", "verdict_patches")}  # of others: "verdict"
CAPTION = (
    "B's curves and ours over relative depth (0: the embedding, 1: the last layer). "
    "Grey: B's range; crosses: its values; grey line: where its curve has a peak. "
    "Blue: the same measure on our model; black: what this book goes by instead, linearity held out and "
    "dimension by maximum likelihood; bands: 95 % intervals over pictures. "
    "Orange, dashed: the control, which is linearity by chance, dimensions dealt to other tokens, a Gaussian cloud of "
    "the same covariance, and random tokens of other prompts."
)
ALT = (
    "Nine panels, one for each quantity, over relative depth: project B's range as a grey band or its values as "
    "crosses, and the curves of this book's model with their controls."
)


def write(folder, chapters):
    """Write the pieces of the page into `folder`; `chapters` are the runs of the book."""
    runs = published.recorded(chapters)
    pieces = {"order": _order(runs), "models": _models(runs)}
    pieces |= {"curves": _curves(runs, folder), "chapters": _chapters(runs)}
    pieces |= traps.pieces(runs, folder)
    for name, text in pieces.items():
        (folder / f"b_{name}.md").write_text(text, encoding="utf-8")


def _order(runs):
    if "embedding_geometry" not in runs:
        return published.not_run("embedding_geometry")
    numbers = runs["embedding_geometry"][1]["numbers"]
    rows = [
        ["order of image and text tokens", numbers["order_of_b"]["text"]],
        ["the most linear block, held out", numbers["peak"]["text"]],
    ]
    return table(["on our model", "what was found"], rows)


def _models(runs):
    from medlib.models import zoo
    from medlib.scans.model import LANGUAGE_MODEL, PATCH, SIZE, TOWER

    b, ours = published.read()[0], zoo.entry(LANGUAGE_MODEL)
    pictures, questions, tokens = [], "not run", "not run"
    if "embedding_geometry" in runs:
        found, record = runs["embedding_geometry"]
        pictures.append(f"{record['parameters']['n_scenes']} (geometry)")
        sizes = found[found["metric"] == "anisotropy"].groupby("component")["n"].agg(["min", "max"])
        tokens = ", ".join(f"{_counted(low, high)} {kind}" for kind, low, high in sizes.itertuples())
    if "contextualisation" in runs:
        record = runs["contextualisation"][1]
        pictures.append(f"{record['parameters']['n_pictures']} (context)")
        questions = f"all of a scene (geometry), one (context): {record['numbers']['question']['text']}"
    rows = [
        ["model", b["model"], f"{published.MODEL}: {ours['what']} behind a tower trained for this book"],
        ["vision tower", b["tower"], f"{TOWER['num_hidden_layers']} blocks, {TOWER['hidden_size']} wide"],
        ["blocks of the language model", b["blocks"], ours["layers"]],
        ["their width", f"{b['hidden']:,}", ours["hidden"]],
        ["image tokens of a picture", b["image_tokens"], (SIZE // PATCH) ** 2],
        ["pictures", f"{b['pictures']} of its evaluation set", ", ".join(pictures) or "not run"],
        ["questions", b["questions"], questions],
        ["different tokens of a cloud", f"{b['text_tokens']:,} text, copies included", tokens],
    ]
    return table(["", "project B", "this book"], rows)


def _counted(low, high):
    """How many different tokens there are in the states: fewest and most."""
    return f"{high:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _curves(runs, folder):
    quantities = published.read()[1]
    found = {name: published.curves(quantity, runs) for name, quantity in quantities.items()}
    parts = [draw.shown(draw.curves(quantities, found), folder, "b_curves", CAPTION, ALT)]
    needed = dict.fromkeys(quantity["chapter"] for quantity in quantities.values())
    parts += [published.not_run(technique) for technique in needed if technique not in runs]
    ranges = [(quantity, found[name]) for name, quantity in quantities.items() if "said" in quantity]
    points = [(quantity, found[name]) for name, quantity in quantities.items() if "points" in quantity]
    header = ["quantity", "project B", "this book", "layers in B's range", "control"]
    parts.append(table(header, [_range_row(*both) for both in ranges]))
    notes = "; ".join(f"{quantity['title']}: {quantity['note']}" for quantity, _ in ranges if "note" in quantity)
    parts.append(
        "Of ours the first and the last layer, and in brackets the range over all that were measured. "
        f"B's are ranges of curves, and so approximate ({notes}). "
        f"States with less than {enough_tokens.LEAST:.0%} of the different tokens of other states are left out.\n"
    )
    header = ["measure", "layers", "project B", "this book", "random tokens"]
    parts.append(table(header, [row for both in points for row in _point_rows(*both, runs)]))
    parts.append("*Layers*: B's, and in brackets that of ours at the same relative depth.\n")
    parts += ["### What differs, and why", ""]
    for name, quantity in quantities.items():
        parts.append(f"- **{_capital(quantity['title'])}.** {_said(quantity, found[name], runs)} {quantity['why']}")
    return "\n".join([*parts, ""])


def _range_row(quantity, found):
    row = [quantity["title"], quantity["said"]]
    if not found:
        return [*row, "not run", "", ""]
    own, control = found["own"], _ends(found["control"], quantity)
    if own.empty:
        return [*row, "refused: too few tokens", "", control]
    within, _, _ = published.inside(quantity, own)
    return [*row, _ends(own, quantity), f"{within} of {len(own)}", control]


def _ends(curve, quantity):
    """A curve in words: its first and last value, and in brackets its range; in as many digits as B's."""
    if curve.empty:
        return ""
    values, digits = curve["value"], _digits(quantity)
    ends = (values.iloc[0], values.iloc[-1], values.min(), values.max())
    first, last, low, high = (f"{value:.{digits}f}" for value in ends)
    return low if low == high else f"{first} to {last} ({low} to {high})"


def _digits(quantity):
    return max(1, published.digits(quantity["said"]))


def _point_rows(quantity, found, runs):
    titles, points = [quantity["title"], *[""] * len(quantity["points"])], quantity["points"]
    if not found:
        cells = [[layer, f"{value:.4f}", "not run", ""] for layer, value in points.items()]
        return [[title, *row] for title, row in zip(titles, cells, strict=False)]
    n_layers = runs[quantity["chapter"]][1]["model"]["layers"]
    beside = published.at_points(quantity, found["own"], found["control"], n_layers)
    cells = [
        [
            f"{row.layer} ({row.ours_at})",
            f"{row.published:.4f}",
            f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})",
            f"{row.control:.3f}",
        ]
        for row in beside.itertuples()
    ]
    return [[title, *row] for title, row in zip(titles, cells, strict=False)]


def _said(quantity, found, runs):
    """What our curve does beside B's, in words that the numbers choose."""
    if not found:
        return "Not run in this copy."
    if found["own"].empty:
        return "Ours is refused, since the run has too few tokens for it."
    n_layers, blocks = runs[quantity["chapter"]][1]["model"]["layers"], published.read()[0]["blocks"]
    if "points" in quantity:
        return _said_of_points(quantity, found, n_layers, blocks)
    own, unit = found["own"], "blocks" if "linearity" in quantity["metric"] else "states"
    counts = zip(("within", "above", "below"), published.inside(quantity, own), strict=True)
    places = [f"{count} {where}" for where, count in counts if count]
    text = f"Of {len(own)} {unit} of ours, {listed(places)} B's range"
    if "peak" in quantity:
        place = own.loc[own["value"].idxmax(), "depth"]
        theirs = sum(quantity["peak"]) / 2 / blocks
        text += f"; ours is highest at {place:.0%} of the depth, B's peak is at {theirs:.0%}"
    if len(found.get("stricter", ())):
        how, values = published.STRICTER[quantity["metric"]][1], found["stricter"]["value"]
        digits = _digits(quantity)
        text += f"; {how} it is {values.min():.{digits}f} to {values.max():.{digits}f}"
    return f"{text}."


def _said_of_points(quantity, found, n_layers, blocks):
    own, points = found["own"], quantity["points"]
    beside = published.at_points(quantity, own, found["control"], n_layers)
    above = int((beside["value"].round(4) > beside["published"]).sum())
    return (
        f"Ours is above B's value at {above} of {len(beside)} depths; it is lowest at layer "
        f"{own.loc[own['value'].idxmin(), 'layer']} of {n_layers}, and B's values at {min(points, key=points.get)} of "
        f"{blocks}."
    )


def _chapters(runs):
    b, rows = published.read()[0], []
    facts = b | {"word_layers": ", ".join(map(str, b["word_layers"]))}
    for technique, (question, of_b) in OF_B.items():
        link = f"[{question}](/methods/{technique}.md)"
        said = Markdown(f"not run; `{published.command(technique)}` does")
        if technique in runs:
            numbers = runs[technique][1]["numbers"]
            said = ". ".join(_capital(numbers[key]["text"]) for key in VERDICTS.get(technique, ("verdict",)))
            link += f", [the run](/runs/{paths.slug(published.MODEL)}/{technique}.ipynb)"
        rows.append([Markdown(link), of_b.format(**facts), said])
    return table(["chapter", "of project B", "on our model"], rows)


def _capital(text):
    return text[:1].upper() + text[1:]
