"""Embedded weights: a GGUF file inside wheels of PyPI, converted once to a folder of safetensors.

The wheel is data to us: its file is found without importing it, and trusted only if its sha256 is the zoo's.  The
converted folder lies in a cache, keyed by that hash.  It is made in a temporary folder, compared with what the GGUF
itself computes, and renamed into place, so that nothing half-made is ever read; and it is made by a process of its own,
so that a run's peak memory is the same whether or not the weights had to be converted first.
"""

import copy
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import platformdirs
from filelock import FileLock

from medlib.errors import MedlibError
from medlib.models import zoo

FORMAT = 1  # of the converted folder; raise it when `convert` writes something else
RECORD = "conversion.json"
CHECK = (
    "A 17-year-old man with β-thalassaemia takes 500 mg of deferasirox\n\n1. once  2. daily; the capital of France is"
)


def folder(entry):
    """The folder of safetensors and tokenizer of a zoo entry that comes in wheels; converted now if it never was.

    >>> folder(zoo.entry("smollm2-135m")) / "model.safetensors"

    `MedlibError` if a wheel is missing, its file is not the zoo's, or the cache cannot be written.  The cache is the
    folder named by MEDLIB_CACHE, else the user's cache folder.
    """
    kept = _kept(entry)
    if _sound(kept):
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_name(f".{kept.name}.lock")):
            if not _sound(kept):  # it is, where another process converted it while we waited
                _make(entry, kept)
    except OSError as error:
        raise MedlibError(
            f"The weights of {entry['name']} could not be written to {kept.parent}: {error}. They take about "
            f"{entry['parameters'] * 4 / 1e9:.1f} GB; set MEDLIB_CACHE to a folder that has room and may be written."
        ) from error
    return kept


def at_hand(entry):
    """Whether the weights of an entry are here: converted before, or in installed wheels."""
    return (_kept(entry) / RECORD).exists() or all(path and path.exists() for path in _parts(entry))


def sha256(*paths):
    """The sha256 of files, one after the other, as hex digits."""
    digest = hashlib.sha256()
    for path in paths:
        with Path(path).open("rb") as file:
            while block := file.read(2**20):
                digest.update(block)
    return digest.hexdigest()


def _kept(entry):
    cache = os.environ.get("MEDLIB_CACHE")
    root = Path(cache).expanduser() if cache else platformdirs.user_cache_path("medlib")
    return root / f"{entry['name']}-{_pin(entry)[:16]}-{FORMAT}"


def _pin(entry):
    """What a converted folder is keyed by: the hash of its weights and of those that they are made around."""
    pin, around = entry["wheel"]["sha256"], entry["wheel"].get("around")
    return hashlib.sha256(f"{pin} {_pin(zoo.entry(around))}".encode()).hexdigest() if around else pin


def _parts(entry):
    """Where the pieces of the GGUF lie; None for a piece whose package is not installed.  Nothing is imported."""
    for part in entry["wheel"]["parts"]:
        package, _, path = part.partition("/")
        found = find_spec(package)
        yield Path(found.submodule_search_locations[0], path) if found else None


def _sound(kept):
    """Whether a converted folder is whole: the sizes recorded when it was made, and the hash of any file touched since.

    Hashing 0.5 GB takes a second, so it is left to files whose time of change is no longer the recorded one.
    """
    try:
        files = json.loads((kept / RECORD).read_text())["files"]
        return bool(files) and all(_unchanged(kept / name, **recorded) for name, recorded in files.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, or damaged
        return False


def _unchanged(path, size, mtime_ns, sha256):
    now = path.stat()
    return now.st_size == size and (now.st_mtime_ns == mtime_ns or globals()["sha256"](path) == sha256)


def _make(entry, kept):
    """Convert into a temporary folder beside `kept`, then rename.  The caller holds the lock."""
    parts = [] if "around" in entry["wheel"] else _verified(entry)
    for leftover in kept.parent.glob(f".{kept.name}.tmp*"):  # of a conversion that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=f".{kept.name}.tmp") as temporary:
        made = Path(temporary, "made")
        if "around" in entry["wheel"]:
            _build_around(entry, made)
        else:
            gguf = parts[0] if len(parts) == 1 else _assembled(parts, Path(temporary, "weights.gguf"))
            _in_own_process(entry, gguf, made)
        for path in made.iterdir():
            path.chmod(0o644)  # a cache may be shared; the weights are written readable by their owner alone
        files = {
            path.name: {"size": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns, "sha256": sha256(path)}
            for path in sorted(made.iterdir())
        }
        record = {"gguf_sha256": entry["wheel"]["sha256"], "source": entry["wheel"]["pip"], "files": files}
        (made / RECORD).write_text(json.dumps(record, indent=1))
        if kept.exists():
            shutil.rmtree(kept)
        made.rename(kept)


def _build_around(entry, made):
    """A model made of an embedded one and of weights that a module of medlib carries, which puts them together.

    `wheel.around`: the name of the embedded one; `wheel.made_by`: the module, with `assemble(folder, made, sha256)`.
    """
    inner = folder(zoo.entry(entry["wheel"]["around"]))
    import_module(entry["wheel"]["made_by"]).assemble(inner, made, entry["wheel"]["sha256"])


def _verified(entry):
    """The pieces of the GGUF, all there and with the zoo's hash."""
    name, wheel = entry["name"], entry["wheel"]
    parts = list(_parts(entry))
    if not all(part and part.exists() for part in parts):
        how = f"Install it: `{wheel['install']}`" + (f", or `{wheel['book']}`." if "book" in wheel else ".")
        terms = f" Its terms apply: {entry['terms']}" if "terms" in entry else ""
        raise MedlibError(
            f"The weights of {name} come in the wheel {wheel['pip']}, which is not installed. {how}{terms}"
        )
    found = sha256(*parts)
    if found != wheel["sha256"]:
        raise MedlibError(
            f"The weights of {name} in {parts[0].parent} have sha256 {found}; {wheel['pip']} should have "
            f"{wheel['sha256']}. The file is damaged or another version. "
            f"Install it again: `{wheel['install']} --force-reinstall`"
        )
    return parts


def _assembled(parts, gguf):
    with gguf.open("wb") as whole:
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole, 2**20)
    return gguf


def _in_own_process(entry, gguf, made):
    command = [sys.executable, "-m", "medlib.models.embedded", gguf, made, str(int(entry["wheel"]["split_digits"]))]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MedlibError(
            f"The weights of {entry['name']} could not be converted (exit {done.returncode}): {last}. This takes about "
            f"{entry['parameters'] * 12 / 1e9:.0f} GB of memory and {entry['parameters'] * 4 / 1e9:.1f} GB of room in "
            f"{made.parents[1]}; MEDLIB_CACHE names another folder."
        )


def convert(gguf, made, split_digits=False):
    """Write what a GGUF file holds, de-quantised to float32, as a folder that transformers loads.

    `split_digits` cuts digits apart before the tokenizer's own rules.  The folder must compute the GGUF's own logits
    and token ids, to the bit, or `RuntimeError` is raised.
    """
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer

    gguf = Path(gguf)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if split_digits:
        backend = tokenizer.backend_tokenizer
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
    ids = tokenizer(CHECK, return_tensors="pt").input_ids
    with torch.no_grad():
        logits = model(ids).logits

    config = copy.deepcopy(model.config)
    del config.quantization_config  # with it transformers 5.23 refuses to save
    with torch.device("meta"):
        plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(made)
    tokenizer.save_pretrained(made)
    del plain, model

    again = AutoModelForCausalLM.from_pretrained(made, dtype=torch.float32, use_safetensors=True).eval()
    with torch.no_grad():
        same_logits = torch.equal(again(ids).logits, logits)
    same_ids = torch.equal(AutoTokenizer.from_pretrained(made)(CHECK, return_tensors="pt").input_ids, ids)
    if not (same_logits and same_ids):
        raise RuntimeError(f"the converted folder does not reproduce {gguf.name}: logits {same_logits}, ids {same_ids}")


if __name__ == "__main__":
    convert(sys.argv[1], Path(sys.argv[2]), split_digits=sys.argv[3] == "1")
