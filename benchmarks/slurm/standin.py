"""A stand-in house: notebooks with the names and parameters of chapters that load no model, wait, and save a table.

What is around them is real: `medlib run`, kernels, records, the Snakefile.  So a scheduler can be tried in minutes.
"""

CHAPTER = """# %% [markdown]
# # What does the stand-in {technique} find?

# %% tags=["parameters"{tags}]
model_name = "smollm2-135m"  # named, never loaded
domains = "age drugs symptoms"  # each gives a row
seconds = {seconds}  # to wait [0..]
fail = False  # end in an error

# %%
import os
import time
from types import SimpleNamespace

import medlib

model = SimpleNamespace(name=model_name, source={{"kind": "none"}}, revision=None, weights_sha256=None, device="cpu")
run = medlib.Run("{technique}", model, parameters=dict(domains=domains, seconds=seconds, fail=fail), seed=0)
time.sleep(seconds)
if fail:
    raise ValueError("asked to fail")
run.number("gpu", os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
{after}
run.save([dict(metric="kl", value=float(len(name)), domain=name) for name in domains.split()])
"""
MADE_OF = """from medlib.book import recorded

_, sources = recorded.tables(model_name, {names})
recorded.note(run, sources)
run.number("tables", sum(source["status"] == "run" for source in sources))"""


def house(folder, techniques=("geometry", "lesion", "patching"), seconds=0):
    """Write a stand-in house of some chapters, and of one made of their tables, the knowledge map; returns `folder`."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "_toc.yml").touch()
    (folder / "requirements.lock").write_text("numpy==2\n")
    made_of = MADE_OF.format(names=list(techniques))
    chapters = dict.fromkeys(techniques, ("", "")) | {"knowledge_map": (', "made-of-tables"', made_of)}
    for technique, (tags, after) in chapters.items():
        text = CHAPTER.format(technique=technique, tags=tags, after=after, seconds=seconds)
        (folder / "notebooks" / f"{technique}.py").write_text(text)
    return folder
