"""The first page: a small map, three findings with their intervals and controls, and what follows in practice.

All of it is worked out from the recorded tables and from the verdicts of the claims when the book is assembled, and it
turns with them: a finding that another model or a new run overturns reads otherwise the next time.
"""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from medlib import concepts, figures, results, stats
from medlib.book.claims import claims
from medlib.book.claims.evidence import (
    CONTRADICTED,
    NOT_DECIDED,
    NOT_RUN,
    SUPPORTED,
    NotThere,
    Number,
    number,
    rows,
    written,
)
from medlib.book.claims.text_rules import known
from medlib.book.pages.map_pages import DATA, TECHNIQUE
from medlib.book.pages.markdown import Markdown, table
from medlib.chapters.knowledge_map import map_figures, map_prose, map_tables
from medlib.errors import MedlibError
from medlib.mapping import rules

NO_RUNS = "What belongs here comes from runs, and none is in this copy of the book yet; `make book` makes them.\n"
MOST = 2  # models that are named one by one; of more, the lowest and the highest
COLUMNS = 3  # models beside each other in the table of practice
LATE, EARLY = 2 / 3, 1 / 3  # of the depth


class Finding(NamedTuple):
    """A finding: what it says in one line, the sentences with its numbers, and the page that it is from."""

    title: str
    text: str
    page: str


class OfModel(NamedTuple):
    """What one model says to a finding: a word that decides its title, and its numbers by name."""

    word: str
    numbers: dict


def write(folder, chapters, book, judged):
    """Write `front_map.md`, `front_findings.md`, `front_practice.md` and `front_sure.md` into `folder`.

    `book`: the runs as the rules of the claims take them; `judged`: a claim's key -> model -> its verdict.
    """
    maps = {c.name: (c, results.read(c.file(".parquet"))) for c in chapters if c.technique == TECHNIQUE}
    pieces = {"map": NO_RUNS, "findings": "", "practice": "", "sure": ""}
    if chapters:
        tables = {model: found for model, (_, found) in maps.items()}
        pieces = {
            "map": _map(folder, maps),
            "findings": _said(findings(tables, book, judged)),
            "practice": _practice(maps),
            "sure": _how_sure(maps),
        }
    for name, text in pieces.items():
        (folder / f"front_{name}.md").write_text(text, encoding="utf-8")


# --- the findings -----------------------------------------------------------------------------------------------------


def findings(maps, book, judged):
    """The three findings, in order.

    >>> for finding in findings({"smollm2-135m": table}, book, judged): print(finding.title)

    `maps`: model -> table of its knowledge map; `book` and `judged` as `write` takes them.
    """
    return [whose_map(maps), where_it_is_taken_over(book), claims_held(judged)]


def whose_map(maps):
    """Is a domain's map its own?  What it shares with its control, beside the other half of its items and chance."""
    said = _of_models(maps, _whose)
    title = {
        ("shared",): "The map is one of the model more than of medicine",
        ("own",): "The map is medicine's own",
        (): "Whether the map is medicine's own is not known yet",
    }.get(_words(said), "Whether the map is medicine's own depends on the model")
    if not said:
        return Finding(title, _not_run("knowledge_map"), "methods/knowledge_map.md")
    text = (
        f"A technique's layers overlap with those in the control by {_each(said, 'control')}, "
        f"with those in the other half of the domain's items by {_each(said, 'halves', named=False)}, "
        f"by chance by {_each(said, 'chance', named=False)}."
    )
    return Finding(title, text, "methods/knowledge_map.md")


def _whose(model, found):
    is_known = map_tables.known(found)
    domains = [name for name in concepts.medical() if is_known.get(name) is not False]
    among = _wide(
        found,
        {
            "overlap_with_control": "control",
            "overlap_with_control_by_chance": "chance",
            "overlap_with_other_domains": "others",
        },
    )
    stable = _wide(found[found["variant"] == "half of the items"], {"overlap_when_changed": "overlap"})
    said = map_prose.own_map(among, stable.assign(change="half of the items"), domains)
    if "shared" not in said:
        raise NotThere("no map of a known domain can be held against its control's")
    both = among[among["domain"].isin(domains)].merge(stable[["domain", "technique"]]).dropna(subset=["control"])
    low = high = None
    if both["domain"].nunique() >= 3:
        _, low, high = stats.bootstrap(both["control"].to_numpy(), np.median, groups=both["domain"].to_numpy())
    return OfModel(
        said["verdict"][0],
        {
            "control": Number("", said["shared"][0], low, high),
            "halves": Number("", said["halves"][0]),
            "chance": Number("", said["by_chance"][0]),
        },
    )


def _wide(found, metrics):
    """Rows of a map's table as columns, one row for each domain and technique."""
    part = found[found["metric"].isin(metrics)].astype({"domain": object, "component": object})
    wide = part.pivot(index=["domain", "component"], columns="metric", values="value")
    wide = wide.reindex(columns=list(metrics)).rename(columns=metrics).reset_index()
    return wide.rename(columns={"component": "technique"})


def where_it_is_taken_over(book):
    """From which layer on the state at the last token brings the answer with it, and whether controls differ."""
    said = _of_models(book, _handover)
    page = "methods/patching.md"
    if not said:
        return Finding("Where the answer is taken over is not known yet", _not_run("patching"), page)
    depths = {one.numbers["depth"] for one in said.values()}
    when = f"{next(iter(depths))} in the model" if len(depths) == 1 else "at a depth that differs between models"
    beside = {
        ("alike",): ", in medicine as outside it",
        ("elsewhere",): ", in medicine at other layers than outside it",
    }.get(_words(said), "")
    text = (
        f"From layer {_each(said, 'layer')} on, its state brings half of the answer into another prompt; in the "
        f"control from {_each(said, 'control', named=False)} on, and in no domain more than "
        f"{_each(said, 'apart', named=False)} layers apart."
    )
    return Finding(f"The last token takes the answer over {when}{beside}", text, page)


def _handover(model, book):
    """Of the known domains with a known control the middle one, its control, and how far apart the two are at most."""
    if not {"patching", "knowledge"} <= set(book):
        raise NotThere("the chapters on patching and on what the model knows did not both run")
    run = book["patching"]
    names = known({model: book}, model, concepts.medical())
    names = [name for name in names if known({model: book}, model, [concepts.control(name)])]
    at = rows(run, "handover_interpolated", interval=True, domain=names).sort_values("value")
    middle = at.iloc[(len(at) - 1) // 2]
    beside = rows(run, "handover_interpolated", interval=True, domain=concepts.control(middle["domain"])).iloc[0]
    apart = rows(run, "handover_interpolated_difference", interval=True, domain=names)
    depth, layers = middle["value"], int(run.table["layer"].max())
    word = "not decided"
    if ((apart["low"] > -1) & (apart["high"] < 1)).all():
        word = "alike"
    elif ((apart["low"] > 1) | (apart["high"] < -1)).any():
        word = "elsewhere"
    return OfModel(
        word,
        {
            "depth": "late" if depth > LATE * layers else "early" if depth < EARLY * layers else "halfway",
            "layer": Number("", depth, middle["low"], middle["high"], f"{layers}", "{:.1f}"),
            "control": number("", beside, form="{:.1f}"),
            "apart": Number("", apart["value"].abs().max(), form="{:.1f}"),
        },
    )


def claims_held(judged):
    """How many of the claims on text models hold, how many hold of the controls as well, and one that is decided."""
    ran = {
        claim.key: {model: verdict for model, verdict in judged[claim.key].items() if verdict.word != NOT_RUN}
        for claim in claims()
        if claim.work == "A"
    }
    models = list(dict.fromkeys(model for of in ran.values() for model in of))
    if not models:
        return Finding("Which of the published claims hold is not known yet", _not_run("run-all"), "claims.md")
    held = [[verdict for verdict in of.values() if verdict.word == SUPPORTED] for of in ran.values()]
    special = sum(any(not verdict.alike for verdict in found) for found in held)
    title = f"Of {len(ran)} published claims, "
    if special:
        title += f"{special} {'holds' if special == 1 else 'hold'} of medicine more than of the controls"
    elif any(held):
        title += "none is shown to hold of medicine alone"
    else:
        title += "none is supported"
    told = {f"`{model}`": [of[model] for of in ran.values() if model in of] for model in models}
    if len(models) > MOST:
        told = {f"{len(models)} models together": [verdict for of in told.values() for verdict in of]}
    tallies = "; ".join(f"{name}: {_tally(verdicts)}" for name, verdicts in told.items())
    return Finding(title, f"{tallies}.{_example(ran)}", "claims.md")


def _tally(verdicts):
    words = [verdict.word for verdict in verdicts]
    alike = sum(verdict.word == SUPPORTED and verdict.alike for verdict in verdicts)
    n = words.count(SUPPORTED)
    also = f" ({'all' if alike == n else alike} true of the controls too)" if alike else ""
    return f"{n} supported{also}, {words.count(CONTRADICTED)} contradicted, {words.count(NOT_DECIDED)} not decided"


def _example(ran):
    """The claim that most models decide against, or, where none is, the one that most decide for: with its numbers."""
    for word in (CONTRADICTED, SUPPORTED):
        able = {
            key: {model: v for model, v in of.items() if v.word == word and v.numbers and v.controls}
            for key, of in ran.items()
        }
        key = max(able, key=lambda key: len(able[key]))
        if able[key]:
            title = next(claim.title for claim in claims() if claim.key == key)
            model, verdict = next(iter(able[key].items()))
            return (
                f" {word.capitalize()} on {len(able[key])} of {len(ran[key])} models: "
                f"[{title}](#claim-{key.lower()}), in `{model}` "
                f"{_value(verdict.numbers[0])}; control {_value(verdict.controls[0])}."
            )
    return ""


def _of_models(of, reader):
    """What each model says; those that lack what a finding reads are left out."""
    said = {}
    for model, found in of.items():
        try:
            said[model] = reader(model, found)
        except (NotThere, MedlibError):
            continue
    return said


def _words(said):
    return tuple(sorted({one.word for one in said.values()}))


def _each(said, name, named=True):
    """A number of every model; of more than `MOST`, the lowest and the highest."""
    ordered, link = list(said.items()), " and "
    if len(ordered) > MOST:
        ordered, link = sorted(ordered, key=lambda one: one[1].numbers[name].value), " to "
        ordered = [ordered[0], ordered[-1]]
    told = [f"{_value(one.numbers[name])}{f' in `{model}`' if named else ''}" for model, one in ordered]
    return link.join(told if named or told[0] != told[-1] else told[:1])


def _value(one):
    """A number with its interval, and the number of layers where it is one of them."""
    said = written(one.value, one.form)
    if one.n.isdigit():
        said += f" of {one.n}"
    return said if one.low is None else f"{said} ({written(one.low, one.form)} to {written(one.high, one.form)})"


def _not_run(chapter):
    return f"No recorded run says so: `medlib {'' if chapter == 'run-all' else 'run '}{chapter}`."


def _said(found):
    """The findings as a list, each with the page that it is from."""
    lines = []
    for place, one in enumerate(found, 1):
        link = "Method" if one.page.startswith("methods/") else "All claims"
        lines.append(f"{place}. **{one.title}.**\n   {one.text} [{link}](/{one.page}).")
    return "\n".join(lines) + "\n\nIn brackets: 95 % intervals, over domains (1) or items (2, 3).\n"


# --- the map ----------------------------------------------------------------------------------------------------------


def _map(folder, maps):
    if not maps:
        return f"The map is not drawn yet. {_not_run(TECHNIQUE)}\n"
    model = max(maps, key=lambda name: sum(map_tables.known(maps[name][1]).get(d, 0) for d in concepts.medical()))
    chapter, found = maps[model]
    _draw(found).savefig(folder / "front_map.png", dpi=160)
    plt.close("all")
    others = f" [{len(maps)} models, layer by layer](/maps.md)." if len(maps) > 1 else " [Layer by layer](/maps.md)."
    return (
        ":::{figure} generated/front_map.png\n"
        ":alt: Two panels with a band for each medical domain and bars at the layers that each technique points at; "
        "on the right less the control.\n\n"
        f"Layers that each technique points at in [`{model}`](/{chapter.page}.ipynb); right, less the control. "
        f"Fainter: in fewer resamples. Grey: not known. Outlined: no more than shuffled items.{others} "
        f"Data: {DATA}.\n:::\n"
    )


def _draw(found):
    figures.style()
    maps = {space: map_tables.read_back(found, space) for space in map_tables.MAPS}
    domains = [name for name in concepts.medical() if (maps["plain"]["domain"] == name).any()]
    figure, axes = plt.subplots(1, 2, figsize=(6.6, 0.56 * len(domains) + 1.0), sharey=True, layout="constrained")
    titles = ("medical domains", "minus their controls")
    for one, table_of, title in reversed(list(zip(axes, maps.values(), titles, strict=True))):
        map_figures.lanes(one, table_of, domains)  # the last one names the domains for both
        one.set_title(title, fontsize="medium")
        for text in list(one.texts):  # why a lane is empty is too small to be read here
            text.remove()
    map_figures.legend(figure, outlined=True)
    return figure


# --- what follows in practice -----------------------------------------------------------------------------------------


TASKS = {  # what is done with layers -> its name, and when a layer is named
    "probe": ("Probe", "at the end of the steepest rise of the clusters, or above"),
    "edit": (
        "Edit",
        "where lesions and steering beat random layers, and the map differs from that of the control, known or not",
    ),
    "fine-tune": ("Fine-tune", "where one of the two does, and the map differs from that of the control"),
    "leave alone": ("Leave alone", "where the loss of one costs most in every domain and control"),
}


def practice(found):
    """Which layers to probe, edit, fine-tune and leave alone, each with how sure that is: a key of `TASKS` -> text.

    >>> practice(results.read("knowledge_map.parquet"))["edit"]

    `found`: the table of a knowledge map.  Worked out from its advice (`map_tables.advice`, what `medlib map` prints).
    """
    advice = map_tables.advice(found)["domains"]
    usable = {domain: one for domain, one in advice.items() if one["known"] is not False}
    return {
        "probe": _probe(usable),
        "edit": _touch(usable, all),
        "fine-tune": _touch(usable, any),
        "leave alone": _needed_by_all(found, usable),
    }


def _probe(usable):
    """For each domain the last layer of the rise that geometry maps."""
    risen = {domain: one["maps"]["plain"]["geometry"] for domain, one in usable.items()}
    risen = {domain: runs[-1] for domain, runs in risen.items() if runs}
    if not risen:
        return "not known: geometry maps no domain"
    told = [f"{domain} {run['last']}" for domain, run in risen.items()]
    return f"{', '.join(told)} {_share([run['confidence'] for run in risen.values()])}"


def _touch(usable, enough):
    """The layers of the domains that differ from their control and pass all, or any, of the tests by intervention."""
    tests = ("lesions_matter", "steering_matters")
    passed = {
        domain: one["touch"]
        for domain, one in usable.items()
        if one["checks"].get("differs_from_control") and enough(one["checks"].get(test) is True for test in tests)
    }
    if not passed:
        return f"no layers: 0 of {len(usable)} domains pass"
    told = [f"{domain} {_runs(runs)}" for domain, runs in passed.items()]
    return f"{'; '.join(told)} {_share([run['confidence'] for runs in passed.values() for run in runs])}"


def _needed_by_all(found, usable):
    """The layers that lesions point at in every known domain and every known control."""
    plain, is_known = map_tables.read_back(found, "plain"), map_tables.known(found)
    both = [name for domain in usable for name in (domain, concepts.control(domain))]
    names = [name for name in both if is_known.get(name) is not False]
    own = plain[(plain["technique"] == "lesion") & plain["domain"].isin(names) & (plain["status"] == "run")]
    if own.empty:
        return "not known: no lesions were run"
    of_layer = own.groupby("layer").agg(mapped=("mapped", "all"), share=("share", "min"))
    shared = rules.runs(of_layer["mapped"].to_numpy(dtype=bool))
    if not shared:
        return f"no layers: none is mapped in all of {own['domain'].nunique()} domains and controls"
    runs = [dict(first=first, last=last) for first, last in shared]
    return f"{_runs(runs)} {_share(of_layer.loc[of_layer['mapped'], 'share'])}"


def _runs(runs):
    ends = ((run["first"], run["last"]) for run in runs)
    return ", ".join(f"{first}–{last}" if last > first else f"{first}" for first, last in ends)


def _share(shares):
    low, high = (written(value) for value in (min(shares), max(shares)))
    return f"({low})" if low == high else f"({low} to {high})"


def _practice(maps):
    if not maps:
        return ""
    shown = dict(list(maps.items())[:COLUMNS])
    said = {model: practice(found) for model, (_, found) in shown.items()}
    header = [
        "layers to",
        "which",
        *(Markdown(f"`{model}`, 1 to {_layers(found)}") for model, (_, found) in shown.items()),
    ]
    lines = [
        [Markdown(f"**{name}**"), where, *(said[model][task] for model in shown)]
        for task, (name, where) in TASKS.items()
    ]
    return table(header, lines)


def _how_sure(maps):
    """What the numbers beside layers are, and where there is more."""
    if not maps:
        return ""
    left = len(maps) - COLUMNS
    more = f", and of {left} more model{'s' * (left > 1)}" if left > 0 else ""
    return (
        "In brackets, how sure: the share of resamples of the items in which these layers are mapped. "
        f"Domain by domain, with each test{more}: [all maps](/maps.md); as JSON: `medlib map {next(iter(maps))}`.\n"
    )


def _layers(found):
    return int(found.loc[found["metric"] == "mapped", "layer"].max())
