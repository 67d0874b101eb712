"""The page of claims: each work's claims against each model's recorded runs, written when the book is assembled.

A verdict comes from `judge`, a number from a recorded table, a cost from `medlib.plan`; nothing on the page is typed.
"""

from medlib import plan, results
from medlib.book.claims import claims as all_claims
from medlib.book.claims import costs, judge
from medlib.book.claims.evidence import CONTRADICTED, NOT_RUN, SUPPORTED, Run
from medlib.book.pages.markdown import Markdown, seconds, table
from medlib.paths import slug

WORKS = ("A", "B")
DECIDED = (SUPPORTED, CONTRADICTED)


def write(folder, chapters):
    """Write `claims_matrix_A.md`, `claims_A.md` and those of work B into `folder`; `chapters` are the book's runs.

    Returns the runs as the rules take them, and claim's key -> model -> `Verdict`.
    """
    book, verdicts = recorded(chapters), {}
    figures = {(chapter.name, chapter.technique): _figures(chapter) for chapter in chapters}
    took = {(chapter.name, chapter.technique): chapter.record["seconds"] for chapter in chapters}
    for work in WORKS:
        claims = [claim for claim in all_claims() if claim.work == work]
        judged = {claim.key: _verdicts(claim, book) for claim in claims}
        (folder / f"claims_matrix_{work}.md").write_text(_matrix(claims, judged), encoding="utf-8")
        sections = (_section(claim, judged[claim.key], figures, took) for claim in claims)
        (folder / f"claims_{work}.md").write_text("\n".join(sections), encoding="utf-8")
        verdicts |= judged
    return book, verdicts


def recorded(chapters):
    """The runs as the rules take them: model -> chapter -> `Run`."""
    book, wanted = {}, {name for claim in all_claims() for name in claim.chapters}
    for chapter in chapters:
        if chapter.technique in wanted:
            numbers = {key: entry["value"] for key, entry in chapter.record["numbers"].items()}
            table_of = results.read(chapter.file(".parquet"))
            book.setdefault(chapter.name, {})[chapter.technique] = Run(table_of, numbers)
    return book


def _figures(chapter):
    """The page of a run and the labels of its figures."""
    options = [cell.metadata.get("mystnb", {}).get("figure", {}) for cell in chapter.notebook.cells]
    return f"/{chapter.page}.ipynb", {one["name"] for one in options if "name" in one}


def _verdicts(claim, book):
    """Model -> `Verdict`: the models of the zoo that it is asked of, and others that have its chapters recorded."""
    others = [model for model, runs in book.items() if set(claim.chapters) <= set(runs)]
    return {model: judge(claim, book, model) for model in dict.fromkeys([*claim.asks, *others])}


def _matrix(claims, judged):
    """A row for each claim and a column for each model that ran; the models that did not are counted."""
    ran = list(dict.fromkeys(m for of in judged.values() for m, verdict in of.items() if verdict.word != NOT_RUN))
    rows = []
    for claim in claims:
        of = judged[claim.key]
        cells = [_cell(of[model]) if model in of else NOT_RUN for model in ran]
        left = sum(verdict.word == NOT_RUN for verdict in of.values())
        others = f"{left} {NOT_RUN}" if left else ""
        rows.append([Markdown(f"[{claim.key}](#{_label(claim)}) {claim.title}"), *cells, others])
    return table(["claim", *(Markdown(f"`{model}`") for model in ran), "models of the zoo"], rows)


def _cell(verdict):
    said = f"**{verdict.word}**" if verdict.word in DECIDED else verdict.word
    return Markdown(said + ("\\*" if _alike(verdict) else ""))


def _spaced(technique):
    return technique.replace("_", " ")


def _alike(verdict):
    return verdict.word in DECIDED and verdict.alike


def _label(claim):
    return f"claim-{claim.key.lower()}"


def _section(claim, verdicts, figures, took):
    rule = claim.rule
    links = ", ".join(f"[{_spaced(name)}](/methods/{name}.md)" for name in claim.chapters)
    read = f"{claim.reads} ({links})"
    lines = [f"({_label(claim)})=", f"### {claim.key}. {claim.title}", ""]
    lines += [claim.claim, f"*Published*: {claim.said}", ""]
    lines += [f"**Rule.** We read {read}.", f"*Supported* if {rule['supported']}."]
    lines += [f"*Contradicted* if {rule['contradicted']}.", "Otherwise *not decided*.", ""]
    ran = {model: verdict for model, verdict in verdicts.items() if verdict.word != NOT_RUN}
    for model, verdict in ran.items():
        lines += [*_verdict(claim, model, verdict, figures), ""]
    if not ran:
        lines += ["**Not run** on any model yet.", ""]
    lines += [f"*To bear in mind*: {claim.caveat}", ""]
    left = [model for model, verdict in verdicts.items() if verdict.word == NOT_RUN]
    return "\n".join(lines + _not_run(claim, left, {model: _whole(claim, model, took) for model in ran}))


def _verdict(claim, model, verdict, figures):
    alike = "; the control does the same" if _alike(verdict) else ""
    lines = [f"**`{model}`: {verdict.word}**{alike}.", verdict.why, ""]
    lines += [f"- {one}" for one in verdict.numbers]
    lines += [f"- *control*: {one}" for one in verdict.controls]
    page, labels = figures[model, claim.chapters[0]]
    label = f"{claim.figure}-{slug(model)}"
    shown = f"[the figure](#{label})" if label in labels else f"[the chapter]({page})"
    lines.append(f"- {shown} of {_spaced(claim.chapters[0])} on {model}")
    return lines


def _whole(claim, model, took):
    """The time that the recorded runs of a claim's chapters took on a model, sweeps and all."""
    return seconds(sum(took[model, chapter] for chapter in claim.chapters))


def _not_run(claim, models, whole):
    """What would decide the claim on the models that did not run: the ones it is said of first.

    `whole`: the models that ran and the time that they took, for a measure of what the plan leaves out.
    """
    if not models:
        return []
    ordered = sorted(models, key=lambda model: model not in claim.of)
    rows = []
    for model in ordered:
        memory, planned = costs.cost(claim.chapters, model)
        command = Markdown(f"`{costs.command(claim.chapters, model)}`")
        name = Markdown(f"**{model}**") if model in claim.of else model
        time = plan.said(planned).replace(" ", "\N{NO-BREAK SPACE}")
        rows.append([name, command, f"{memory / 2**30:.3g}", time])
    title = f"::::{{dropdown}} Not run on {len(models)} model{'s' * (len(models) != 1)}: what would decide it there"
    beside = ", ".join(f"{time} on {model}" for model, time in whole.items())
    said = [f"Sweeps alone, on one H100; where they ran, the whole chapters took {beside}.", ""] if whole else []
    return [title, "", *said, table(["model", "command", "GiB", "sweeps"], rows), "::::", ""]
