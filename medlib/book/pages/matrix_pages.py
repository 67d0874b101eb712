"""The page of the matrix: which runs are current, which are stale and because of what, and what cannot run here."""

from medlib.book import matrix
from medlib.book.pages.markdown import Markdown, table

_REASONS = 5  # that are said; the others are counted
_EMPTY = ("never", "not runnable", "not for it")  # states of a cell in which there is no run


def write(folder, house):
    """Write `standing.md`, `standing_why.md` and `standing_missing.md` into `folder`, of the runs of a house."""
    cells = matrix.matrix(house)
    (folder / "standing.md").write_text(_standing(cells), encoding="utf-8")
    (folder / "standing_why.md").write_text(_why(cells), encoding="utf-8")
    (folder / "standing_missing.md").write_text(_missing(cells), encoding="utf-8")


def said(reasons):
    """Some reasons in one phrase, the first few by name.

    >>> said(["the notebook changed", "medlib/run.py changed"])
    'the notebook changed; medlib/run.py changed'
    """
    more = [f"and {len(reasons) - _REASONS} more"] if len(reasons) > _REASONS else []
    return "; ".join([*reasons[:_REASONS], *more])


def mark(state, reasons, command):
    """The note on the page of a run that is stale or unknown: because of what, and the command that makes it anew."""
    why = _escaped(said(reasons))
    if state == "stale":
        lines = [":::{warning}", f"**This run is stale**: since it was made, {why}."]
    else:
        lines = [":::{warning}", f"**Whether this run is current is not known**: {why}."]
    lines += ["Its numbers are those of what it was made from; [what stale means](/matrix.md)."]
    lines += ["", "```console", command, "```", ":::"]
    return "\n".join(lines)


def shown(cells):
    """The models that have a column: something was run on them, or can be here."""
    models = dict.fromkeys(cell.model for cell in cells)
    return [m for m in models if any(c.model == m and (c.state not in _EMPTY or not c.missing) for c in cells)]


def reasons(cells):
    """A row for each place in which a run is stale, failed or unknown: technique, model, profile, place, state, why."""
    places = (("here", "here"), ("committed", "book"))
    return [
        [cell.technique, cell.model, cell.profile, place, state, said(why)]
        for cell in cells
        for name, place in places
        for state, why in (getattr(cell, name),)
        if why
    ]


def _standing(cells):
    parts = []
    models = shown(cells)
    for profile in dict.fromkeys(cell.profile for cell in cells):
        states = {(cell.technique, cell.model): cell.state for cell in cells if cell.profile == profile}
        if not set(states.values()) - set(_EMPTY):
            parts.append(f"**Profile {profile}**: no run.\n")
            continue
        techniques = dict.fromkeys(technique for technique, _ in states)
        rows = [[name, *(states.get((name, model), "never") for model in models)] for name in techniques]
        parts.append(f"**Profile {profile}**\n\n{table(['chapter', *models], rows)}")
    return "\n".join(parts) if any(cell.technique for cell in cells) else "There is no chapter in this copy.\n"


def _why(cells):
    rows = reasons(cells)
    if not rows:
        return "No run is stale, failed or unknown.\n"
    return table(["chapter", "model", "profile", "where", "state", "because"], rows)


def _missing(cells):
    lacking = {cell.model: cell.missing for cell in cells if cell.missing}
    unfit = {}
    for cell in cells:
        if cell.unfit and not cell.missing:
            unfit.setdefault((cell.model, cell.unfit), {})[cell.technique] = True
    parts = []
    if lacking:
        rows = [[Markdown(f"`{model}`"), what] for model, what in lacking.items()]
        parts.append("No chapter, for want of what is missing here:\n\n" + table(["model", "missing here"], rows))
    if unfit:
        rows = [[Markdown(f"`{model}`"), why, ", ".join(names)] for (model, why), names in unfit.items()]
        parts.append("Chapters that are not for a model:\n\n" + table(["model", "why not", "chapters"], rows))
    return "\n".join(parts) or "Every chapter can run on every model here.\n"


def _escaped(text):
    return text.replace("_", "\\_").replace("*", "\\*").replace("<", "\\<")
