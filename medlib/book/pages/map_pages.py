"""The page with every model's knowledge map side by side, and the files that a tool can take.

Drawn from the recorded tables when the book is assembled; nothing is computed anew.  Depth is relative, so that models
of different depths can be compared by eye.
"""

import json

import matplotlib.pyplot as plt

from medlib import concepts, figures, results
from medlib.book.pages import map_switch
from medlib.book.pages.markdown import Markdown, table
from medlib.chapters.knowledge_map import map_figures, map_tables

TECHNIQUE = "knowledge_map"
DATA = "{download}`CSV </generated/knowledge_maps/maps.csv>`"  # of every figure of maps
NO_MAP = "No map is in this copy of the book yet; `medlib run knowledge_map` makes one of the chapters that have run.\n"


def write(folder, chapters):
    """Write the pieces of the page into `folder`: figures, and for each model a JSON file and a table of its advice."""
    maps = {}
    for chapter in (chapter for chapter in chapters if chapter.technique == TECHNIQUE):
        maps[chapter.name] = chapter, results.read(chapter.file(".parquet"))
    (folder / "maps_switch.md").write_text(_switch(folder, maps) if maps else "", encoding="utf-8")
    (folder / "maps.md").write_text(_figures(folder, maps) if maps else NO_MAP, encoding="utf-8")
    (folder / "maps_advice.md").write_text(_advice(folder, maps) if maps else NO_MAP, encoding="utf-8")


def _switch(folder, maps):
    """The figure in which a model is chosen, with its data; on paper there are the figures that follow it."""
    runs = map_switch.intervals({model: found for model, (_, found) in maps.items()})
    (folder / "knowledge_maps").mkdir(exist_ok=True)
    runs.to_csv(folder / "knowledge_maps" / "maps.csv", index=False)
    notebooks = ", ".join(f"[{model}](/{chapter.page}.ipynb)" for model, (chapter, _) in maps.items())
    return (
        f"```{{raw}} html\n{map_switch.page(runs, 'maps-switch')}\n```\n\n"
        ":::{container} figure-data\n"
        "Choose a model above the figure; point at a bar to read its layers and how often they are mapped. "
        "Outlined: the difference does not stand out from shuffled items. Grey: not known to the model. "
        f"Data: {DATA}; notebooks: {notebooks}.\n:::\n"
    )


def _figures(folder, maps):
    titles = {
        "plain": "the layers that each technique points at in the medical domains",
        "minus control": "the same of the difference between each medical domain and its control",
    }
    parts = []
    for space, title in titles.items():
        name = f"maps_{space.replace(' ', '_')}.png"
        _draw({model: found for model, (_, found) in maps.items()}, space).savefig(folder / name, dpi=160)
        plt.close("all")
        text = (
            f":::{{figure}} generated/{name}\n:name: fig-maps-{space.replace(' ', '-')}\n"
            ":alt: A panel for each model with a band for each medical domain and bars along relative depth, "
            "a lane for each technique.\n\n"
            f"For every model, {title}, at relative depth (0: below the first block, 1: above the last). "
            "Fainter: mapped in fewer resamples of the items. Black: two techniques or more. "
            "Grey: the model does not reliably prefer the right answer"
        )
        if space != "plain":
            text += ", in the domain or in its control. Outlined: the difference does not stand out from that of"
            text += " shuffled items, and has no part in what is black"
        parts.append(f"{text}. Data: {DATA}.\n:::\n")
    return "\n".join(parts)


def _draw(maps, space):
    figures.style()
    domains = [
        domain for domain in concepts.medical() if any((found["domain"] == domain).any() for found in maps.values())
    ]
    size = (1.6 + 3.6 * len(maps), 0.95 * len(domains) + 1.4)
    figure, grid = plt.subplots(1, len(maps), figsize=size, squeeze=False, layout="constrained")
    for number, (axes, (model, found)) in enumerate(zip(grid[0], maps.items(), strict=True)):
        read = map_tables.read_back(found, space)
        n_layers = int(read["layer"].max())
        grey = "not known" if space == "plain" else "or control,\nnot known"
        map_figures.lanes(axes, read, domains, n_layers, grey)
        axes.set_title(f"{model}, {n_layers} layers", fontsize="medium")
        if number and _known(found, domains) == _known(maps[next(iter(maps))], domains):
            axes.set_yticklabels([])
    map_figures.legend(figure, outlined=space != "plain")
    return figure


def _known(found, domains):
    told = map_tables.known(found)
    return [told.get(domain) for domain in domains]


def _advice(folder, maps):
    (folder / "knowledge_maps").mkdir(exist_ok=True)
    rows = []
    for model, (chapter, found) in maps.items():
        advice = map_tables.advice(found, chapter.record)
        file = folder / "knowledge_maps" / f"{chapter.model}.json"
        file.write_text(json.dumps(advice, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        link = f"{{download}}`JSON </generated/knowledge_maps/{chapter.model}.json>`"
        for number, (domain, one) in enumerate(advice["domains"].items()):
            first = Markdown(f"[{model}](/{chapter.page}.ipynb) {link}") if not number else ""
            rows.append([first, domain, *_of_domain(one)])
    header = ["model", "domain", "layers", "confidence", "basis", "agree", "differ", "lesions", "steering"]
    return table(header, rows)


def _of_domain(one):
    if one["known"] is False:
        return ["not known", *[""] * 6]
    if not one["touch"]:
        return ["none", *[""] * 6]
    ends = ((run["first"], run["last"]) for run in one["touch"])
    layers = ", ".join(f"{first}–{last}" if last > first else f"{first}" for first, last in ends)
    confidence = ", ".join(f"{run['confidence']:.2f}" for run in one["touch"])
    words = {True: "yes", False: "no", None: "not tested"}
    return [layers, confidence, one["basis"], *(words[value] for value in one["checks"].values())]
