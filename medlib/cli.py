"""The command line: `medlib run lesion --model smollm2-135m -p domains=drugs`.

Each command is one function of the library with a table around it. A mistake of the user's ends in one message and
exit code 1; a notebook that failed, in the table and exit code 3.
"""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medlib.book import kernels
from medlib.errors import MedlibError

app = typer.Typer(
    help="Where language models keep medical knowledge, and how they process it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
cache = typer.Typer(help="List what the cache and the work folder hold, or prune the cache.", add_completion=False)
app.add_typer(cache, name="cache")
_Parameters = Annotated[
    list[str], typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="One of the notebook's; may be repeated.")
]
_Profile = Annotated[str, typer.Option(help="full, or quick: the fewer items of notebooks/quick.toml.")]
_Limit = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="MINUTES",
        help=f"End a notebook that takes longer, as failed: {kernels.LIMIT} unless given, 0 for no limit.",
    ),
]
_Gpus = Annotated[
    int, typer.Option(min=0, help="Wait for so many free GPUs of this machine, and give them to the notebook alone.")
]
_Runs = Annotated[Path, typer.Option(metavar="FOLDER", help="Keep the run here, apart from those of the book.")]
_FAILED = 3  # exit code: a notebook failed, all else is well, and `make book` goes on to build what there is
_COLOURS = {"current": "green", "quick": "green", "done": "green", "stale": "yellow", "failed": "red"}


def main():
    """Entry point of the `medlib` command."""
    try:
        app()
    except MedlibError as error:
        message = str(error)
    except OSError as error:
        message = (
            f"{error.filename2 or error.filename or 'A file'} cannot be read or written: {error.strerror or error}."
        )
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            message += " Make room on its disk and give the command again; what was finished before is kept."
    else:
        return
    _console(stderr=True).print(message, highlight=False, soft_wrap=True)
    sys.exit(1)


@app.command()
def run(
    technique: str,
    model: str = typer.Option(None, help="A name that `medlib models` lists, a Hub id, or a local folder."),
    parameter: _Parameters = (),
    profile: _Profile = "full",
    limit: _Limit = None,
    runs: _Runs = None,
    unless_current: bool = typer.Option(False, "--unless-current", help="Leave a current run, here or committed."),
    gpus: _Gpus = 0,
):
    """Execute one notebook, whatever was run before."""
    from medlib import paths
    from medlib.book import choosing, execute, lease

    given = dict(_split(item) for item in parameter)
    outcome = execute.kept(technique, model, given, profile=profile, runs=runs) if unless_current else None
    if outcome is None:
        try:
            with lease.lease(gpus):
                outcome = execute.run(technique, model, given, profile=profile, limit=limit, runs=runs)
        except KeyboardInterrupt:
            _console(stderr=True).print("Interrupted: this run is lost, what was finished before is kept.")
            raise typer.Exit(130) from None
    _print_outcomes([outcome], runs)
    if outcome.state == "failed":
        raise typer.Exit(_FAILED)
    folder = (runs or paths.runs(paths.root())) / paths.slug(outcome.model)
    if outcome.state == "current" and not runs:  # it may be the one that is committed with the book
        folder, _ = choosing.chosen(outcome.model, technique)
    shows = "" if runs else "; `medlib build` puts it into the book"
    print(f"The run: {os.path.relpath(folder / technique)}.ipynb{shows}.")


@app.command("run-all")
def run_all(
    models: str = typer.Option("smollm2-135m", help='Names separated by blanks: --models "smollm2-135m gemma-3-270m".'),
    profile: _Profile = "full",
    jobs: int = typer.Option(1, min=1, help="Notebooks at a time; they share the cores, and each holds a model."),
    limit: _Limit = None,
    gpus: _Gpus = 0,
):
    """Execute every notebook for every model; what is current is left as it is, a failure does not stop the rest."""
    from medlib.book import current, execute

    if not models.split():
        raise MedlibError('No model was named. Say --models "smollm2-135m", or several between the quotes.')
    outcomes, names = [], list(current.techniques())
    asked = dict(announce=_announce, profile=profile, jobs=jobs, limit=limit, gpus=gpus)
    try:
        for outcome in execute.run_all(names, models.split(), **asked):
            outcomes.append(outcome)
    except KeyboardInterrupt:
        _print_outcomes(outcomes)
        _console(stderr=True).print("Interrupted: the notebook that was running is lost, the others are kept.")
        raise typer.Exit(130) from None
    _print_outcomes(outcomes)
    raise typer.Exit(_FAILED if any(outcome.state == "failed" for outcome in outcomes) else 0)


@app.command()
def techniques():
    """List the techniques: a notebook each, with the question it asks."""
    from medlib.book import current

    table = _table("technique", "question")
    for name, title in current.techniques().items():
        table.add_row(name, Text(title))
    _show(table)


@app.command()
def models():
    """List the models of the zoo and what each needs to run here."""
    from medlib.models import catalogue

    table = _table("model", "what", "layers", "hidden", "bf16", "licence", "here")
    for row in catalogue.table().itertuples():
        size = f"{row.bf16_gb:g} GB"
        table.add_row(row.name, row.what, f"{row.layers}", f"{row.hidden}", size, row.licence, row.here)
    _show(table)
    _console().print("Any other model: --model owner/name (Hub id) or --model ./folder.", highlight=False)


@app.command()
def plan(
    model: str = typer.Argument(help="A name of `medlib models`, or a local folder."),
    hardware: str = typer.Option("here", help='"here" (measured), "8-cores", or h200, h100, a100, l40s, rtx-4090.'),
    memory: str = typer.Option("4GiB", help="What the process may take where weights are streamed."),
    prompts: int = typer.Option(None, min=1, help="Prompts, or pairs for patching; else 64, 16, 1 and 16."),
    tokens: int = typer.Option(16, min=2, help="Tokens of each prompt."),
):
    """What each technique would cost on a model, worked out from its configuration: no weights are needed."""
    from medlib import plan as planned

    found = planned.plan(model, planned.hardware(hardware), memory, tokens, prompts)
    table = _table("technique", "weights", "memory", "read from disk", "walks", "operations", "time")
    for row in found.itertuples():
        sizes = (f"{row.memory / 2**30:.1f} GiB", f"{row.moved / 1e9:.1f} GB", f"{row.walks:.0f}")
        table.add_row(row.technique, row.weights, *sizes, f"{row.operations:.1e}", planned.said(row.seconds))
    _show(table)


@app.command()
def status():
    """Show where each run stands: chapter by model by profile, why what is not current, and what is missing here."""
    from medlib.book import matrix
    from medlib.book.pages import matrix_pages

    cells = matrix.matrix()
    models = matrix_pages.shown(cells)
    for profile in dict.fromkeys(cell.profile for cell in cells):
        grid = _table(f"profile {profile}", *models)
        states = {(cell.technique, cell.model): cell.state for cell in cells if cell.profile == profile}
        for technique in dict.fromkeys(technique for technique, _ in states):
            grid.add_row(technique, *(_coloured(states.get((technique, model), "never")) for model in models))
        _show(grid)
    why = _table("chapter", "model", "profile", "where", "state", "because")
    for *where, state, reasons in matrix_pages.reasons(cells):
        why.add_row(*where, _coloured(state), Text(reasons))
    if why.row_count:
        _show(why)
    lacking = _table("model", "missing here")
    for model, missing in {cell.model: cell.missing for cell in cells if cell.missing}.items():
        lacking.add_row(model, missing)
    if lacking.row_count:
        _show(lacking)
    if not any(state != "never" for cell in cells for state, _ in (cell.here, cell.committed)):
        _console().print("Nothing was run yet: `make book` runs everything.", highlight=False)


@app.command()
def reproduce(
    chapters: Annotated[list[str], typer.Argument(help="Chapters to execute again; all that are recorded.")] = None,
    models: str = typer.Option(None, help="Names separated by blanks; the embedded models whose weights are here."),
    threads: int = typer.Option(None, min=1, help="Of each kernel; as many as in the record."),
    against: str = typer.Option(None, metavar="FOLDER", help="The record; book/runs."),
    executed: str = typer.Option(None, metavar="FOLDER", help="Compare the runs there, and execute none."),
    exact: bool = typer.Option(False, "--exact", help="Allow nothing: for the same machine with as many threads."),
    limit: _Limit = None,
):
    """Execute what is recorded again, from nothing, and compare every number of its table with the record."""
    from medlib import paths
    from medlib.book.reproduction import pages, rerun

    house = paths.root()
    folder = Path(against or paths.committed(house))
    named, missing = (models.split(), {}) if models else rerun.embedded(folder)
    for model, what in missing.items():
        _console(stderr=True).print(f"{model} is left out; missing here: {what}", highlight=False)
    rerun.read(house / "_build" / rerun.REPORT)  # that it can be is not found out after hours
    done = []
    chosen = dict(against=folder, threads=threads, executed=executed, exact=exact, limit=limit, announce=_announce)
    for entry in rerun.reproduce(named, tuple(chapters or ()), house, **chosen):
        rerun.keep(entry, house / "_build" / rerun.REPORT)
        done.append(entry)
    report = _table(*pages.HEADER)
    for row in pages.rows(done):
        report.add_row(*map(str, row))
    _show(report)
    for entry in done:
        for line in pages.lines(entry):
            print(f"{entry['technique']} on {entry['model']}: {line}")
    print(
        f"{pages.summary(done)} The report: {os.path.relpath(house / '_build' / rerun.REPORT)}; `make html` shows it."
    )
    raise typer.Exit(_FAILED if any(entry["verdict"] in rerun.FAILURES for entry in done) else 0)


@cache.callback(invoke_without_command=True)
def list_cache(context: typer.Context):
    """List what the cache and the work folder hold, and how large it is."""
    from medlib import paths
    from medlib.book import caches

    if context.invoked_subcommand:
        return
    for place, entries in ((paths.cache().expanduser(), caches.kept()), ("_build", caches.built())):
        table = _table("name", "what", "size", "")
        for entry in entries:
            table.add_row(entry.name, entry.what, caches.said(entry.bytes), "" if entry.needed else "not needed")
        total = caches.said(sum(entry.bytes for entry in entries))
        print(f"{place}: {total}")
        if entries:
            _show(table)
    if spare := sum(entry.bytes for entry in caches.kept() if not entry.needed):
        print(f"`medlib cache prune` frees {caches.said(spare)}.")


@cache.command("prune")
def prune_cache(
    names: Annotated[list[str], typer.Argument(help="Entries of the cache; those that nothing needs.")] = None,
):
    """Remove from the cache what nothing needs any more, or the entries that are named: they are made again."""
    from medlib.book import caches

    removed = caches.prune(tuple(names or ()))
    for entry in removed:
        print(f"removed  {entry.name}  {caches.said(entry.bytes)}")
    if not removed:
        print("Everything in the cache is of use to this version.")


@app.command("new-chapter")
def new_chapter(name: str):
    """Write a chapter that runs as it stands, to be changed: its notebook, its page, its places in the book."""
    from medlib import paths
    from medlib.book import new_chapter as chapter

    house = paths.root()
    for word, files in zip(("wrote", "added to"), chapter.write(name, house), strict=True):
        for file in files:
            print(f"{word:<8}  {file.relative_to(house)}")
    print(f'It runs as it stands: medlib run {name}\nHow to change it: the page "Adapt a chapter", book/adapt.md')


@app.command("map")
def map_of(model: str = typer.Argument(help="A name, id or folder for which the chapter knowledge_map has run.")):
    """Print a model's knowledge map as JSON: which layers to touch for each domain, and how sure that is."""
    from medlib import paths, results
    from medlib.book import choosing, placing
    from medlib.chapters.knowledge_map import map_tables

    placing.settle(paths.root())
    run_of_it = choosing.chosen(model, "knowledge_map")
    if run_of_it is None:
        raise MedlibError(
            f"There is no knowledge map of {model!r} yet. Make one after the chapters that it is made of: medlib run "
            "knowledge_map --model, and then its name, Hub id or folder."
        )
    folder, record = run_of_it
    advice = map_tables.advice(results.read(folder / "knowledge_map.parquet"), record)
    print(json.dumps(advice, indent=1, ensure_ascii=False, allow_nan=False))


@app.command()
def build():
    """Build the book from the runs there are, strictly; nothing is executed."""
    from medlib import paths
    from medlib.book import building

    page = building.build(paths.root())
    print(f"The book: {page}")


@app.command()
def pdf():
    """Build the book if need be, and print the whole of it to one PDF."""
    from medlib import paths
    from medlib.book import building, printing

    root = paths.root()
    with building.built(root) as page:  # no other process builds it anew while it is printed
        target = printing.pdf(page.parent, root / "_build/source/_toc.yml", root / "_build/book.pdf")
    print(f"The book on paper: {target}")


@app.command()
def record():
    """Promote the local runs that passed and are current to book/runs, where they are committed."""
    from medlib import paths
    from medlib.book import promote
    from medlib.book.pages import run_pages
    from medlib.book.pairs import read
    from medlib.book.reproduction import rerun
    from medlib.models import zoo

    promoted, refused = promote.record()
    shown = paths.committed() / zoo.names()[0] / "patching.ipynb"
    if shown.exists():  # the README's picture is that of a recorded run
        picture, _ = run_pages.headline(read(shown))
        paths.write_atomically(paths.root() / "book" / "_static" / "overview.png", picture)
    if rerun.record(paths.root()):
        promoted.append("the report of the reproduction")
    for name in promoted:
        print(f"recorded  {name}")
    for name in refused:
        print(f"refused   {name}")
    if not promoted and not refused:
        print("Nothing to record: book/runs holds these runs already.")
    raise typer.Exit(bool(refused))


@app.command()
def pairs(write: bool = typer.Option(False, "--write", help="Write each .ipynb from its .py.")):
    """Check that each notebook's two files, .py and .ipynb, hold the same cells, or make it so."""
    from medlib.book import pairs as files

    if write:
        print("\n".join(f"wrote notebooks/{name}.ipynb" for name in files.write()) or "Nothing to write.")
    different, alone = files.different(), files.alone()
    if different or alone:
        words = f"Not the same in .py and .ipynb: {', '.join(different)}. " if different else ""
        words += f"Without a .py: {', '.join(alone)}. " if alone else ""
        raise MedlibError(f"{words}The .py is the truth: `make pair` writes each .ipynb from it.")
    print("Every notebook and its pair agree.")


def _split(item):
    name, equals, value = item.partition("=")
    if not (name and equals):
        raise MedlibError(f"-p takes NAME=VALUE, like -p n_items=10; got {item!r}.")
    return name, value


def _announce(technique, model):
    _console(stderr=True).print(f"running {technique} on {model} ...", highlight=False)


def _print_outcomes(outcomes, runs=None):
    from medlib import paths

    table = _table("technique", "model", "state", "seconds", "peak memory")
    for outcome in outcomes:
        seconds = "" if outcome.seconds is None else f"{outcome.seconds:.0f}"
        memory = "" if outcome.peak_memory is None else f"{outcome.peak_memory / 2**30:.1f} GiB"
        table.add_row(outcome.technique, outcome.model, _coloured(outcome.state), seconds, memory)
    _show(table)
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    for outcome in failed:
        place = (runs or paths.runs(paths.root())) / paths.slug(outcome.model) / f"{outcome.technique}.failed.ipynb"
        place = os.path.relpath(place)
        words = f"{outcome.technique} on {outcome.model} failed; as far as it came: {place}\n{outcome.error}"
        _console(stderr=True).print(words, highlight=False, soft_wrap=True)


def _table(*columns):
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in _NUMBERS else "left")
    return table


_NUMBERS = (
    "seconds",
    "peak memory",
    "layers",
    "hidden",
    "bf16",
    "size",
    "numbers",
    "same",
    "within",
    "moved",
    "largest",
)


def _coloured(state):
    return Text(state, _COLOURS.get(state, "dim"))


def _show(table):
    console = _console()
    if not console.is_terminal:  # a log has no width: never fold a name there
        console = _console(width=200)
    console.print(table)


def _console(**options):
    """A console that prints what it is given: rich would take `[v2]` in the name of a folder for markup of its own."""
    return Console(markup=False, emoji=False, **options)
