"""The matrix that the `Snakefile` runs: technique x model, and x domain where that is asked for.

A cell is one run of one notebook.  A chapter lays its domains side by side in one table and one page, so a cell of the
book has them all.  Split by domain, a cell is a run with one domain, kept apart from the runs of the book: for models
so slow that one chapter outlasts what a cluster lets a job run.

What a cell needs comes from `medlib plan`, which knows the model, and from the recorded runs, which know the chapter:
its time is what its recorded run took, times what `plan` says the model costs more than the recorded one.  It is a
limit for a scheduler, not an estimate, and doubles when a job is tried again.
"""

import math
import os
from functools import cache, cached_property
from typing import NamedTuple

from medlib import paths
from medlib.book import current, execute, fitting, forms, pairs, profiles
from medlib.book import parameters as told
from medlib.errors import MedlibError

DEFAULTS = {
    "models": "smollm2-135m",  # separated by blanks
    "techniques": "",  # all there are
    "domains": "",  # not split
    "profile": "quick",
    "hardware": "here",  # that the jobs run on, as `medlib plan` names it
    "lease": False,  # each job waits for GPUs of its own: where no scheduler assigns them
    "threads": 2,  # cores of a job
    "limit": "",  # minutes of a run, 0 for none; the house's own (kernels.py)
}
TOGETHER = {"collapse"}  # chooses what it leaves out of a domain on the others: one domain alone is refused
READERS = {  # chapters that read states and change none, so cost what activations do
    *("ages", "collapse", "contextualisation", "embedding_geometry"),
    *("geometry", "knowledge", "progression"),
}
MARGIN = 2  # times what a cell is expected to take
LEAST = 15  # minutes that any cell gets: imports and caches of a fresh node
GPU = {"h200": 141e9, "h100": 80e9, "a100": 80e9, "l40s": 48e9, "rtx-4090": 24e9}  # bytes, of the larger version sold


class Cell(NamedTuple):
    """One run: of a chapter on a model, on all of its domains or on one."""

    technique: str
    model: str
    domain: str = ""

    @property
    def key(self):
        """What tells it apart, as a path: `<domain or all>/<model>/<technique>`."""
        return f"{self.domain or 'all'}/{paths.slug(self.model)}/{self.technique}"

    def parameters(self, house):
        """Its parameters that are not the profile's."""
        return dict([_split(self.technique, house)[self.domain]]) if self.domain else {}

    def runs(self, house):
        """The folder its run is kept in; None for the book's own."""
        return house / "_build" / "domains" / self.domain if self.domain else None

    def arguments(self, profile, house):
        """What `medlib` is to be told to run it, unless it is current."""
        said = ["run", self.technique, "--model", self.model, "--profile", profile, "--unless-current"]
        for name, value in self.parameters(house).items():
            said += ["-p", f"{name}={value}", "--runs", self.runs(house)]
        return [str(word) for word in said]


class Matrix:
    """The cells that a configuration asks for.

    >>> matrix = Matrix({"models": "smollm2-135m gemma-3-270m", "techniques": "lesion knowledge_map"})
    >>> [cell.key for cell in matrix.to_do()]
    ['all/smollm2-135m/knowledge_map']

    `config` has the keys of `DEFAULTS`.  `MedlibError` for a key, technique, model, profile or domain there is not, and
    for a matrix without a cell; for hardware there is not, once a cell is asked what it needs.
    """

    def __init__(self, config, house=None):
        if unknown := sorted(set(config) - set(DEFAULTS)):
            raise MedlibError(f"There is no {', '.join(unknown)} in the matrix. There are: {', '.join(DEFAULTS)}.")
        self.house = house or paths.root()
        asked = DEFAULTS | config
        self.profile, self.lease = asked["profile"], _yes("lease", asked["lease"])
        self.threads = _count("threads", asked["threads"])
        self._hardware, self.limit = asked["hardware"], str(asked["limit"])
        models, domains = str(asked["models"]).split(), str(asked["domains"]).split()
        names = str(asked["techniques"]).split() or list(current.techniques(self.house))
        self.cells, self.late = {}, set()
        for technique in names:
            given = profiles.parameters(self.profile, technique, self.house)
            for model in models:
                notebook, *_ = current.prepare(technique, model, given, self.house)
                if fitting.made_of_tables(notebook):
                    self.late.add(technique)
                if fitting.is_for(notebook, model):
                    for cell in _cells(technique, model, domains, self.house):
                        self.cells[cell.key] = cell
        if not self.cells:
            raise MedlibError(
                f"No chapter is both for these models ({' '.join(models) or 'none'}) and for these domains "
                f"({' '.join(domains) or 'all'}). `medlib techniques` and `medlib models` list what there is."
            )
        there = {cell.domain for cell in self.cells.values()}
        if unknown := [domain for domain in domains if domain not in there]:
            raise MedlibError(
                f"None of these chapters has the domain {', '.join(unknown)} and can be run on one alone. Of the "
                f"domains asked for, they have: {', '.join(there)}."
            )

    @cached_property
    def hardware(self):
        """What the jobs run on.  Only where it is asked for: a job itself need not, and `plan` loads torch."""
        from medlib import plan

        here = f"{os.cpu_count()} cores"  # `plan` would measure "here", anew each time
        return plan.hardware(here if self._hardware == "here" else self._hardware)

    def to_do(self):
        """The cells whose run is not current, neither here nor committed, and those made of tables that will change."""
        to_do = [cell for cell in self.cells.values() if self._kept(cell) is None]
        new = {cell.model for cell in to_do if cell.technique not in self.late}
        late = [cell for cell in self.cells.values() if cell.technique in self.late and cell.model in new]
        return list(dict.fromkeys(to_do + late))

    def after(self, cell, to_do):
        """Of the cells to do, those that must be done before this one."""
        if cell.technique not in self.late:
            return []
        return [other for other in to_do if other.model == cell.model and other.technique not in self.late]

    def arguments(self, cell):
        """What `medlib` is to be told to run a cell."""
        leased = ["--gpus", str(self.needs(cell)["gpu"])] if self.lease else []
        limited = ["--limit", self.limit] if self.limit else []
        return [*cell.arguments(self.profile, self.house), *leased, *limited]

    def needs(self, cell, attempt=1):
        """What a cell needs of the machine it runs on: a dict of `gpu` (how many), `mem_mb` and `runtime` (minutes).

        Memory and time are `attempt` times what is expected.  `MedlibError` where a model does not fit the GPU: a
        chapter runs on one.
        """
        cost, other = _cost(cell.technique, cell.model, self.hardware), _recorded(cell, self.house)
        minutes, besides = 0, 0
        if other:
            on = _cost(cell.technique, other["model"]["name"], self._machine_of(other))
            minutes = other["seconds"] / 60 * max(1, cost["seconds"] / on["seconds"] if cost and on else 1)
            besides = max(0, (other["peak_memory_bytes"] or 0) - (on["memory"] if on else 0))
        memory = 4 * 2**30  # of a model of which nothing is known before it is fetched
        gpu = int(self.hardware.name in GPU)
        if cost:
            memory = cost["memory"] + besides
            minutes += cost["disk"] / self.hardware.disk / 60
            if gpu and cost["memory"] > 0.9 * (has := GPU[self.hardware.name]):
                raise MedlibError(
                    f"{cell.technique} on {cell.model} needs {cost['memory'] / 1e9:.0f} GB, and one "
                    f"{self.hardware.name} has {has / 1e9:.0f}: choose a larger one, or cores, as hardware."
                )
        return {
            "gpu": gpu,
            "mem_mb": attempt * math.ceil(memory * 1.2 / 1e6),
            "runtime": attempt * max(LEAST, math.ceil(minutes * MARGIN)),
        }

    def _machine_of(self, record):
        """What a recorded run was made on: so many cores, or an accelerator, taken for one like that of this matrix."""
        from medlib import plan

        return plan.cores(record["threads"]) if record["device"] == "cpu" else self.hardware

    def _kept(self, cell):
        return execute.kept(
            cell.technique, cell.model, cell.parameters(self.house), self.house, self.profile, cell.runs(self.house)
        )


def _yes(key, value):
    """Whether a key of the configuration says true: on its command line, Snakemake hands on true and false as words."""
    said = {"true": True, "false": False}.get(str(value).lower())
    if said is None:
        raise MedlibError(f"{key} is true or false, not {value!r}.")
    return said


def _count(key, value):
    """A number of the configuration, 0 or more."""
    if not str(value).isdecimal():
        raise MedlibError(f"{key} is a number, not {value!r}.")
    return int(value)


def _cells(technique, model, domains, house):
    """The cells of a chapter on a model: one, or one for each of the domains that it has."""
    if not domains:
        return [Cell(technique, model)]
    has = _split(technique, house)
    return [Cell(technique, model, domain) for domain in domains if domain in has]


@cache
def _split(technique, house):
    """The domains of a chapter that can be run one by one: domain -> the parameter and its value that do."""
    if technique in TOGETHER:
        return {}
    defaults = told.defaults(pairs.read(house / "notebooks" / f"{technique}.py"), technique)
    for name in ("domains", "comparisons"):
        words = str(defaults.get(name, "")).split()
        if words:
            names = dict.fromkeys(word.split(":")[0] for word in words)
            return {one: (name, " ".join(word for word in words if word.split(":")[0] == one)) for one in names}
    return {}


@cache
def _cost(technique, model, hardware):
    """What `plan` says a technique costs on a model with its weights in memory: `memory`, `disk`, `seconds`.

    That of the dearest sweep for a chapter that `plan` does not have; None for a model that is not here to be read.
    """
    from medlib import plan

    try:
        found = plan.plan(model, hardware)
    except MedlibError:
        return None
    found = found[found.weights == "in memory"]
    sweep = "activations" if technique in READERS else technique
    if sweep in plan.TECHNIQUES:
        found = found[found.technique == sweep]
    return found[["memory", "disk", "seconds"]].max().to_dict()


def _recorded(cell, house):
    """The record of the chapter's longest committed run: on this model, else on any; None where there is none."""
    folder = paths.committed(house)
    own = folder / paths.slug(cell.model) / f"{cell.technique}.json"
    found = {file: forms.read(file) for file in sorted(folder.glob(f"*/{cell.technique}.json"))}
    whole = {file: record for file, record in found.items() if record and not forms.other(record)}
    records = [whole[own]] if own in whole else whole.values()
    return max(records, key=lambda record: record["seconds"], default=None)
