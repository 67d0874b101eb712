"""A run: from the first line of a notebook to the record of what it found.

The record says everything that someone else needs to get the same numbers, or to see why they did not: parameters,
model and weights, data, sources, versions, device, seed, time and memory, the checks that passed and the numbers that
the prose quotes. It names nothing about who ran it or where. Works in any notebook or script; how it was started does
not matter.
"""

import hashlib
import json
import math
import os
import platform
import re
import sys
import tomllib
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from time import perf_counter

from medlib import paths, results
from medlib.errors import MedlibError

RECORD_VERSION = 1
HALF = re.compile("[\ud800-\udfff]")  # a half of a character (lone surrogate)
PACKAGE = Path(__file__).resolve().parent


class Run:
    """One execution of one technique on one model.

    >>> run = medlib.Run("lesion", model, parameters={"domain": "drugs"}, seed=0)
    >>> run.check("planted block found", passed=found == planted, detail=f"block {found}")
    >>> run.number("peak_layer", 3, "layer 3 (95 % interval 2 to 5)")
    >>> run.save(table)

    The clock starts here.  `model` is a `medlib.Model`; `parameters` are what the notebook was given, as JSON values.
    `save` writes `<technique>.parquet` and `<technique>.json` into a folder named after the model: under `medlib run`
    that of the run, in a notebook executed by hand one in `_build/by_hand`.
    """

    def __init__(self, technique, model, parameters, seed):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", technique):
            raise MedlibError(f"A technique is named in small letters, digits and _, like 'lesion'; got {technique!r}.")
        self.technique, self.model, self.seed = technique, model, int(seed)
        self.parameters = _as_json("parameters", parameters)
        self.checks, self.numbers = [], {}
        self._started = perf_counter()
        self._table = None

    @property
    def folder(self):
        given = os.environ.get("MEDLIB_RUNS")  # set by `medlib run`; a notebook run by hand never touches its runs
        folder = Path(given) if given else paths.root() / "_build" / "by_hand"
        return folder / paths.slug(self.model.name)

    def check(self, name, passed, detail=""):
        """Record that something that must hold does; if it does not, stop: the results below would mean nothing."""
        self.checks.append({"name": name, "passed": bool(passed), "detail": detail})
        if not passed:
            raise MedlibError(
                f"The check {name!r} failed{f': {detail}' if detail else ''}. Nothing of this run is kept."
            )
        self._write_record()

    def number(self, key, value, text=None):
        """Record a number that the prose quotes and, as `text`, how it is written there: {glue:text}`key` shows it.

        `value` is a finite number or a word; MedlibError for anything else and for a key that is taken.
        """
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", key):
            raise MedlibError(f"A number's key is letters, digits and _, like 'peak_layer'; got {key!r}.")
        if key in self.numbers:
            raise MedlibError(
                f"The number {key!r} is recorded already, as {self.numbers[key]['text']!r}: choose another key."
            )
        value = _as_json(key, value)
        text = _as_json(key, str(value if text is None else text))
        self.numbers[key] = {"value": value, "text": text}
        self._write_record()
        _glue(key, text)

    def save(self, table):
        """Complete and check the results table, then write it and the record; what comes later joins the record."""
        table = results.tidy(table, model=self.model.name, technique=self.technique, seed=self.seed)
        if table.empty:
            raise MedlibError(f"The results table of {self.technique!r} has no rows: nothing was measured.")
        table = _public(table)
        results.write(table, self.folder / f"{self.technique}.parquet")
        items = table.dropna(subset=["item"])[["domain", "item"]].drop_duplicates()
        self._table = {"rows": len(table), "items": len(items)}
        self._write_record()

    def record(self):
        """The record so far, as JSON values."""
        facts = ("name", "revision", "weights_sha256", "source", "chat", "chat_prefix")  # a template may hold the date
        model = {name: getattr(self.model, name, None) for name in facts}
        model |= {
            "layers": getattr(self.model, "n_layers", None),
            "hidden_size": getattr(self.model, "hidden_size", None),
        }
        model["dtype"] = str(getattr(self.model, "dtype", None)).removeprefix("torch.")
        return paths.public(
            {
                "record": RECORD_VERSION,
                "schema": results.SCHEMA_VERSION,
                "technique": self.technique,
                "model": model,
                "parameters": self.parameters,
                "seed": self.seed,
                "table": self._table,
                "checks": self.checks,
                "numbers": self.numbers,
                "seconds": round(perf_counter() - self._started, 1),
                "peak_memory_bytes": _peak_memory(),
                "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "sources": sources(),
                "data": data(self.parameters),
                "versions": _versions(),
                **_machine(self.model),
            }
        )

    def _write_record(self):
        if self._table is not None:
            write_record(self.record(), self.folder / f"{self.technique}.json")


def _public(table):
    """A results table whose texts hold no place of this machine: the name of a domain may be the path of its file."""
    for column in results.TEXTS:
        told = table[column].dropna().unique().tolist()
        shown = {text: public for text, public in zip(told, paths.public(told), strict=True) if text != public}
        if shown:
            table[column] = table[column].replace(shown)
    return table


def write_record(record, path):
    """Write a record as JSON, atomically and with sorted keys, so that two of them compare line by line.

    Half characters, which no UTF-8 can hold, come in with names of files; each is written as what Python shows of it.
    """
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    text = HALF.sub(lambda half: rf"\\u{ord(half[0]):04x}", text)
    paths.write_atomically(path, f"{text}\n".encode())


def sha256(path):
    """The sha256 of a file's bytes, in hex; None where there is no such file."""
    path = Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def sources():
    """Each file of medlib that this process has imported, with its sha256: the code the numbers came from."""
    files = (Path(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None))
    ours = sorted({file.resolve() for file in files if file.resolve().is_relative_to(PACKAGE)})
    return {file.relative_to(PACKAGE.parent).as_posix(): sha256(file) for file in ours if file.suffix == ".py"}


def data(parameters, house=None, used=None):
    """Each data table that lies beside a module in use, with its sha256, and those that a parameter names.

    `used`: the modules' files, as `sources` names them; without it those of this process.  A table of one's own brings
    that of its control.  The zoo is not data: a record names its model itself.
    """
    folders = {(PACKAGE.parent / name).parent for name in used or sources()}
    tables = (file for folder in folders if folder.is_dir() for file in folder.iterdir())
    files = sorted(file for file in tables if file.suffix in (".csv", ".toml", ".json"))
    known = {file.relative_to(PACKAGE.parent).as_posix(): sha256(file) for file in files if file.name != "zoo.toml"}
    named = _tables_named(parameters)
    while named:
        name = named.pop()
        path = Path(house or ".") / name
        if paths.public(name, house) in known or not _is_file(path):
            continue
        known[paths.public(name, house)] = sha256(path)
        table = path.with_suffix(".csv")
        known[paths.public(str(Path(name).with_suffix(".csv")), house)] = sha256(table)
        control = _control_named(path)
        named += [str(Path(name).with_name(control))] if control else []
    return known


def _tables_named(value):
    """What may be the TOML file of a table in a parameter: a name among others, or a whole text, with blanks in it.

    >>> _tables_named({"comparisons": "drugs mine.toml:kind/kind", "domains": ["my tables/mine.toml"]})
    ['mine.toml', 'drugs mine.toml', 'tables/mine.toml', 'my tables/mine.toml']
    """
    if isinstance(value, dict | list | tuple):
        return [name for item in (value.values() if isinstance(value, dict) else value) for name in _tables_named(item)]
    if not isinstance(value, str):
        return []
    whole = re.split(r"(?<=\.toml):", value, maxsplit=1)[0]
    return re.findall(r"[^\s:]+\.toml\b", value) + [whole] * whole.endswith(".toml")


def _is_file(path):
    try:
        return path.is_file()
    except OSError:  # a text that is too long for a file's name
        return False


def _control_named(path):
    """The TOML file beside a table's own that it names as its control; None where it names none, or is no TOML."""
    try:
        control = tomllib.loads(path.read_text(encoding="utf-8")).get("control")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):  # reading the table says what is wrong with it
        return None
    beside = isinstance(control, str) and control.endswith(".toml") and Path(control).name == control
    return control if beside else None


def _as_json(name, value):
    """Numpy and torch scalars as plain numbers; MedlibError for what JSON or UTF-8 has no word for."""
    if isinstance(value, dict):
        return {
            _as_json(f"a key of {name}", str(key)): _as_json(f"{name}[{key!r}]", item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_as_json(name, item) for item in value]
    if not isinstance(value, bool | int | float | str | None) and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str) and HALF.search(value):
        raise MedlibError(
            f"{name} is {value!r}, which has half a character (a surrogate) and is no text. Leave it out."
        )
    if isinstance(value, bool | int | str | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise MedlibError(f"{name} is {value!r}; a record holds finite numbers, text, true, false, null and lists of them.")


def _glue(key, text):
    """Give a text to the page, where there is one: outside a notebook nobody would see it."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from myst_nb import glue

        glue(key, text, display=False)


def _peak_memory():
    """The most memory this process has held, in bytes; null where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()  # getrusage would count the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    except (OSError, TypeError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _machine(model):
    device = str(getattr(model, "device", "cpu"))
    torch = sys.modules.get("torch")
    machine = {"device": device, "platform": _platform(torch), "peak_gpu_memory_bytes": None}
    machine["threads"] = torch.get_num_threads() if torch else os.cpu_count()
    if device.startswith("cuda"):
        places = getattr(model.hf, "hf_device_map", {"": device}).values()
        devices = sorted({torch.device(place) for place in places}, key=str)
        machine["device"] = ", ".join(f"{place} ({torch.cuda.get_device_name(place)})" for place in devices)
        machine["peak_gpu_memory_bytes"] = sum(map(torch.cuda.max_memory_allocated, devices))
    return machine


def _platform(torch):
    """The system, the processor and the instructions that torch uses of it: what roundings depend on, and no name."""
    told = [f"{platform.system()} {platform.machine()}"]
    with suppress(OSError, TypeError):  # not on Linux, or a processor that says less
        lines = Path("/proc/cpuinfo").read_text()
        name, family, model = (
            re.search(rf"^{key}\s*: (.+)$", lines, re.M)[1] for key in ("model name", "cpu family", "model")
        )
        told.append(f"{' '.join(name.split())} (family {family}, model {model})")
    if torch:
        told.append(torch.backends.cpu.get_cpu_capability())
    return ", ".join(told)


def _versions():
    """Versions of Python, medlib and everything that medlib names as a dependency."""
    versions = {"python": platform.python_version()}
    try:
        named = [re.match(r"[\w.-]+", line)[0] for line in metadata.requires("medlib") or [] if "extra ==" not in line]
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        named = ["torch", "transformers", "numpy"]
    for name in ["medlib", *named]:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions
