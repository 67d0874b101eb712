"""The book: pages and executed runs, assembled, checked and built into a static site that needs no network.

Assembly copies `book/` to `_build/source`, takes in every run that passes (of a local and a committed one that which
counts, choosing.py), marks those that are not current, gives each model its part in the table of contents, and writes
the pages that are generated from the records.  The build is strict: a warning is a failure.  A failed or killed build
leaves the last good book: each is made in a folder of its own and takes its place when it is whole, and where a kill
came between the two renames of that, the next build first puts the last book back.  One process builds or prints a
house's book at a time; a second one waits.
"""

import ast
import errno
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nbformat
import yaml
from filelock import FileLock, Timeout

from medlib import paths, results
from medlib.book import (
    choosing,
    current,
    disk,
    execute,
    figure_data,
    forms,
    leash,
    pairs,
    pictures,
    placing,
    reading,
    safe_html,
    stamp,
    terms,
)
from medlib.book.claims import pages as claim_pages
from medlib.book.pages import (
    concept_pages,
    disk_pages,
    fault_pages,
    front_page,
    map_pages,
    matrix_pages,
    run_pages,
    scans_pages,
    speed_pages,
    zoo_pages,
)
from medlib.book.project_b import pages as project_b_pages
from medlib.book.reproduction import pages as reproduction_pages
from medlib.errors import MedlibError
from medlib.models import zoo

_GLUE_PREFIX = "application/papermill.record/"
_MAKING = "html.making."  # begins the name of a folder in which one build makes the book
_CONF = '''"""Written by medlib.book: the settings of _config.yml as Sphinx reads them."""

import sys as _sys
from pathlib import Path as _Path

from jupyter_book.config import get_final_config as _final
from sphinx.util import logging as _logging

_here = _Path(__file__).parent
_config, _ = _final(user_yaml=_here / "_config.yml", cli_config={"latex_individualpages": False}, sourcedir=_here)
globals().update(_config)
# thebe and comments load scripts from other sites, intersphinx loads inventories
extensions = [name for name in extensions if name not in ("sphinx_thebe", "sphinx_comments", "sphinx.ext.intersphinx")]
_sys.path.insert(0, str(_here))
extensions.append("terms")
html_static_path = [*html_static_path, "_offline"]


def setup(app):
    """Plotly's script is 4 MB: a page loads it before its figures where it has some, and not otherwise."""
    app.connect("html-page-context", _with_plotly)
    app.connect("html-page-context", _without_a_list_of_no_items)
    app.connect("env-updated", _of_the_book_alone)


def _with_plotly(app, name, template, context, doctree):
    if "Plotly.newPlot" in context.get("body", ""):
        app.add_js_file("plotly/plotly.min.js")


def _of_the_book_alone(app, env):
    """A picture or a download that lies elsewhere is a file of this machine, which a stranger's page may ask for."""
    ours = _Path(app.srcdir).resolve(), _Path(app.outdir).resolve().parent
    for name in sorted({*env.images, *env.dlfiles}):
        path = (ours[0] / name).resolve()
        if not any(path.is_relative_to(folder) for folder in ours):
            _logging.getLogger(__name__).warning("%s lies outside the book", name)


def _without_a_list_of_no_items(app, name, template, context, doctree):
    """Docutils calls the bibliography a list, whose items a screen reader then looks for in vain."""
    if "body" in context:
        context["body"] = context["body"].replace('role="list" class="citation-list"', 'class="citation-list"')
'''


@dataclass(frozen=True)
class Chapter:
    """One run as the book has it: a notebook, its table and its record, side by side in one folder."""

    model: str  # as in file names
    technique: str
    folder: Path

    @property
    def page(self):
        return f"runs/{self.model}/{self.technique}"

    def file(self, suffix):
        return self.folder / f"{self.technique}{suffix}"

    @property
    def name(self):
        """The model's own name, which a file name may not hold."""
        return self.record["model"]["name"]

    @property
    def question(self):
        """The chapter's title, without the model that is stamped into it."""
        headings = (re.search(r"^# (.+)$", cell.source, re.M) for cell in self.notebook.cells)
        title = next((heading[1].strip() for heading in headings if heading), self.technique)
        return title.removesuffix(f" · {self.name}")

    @property
    def record(self):
        return json.loads(self.file(".json").read_text(encoding="utf-8"))

    @property
    def notebook(self):
        return pairs.read(self.file(".ipynb"))


def build(root=None):
    """Build the whole book and return the path of its first page.

    >>> build()
    PosixPath('.../_build/html/index.html')

    Nothing is built again when no source has changed, and another process that builds this book is waited for.
    Raises MedlibError when a committed run is failed or incomplete, when a folder of runs holds something else, when a
    number in prose differs from its record, and with Sphinx's own words when the strict build finds anything to
    complain about.
    """
    with built(root) as page:
        return page


@contextmanager
def built(root=None):
    """The first page of the book, built as by `build`; while it lasts no other process builds this book anew.

    >>> with built() as page:
    ...     printing.pdf(page.parent, toc, target)
    """
    root = Path(root or paths.root())
    with _alone(root):
        with disk.named(root / "_build"):
            page = _build(root)
        yield page


@contextmanager
def _alone(root):
    """While it lasts, no other process builds this book; where one does, it is named and waited for.

    The lock is the operating system's: that of a process which was killed is free.
    """
    (root / "_build").mkdir(parents=True, exist_ok=True)
    lock, builder = FileLock(root / "_build" / "build.lock"), root / "_build" / "build.who"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = builder.read_text() if builder.is_file() else "another process"
        print(f"{who} builds this book; waiting for it ...", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        builder.write_text(f"process {os.getpid()} on {platform.node()}")
        yield
    finally:
        builder.unlink(missing_ok=True)
        lock.release()


def _build(root):
    site, old = root / "_build" / "html", root / "_build" / "html.old"
    _clear(root, site, old)
    source = assemble(root)
    seal, digest = root / "_build" / "html.sha256", _digest(source)
    if (site / "index.html").is_file() and seal.is_file() and seal.read_text() == digest:
        return site / "index.html"
    with tempfile.TemporaryDirectory(prefix=_MAKING, dir=root / "_build", ignore_cleanup_errors=True) as making:
        fresh = Path(making) / "html"
        _sphinx(source, fresh, Path(making) / "doctrees")
        pictures.shrink(fresh, root / "_build" / "webp")
        shutil.copyfile(fresh / "intro.html", fresh / "index.html")
        seal.unlink(missing_ok=True)
        if site.exists():
            site.rename(old)
        fresh.rename(site)
    seal.write_text(digest)
    shutil.rmtree(old, ignore_errors=True)
    return site / "index.html"


def _clear(root, site, old):
    """Clear up after a build that was killed: the last book goes back to its place, what was half made goes."""
    if old.exists() and not site.exists():
        old.rename(site)
    for left in (old, *(root / "_build").glob(f"{_MAKING}*")):
        shutil.rmtree(left, ignore_errors=True)


def assemble(root):
    """Write everything Sphinx needs to `_build/source` and return that folder; no run changes meanwhile."""
    with placing.still(Path(root)):
        return _assemble(Path(root))


def _assemble(root):
    toc = _contents(root)
    _yaml(root / "_config.yml")  # Sphinx reads it, and would say less of what is wrong
    chapters, failed = choose(root)
    source = root / "_build" / "source"
    with disk.named(source):
        _fill(source, toc, chapters, failed, root)
    return source


def _fill(source, toc, chapters, failed, root):
    """Write the assembled sources into a folder."""
    if source.exists():
        shutil.rmtree(source)
    shutil.copytree(root / "book", source, ignore=shutil.ignore_patterns("runs", ".*"))
    shutil.copyfile(root / "_config.yml", source / "_config.yml")
    (source / "_toc.yml").write_text(yaml.safe_dump(_with_chapters(toc, chapters), sort_keys=False), encoding="utf-8")
    (source / "conf.py").write_text(_CONF, encoding="utf-8")
    standings = {chapter: current.standing(chapter.record, root) for chapter in chapters}
    stale = [chapter for chapter, (state, _) in standings.items() if state == "stale"]
    for chapter in chapters:
        _take_in(chapter, source, *standings[chapter])
    run_pages.write(source / "generated", chapters, failed, stale)
    matrix_pages.write(source / "generated", root)
    disk_pages.write(source / "generated", chapters)
    reproduction_pages.write(source / "generated", root, chapters)
    concept_pages.write(source / "generated")
    zoo_pages.write(source / "generated")
    speed_pages.write(source / "generated", root / "benchmarks" / "measured")
    fault_pages.write(source / "generated", root / "benchmarks" / "measured")
    scans_pages.write(source / "generated")
    project_b_pages.write(source / "generated", chapters)
    book, verdicts = claim_pages.write(source / "generated", chapters)
    map_pages.write(source / "generated", chapters)
    front_page.write(source / "generated", chapters, book, verdicts)
    reading.write(source, chapters)
    shutil.copyfile(terms.__file__, source / "terms.py")
    _copy_mathjax(source / "_offline" / "mathjax")
    _copy_plotly(source / "_offline" / "plotly")


def choose(root):
    """The chapters of the book in its order, and the local runs that failed: `(chapters, [(model, technique, why)])`.

    For each model and technique that of the local and the committed run is taken which counts (choosing.py).
    A run that failed leaves `<technique>.failed.ipynb` and gives way to an earlier one that passed.  MedlibError when
    a committed run is failed or incomplete, or when something that is no run lies among the committed ones.
    """
    root = Path(root)
    placing.settle(root)
    committed, strays = _runs(paths.committed(root))
    wrong = [f"{name}: belongs to no run" for name in strays]
    wrong += [f"{c.technique} on {c.model}: {why}" for c in committed for why in _problems(c)]
    if wrong:
        raise MedlibError(
            "These committed runs (book/runs) cannot go into the book:\n- "
            + "\n- ".join(wrong)
            + "\nA run is <model>/<technique> with .ipynb, .parquet and .json of one execution. "
            "Run it again with `medlib run`, then promote it with `make record`; remove what is no run."
        )
    local, _ = _runs(paths.runs(root))
    failed = [(c.model, c.technique, why[0]) for c in local if (why := _problems(c))]
    for path in sorted(paths.runs(root).glob("*/*.failed.ipynb")):
        why = current.failure(path)["error"]
        failed.append((path.parent.name, path.name.removesuffix(".failed.ipynb"), why))
    chosen = {(c.model, c.technique): c for c in committed}
    for chapter in (c for c in local if not _problems(c)):
        there = chosen.get((chapter.model, chapter.technique))
        if there is None or choosing.rank(chapter.record, root) > choosing.rank(there.record, root):
            chosen[chapter.model, chapter.technique] = chapter
    return sorted(chosen.values(), key=_order(root)), sorted(failed)


def check_numbers(notebook, record):
    """Hold the numbers glued into a notebook equal to those of its record; MedlibError naming each that differs.

    `notebook` is an executed nbformat notebook, `record` the JSON record as a dict.  Every number of the record must be
    glued with its text, and every glued text must be in the record.
    """
    glued = _glued(notebook)
    told = {key: entry["text"] for key, entry in record["numbers"].items()}
    wrong = [
        f"{key}: the page says {glued.get(key, 'nothing')!r}, the record {told.get(key, 'nothing')!r}"
        for key in sorted({*glued, *told})
        if glued.get(key) != told.get(key)
    ]
    if wrong:
        raise MedlibError(
            f"Numbers in the prose of {record['technique']} on {record['model']['name']} differ from its record:\n- "
            + "\n- ".join(wrong)
            + "\nRun the notebook again: `run.number` writes both."
        )


def _glued(notebook):
    """The texts a notebook glues, by the key that `run.number` was given (a stamp adds `-technique-model` to it)."""
    glued = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            key = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = output.get("data", {}).get(_GLUE_PREFIX + "text/plain", output.get("data", {}).get("text/plain"))
            if key is not None and text is not None:
                glued[key.split("-", 1)[0]] = ast.literal_eval(text) if text[:1] in "'\"" else text
    return glued


def _runs(folder):
    """The runs in a folder, `<model>/<technique>` each, and the names of the files there that belong to none."""
    files = sorted(path for path in folder.glob("*/*") if not path.name.startswith(".")) if folder.is_dir() else []
    chapters = [
        Chapter(path.parent.name, path.stem, path.parent) for path in files if re.fullmatch(r"\w+\.ipynb", path.name)
    ]
    ours = {chapter.file(suffix) for chapter in chapters for suffix in placing.PARTS}
    return chapters, [str(path.relative_to(folder)) for path in files if path not in ours]


def _problems(chapter):
    """Why a run may not go into the book, as a list of sentences; empty when it may."""
    missing = [chapter.file(suffix).name for suffix in placing.PARTS if not chapter.file(suffix).is_file()]
    if missing:
        return [f"incomplete: {', '.join(missing)} missing"]
    record = forms.complete(chapter.folder, chapter.technique)
    if not record:
        return ["its files are not those of one execution"]
    if refused := forms.refusals(record):
        return refused
    try:
        found = execute.problems(chapter.notebook)
    except MedlibError as error:
        return [str(error)]
    found += [f"check failed: {check['name']}" for check in chapter.record["checks"] if not check["passed"]]
    try:
        check_numbers(chapter.notebook, chapter.record)
    except MedlibError as error:
        found.append(str(error))
    return found


def _order(root):
    """Sort key of chapters: models as the zoo lists them, techniques as the methods pages stand in the contents."""
    models = [paths.slug(name) for name in zoo.names()]
    techniques = re.findall(r"file: methods/(\w+)", (Path(root) / "_toc.yml").read_text(encoding="utf-8"))
    place = {name: number for names in (models, techniques) for number, name in enumerate(names)}
    last = len(place)
    return lambda c: (place.get(c.model, last), c.model, place.get(c.technique, last), c.technique)


def _contents(root):
    """The table of contents; MedlibError where it is none."""
    toc = _yaml(root / "_toc.yml")
    parts = toc.get("parts")
    for part in parts if isinstance(parts, list) else [None]:
        entries = part.get("chapters") if isinstance(part, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise MedlibError(
                "_toc.yml has no list of `parts`, each with a `caption` and a list of `chapters`. "
                "Mend it, or bring back an earlier one."
            )
    return toc


def _yaml(path):
    """What a file of YAML holds, a dict; MedlibError, with the line, where it is broken."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedlibError(f"{path.name} cannot be read: {error}\nMend it, or bring back an earlier one.") from None
    if not isinstance(found, dict):
        raise MedlibError(f"{path.name} is empty or no list of settings: bring back an earlier one.")
    return found


def _with_chapters(toc, chapters):
    """The table of contents, with one part per model where `glob: runs/*/*` stood, after that entry's own part.

    Models that read pictures go where the entry with `modality: image` is, if there is one.
    """
    apart = any(entry.get("modality") == "image" for part in toc["parts"] for entry in part["chapters"])
    parts = []
    for part in toc["parts"]:
        own = [entry for entry in part["chapters"] if "glob" not in entry]
        parts += [{**part, "chapters": own}] if own else []
        for entry in (entry for entry in part["chapters"] if "glob" in entry):
            pictures_here = entry.get("modality") == "image"
            those = [c for c in chapters if (apart and _reads_pictures(c.name)) == pictures_here]
            for model in dict.fromkeys(chapter.model for chapter in those):
                ours = [chapter for chapter in those if chapter.model == model]
                listed = [{"file": chapter.page, "title": chapter.question} for chapter in ours]
                parts.append({"caption": f"{part.get('caption', 'Results')}: {ours[0].name}", "chapters": listed})
    return {**toc, "parts": parts}


def _reads_pictures(name):
    return name in zoo.names() and "image" in zoo.entry(name)["modality"]


def _take_in(chapter, source, state="current", reasons=()):
    """Copy a run to the assembled sources with its data, and put on its page the lines that lead to it.

    A short table is offered as CSV, a long one as it lies there; what each figure is drawn from, in CSV beside it.
    What is not current by its `state`, for some `reasons`, says so under the title's paragraph.
    """
    target = source / chapter.page
    target.parent.mkdir(parents=True, exist_ok=True)
    table, long = results.read(chapter.file(".parquet")), run_pages.is_long(chapter)
    if long:
        shutil.copyfile(chapter.file(".parquet"), target.with_suffix(".parquet"))
    else:
        table.to_csv(target.with_suffix(".csv"), index=False)
    shutil.copyfile(chapter.file(".json"), target.with_suffix(".json"))
    notebook = chapter.notebook
    safe_html.make_safe(notebook)
    data = nbformat.v4.new_markdown_cell(run_pages.data_line(chapter), id="data-of-this-page")
    tagged = [i for i, cell in enumerate(notebook.cells) if "card" in cell.metadata.get("tags", [])]
    notebook.cells.insert(tagged[0] + 1 if tagged else len(notebook.cells), data)
    if state != "current":
        mark = matrix_pages.mark(state, reasons, _command(chapter.record))
        notebook.cells.insert(1, nbformat.v4.new_markdown_cell(mark, id=f"this-run-is-{state}"))
    figure_data.link(notebook, chapter.page, target.parent, table, long)
    nbformat.write(notebook, target.with_suffix(".ipynb"))


def _command(record):
    """The command that makes a run anew, its profile's parameters left to the profile."""
    command = ["medlib", "run", record["technique"], "--model", stamp.to_load(record["model"])]
    profile = record["run"].get("profile")
    return shlex.join([*command, *(["--profile", profile] if profile == "quick" else [])])


def _copy_mathjax(target):
    """Bring MathJax from its Python package, so that formulas need no network, and its part that keeps them safe."""
    spec = find_spec("mathjax")
    folder = Path(spec.origin).parent / "static" / "mathjax" / "es5" if spec else None
    scripts = ("tex-svg-full.js", "ui/safe.js")
    if folder is None or not all((folder / script).is_file() for script in scripts):
        raise MedlibError(
            "Formulas need the package django-static-mathjax, which is not installed. "
            "Install it: pip install --no-deps -r requirements.lock"
        )
    for script in scripts:
        (target / script).parent.mkdir(parents=True)
        shutil.copyfile(folder / script, target / script)


def _copy_plotly(target):
    """Bring Plotly's script from its Python package, once for all pages, so that figures need no network."""
    script = Path(find_spec("plotly").origin).parent / "package_data" / "plotly.min.js"
    target.mkdir(parents=True)
    shutil.copyfile(script, target / script.name)


def _sphinx(source, target, doctrees):
    """Build strictly and from nothing: what an earlier, failed build remembers would hide its warnings."""
    strict = ("-W", "-n", "--keep-going", "-q", "--no-color", "-b", "html", "-d", doctrees)
    done = leash.run("sphinx", *strict, source, target, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    if done.returncode:
        complaints = done.stderr.replace(f"{source}{os.sep}", "")
        complaints = complaints.partition("The full traceback has been saved")[0].strip()  # what follows is advice
        if os.strerror(errno.ENOSPC) in complaints:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        raise MedlibError(f"The strict build of the book failed; the last good book is untouched.\n{complaints}")


def _digest(source):
    """SHA-256 over everything the site depends on: the assembled sources, this folder and the builders' versions."""
    from importlib.metadata import version

    names = ("jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb", "plotly")
    digest = hashlib.sha256(" ".join(version(name) for name in names).encode())
    for folder, pattern in ((source, "*"), (Path(__file__).parent, "*.py")):
        for path in sorted(path for path in folder.rglob(pattern) if path.is_file()):
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
