"""Where language models keep medical knowledge, and how they process it.

>>> import medlib
>>> model = medlib.load("smollm2-135m")
>>> medlib.lesion_sweep(model, ["Insulin is used to treat"], [" diabetes"]).nlargest(3, "kl")

Names are imported on first use, so that `import medlib` and the command line start at once.
"""

import warnings
from importlib import import_module

# Notebook bars are not wanted in pages, and the warning that they are missing would fail a strict build.
warnings.filterwarnings("ignore", message="IProgress not found")

__version__ = "0.1.0"

_HOME = {  # public name -> the module that defines it
    "MedlibError": "errors",
    "Model": "model",
    "load": "models.loading",
    "Prompt": "prompts",
    "Pair": "prompts",
    "activations": "states",
    "attribution_sweep": "attribution",
    "knowledge_map": "mapping",
    "lesion_sweep": "lesion",
    "lesion_texts": "lesion",
    "lesion_windows": "lesion",
    "patch_sweep": "patching",
    "weight_saliency": "saliency",
    "steer_sweep": "steering",
    "Run": "run",
}
_MODULES = {
    *("concepts", "figures", "geometry", "hooks", "knowledge", "mapping"),
    *("results", "scans", "stats", "summary", "vision"),
}

__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"medlib.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"medlib.{name}")
    raise AttributeError(f"module 'medlib' has no attribute {name!r}")


def __dir__():
    return __all__
