# %% [markdown]
# # How much does each layer change a state?
#
# {glue:text}`verdict`.
#
# - The change is the angle between the state that enters a layer and the one that leaves it, in half turns: 0.5 is a right angle.
# - Over the layers, a domain and its control have a rank correlation of {glue:text}`alike`: as far as they agree, the change is not about medicine.
# - Of {glue:text}`n_tests` pairs of layer and known domain the two differ in {glue:text}`clear` (false discovery rate 5 %); their words differ too, so part of that is about words.
# - {glue:text}`knowledge`
# - What the layers of a small model do says nothing about one of seventy billion parameters.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run CHAPTER`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
domains = "symptoms"  # medical domains, each beside the control that it names
n_items = 24  # items drawn from each domain, each in all its templates [3..]
seed = 0  # draws the items, the bootstrap resamples and the permutations [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, hooks, knowledge, stats, summary
from medlib.chapters.lesion.harm import (
    LABELS,
    by_domain,
    curves,
    differences,
    items,
    tested,
)

figures.style()
controls = concepts.controls(domains)
names = [*dict.fromkeys([*controls, *controls.values()])]
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    domains=domains,
    n_items=n_items,
    seed=seed,
)
run = medlib.Run("CHAPTER", model, parameters, seed)
known, said = knowledge.knows(model, names, seed)
run.number("knowledge", said)

# %% [markdown]
# ## The questions
#
# Each prompt breaks off where the answer belongs.
# An item with all its templates is one unit in the intervals, or, where several items are about one thing (a disease in its stages), that thing.

# %%
questions = {
    name: summary.sample_items(concepts.questions(name), n_items, seed)
    for name in names
}
pd.concat(questions, names=["domain"]).groupby("domain", sort=False).agg(
    items=("item", "nunique"),
    units=("cluster", "nunique"),
    prompts=("prompt", "size"),
    such_as=("prompt", "first"),
)

# %% [markdown]
# ## What is measured
#
# With $h_l$ the state at the item's last token after layer $l$, the angular distance of {cite:t}`gromov2025deeper`:
#
# $$
# d_l = \frac{1}{\pi} \arccos \frac{h_{l-1} \cdot h_l}{\lVert h_{l-1} \rVert \lVert h_l \rVert}
# $$

# %%
metric, axis = "angular_distance", "half turns"


def measure(states):
    """A number `[layer, prompt]` from states `[state, prompt, hidden]`."""
    states = states.astype(np.float64)
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    cosine = (unit[1:] * unit[:-1]).sum(axis=-1)
    return np.arccos(cosine.clip(-1, 1)) / np.pi


# %%
def by_prompt(asked):
    """A row for each prompt and layer, with the metric and LABELS."""
    states = medlib.activations(model, list(asked["prompt"]), at="entity")
    found = measure(states)
    prompts = pd.MultiIndex.from_frame(asked[LABELS])
    table = pd.DataFrame(found.T, prompts, range(1, len(found) + 1))
    table = table.rename_axis(columns="layer").stack()
    return table.rename(metric).reset_index()


# %% [markdown]
# ## Does the method find what is planted?
#
# With every block but one taken out of the model, only that one can change a state: the measure has to name it, and give next to nothing for all others.

# %%
planted = max(1, model.n_layers // 2)
with hooks.only(model, planted):
    found = by_prompt(questions[names[0]].head(4))
found = found.groupby("layer")[metric].mean()
others = found.drop(planted).max()
run.check(
    "the one block left in place is the one found",
    passed=found.idxmax() == planted and others < 0.01 * found[planted],
    detail=f"block {found.idxmax()} of {model.n_layers}: {found.max():.2f}; every other at most {others:.0e}",
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## Layer by layer

# %%
tables = {name: by_prompt(asked) for name, asked in questions.items()}
all_curves = curves(tables, [metric], seed)
by = by_domain(all_curves, metric)

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "How much each layer changes the state at the item's last token: angle between the state that enters and the one that leaves, in half turns. Mean over items and templates with its 95 % bootstrap interval. Solid: the medical domain; dashed: its control; grey: not known.", "name": "fig-CHAPTER-layers"}, "image": {"alt": "A panel for each medical domain with two curves over layers, the domain and its control, each with an interval band."}}
figures.beside_controls(by, controls, known, axis)
plt.show()

# %% [markdown]
# ## Against the control
#
# Units are shuffled between a domain and its control, and all layers of all domains are one family after {cite:t}`benjamini1995controlling`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "The same, medical domain minus control: difference of means with its 95 % bootstrap interval. At zero (line) the two do not differ.", "name": "fig-CHAPTER-difference"}, "image": {"alt": "A panel for each medical domain with one curve over layers around a line at zero, with an interval band."}}
against = differences(tables, controls, metric, seed)
minus = by_domain(against, f"{metric}_difference")
figures.differences(minus, controls, known, axis)
plt.show()

# %% [markdown]
# ## The numbers

# %%
top = all_curves.reset_index(drop=True)
top = top.loc[top.groupby("domain", sort=False)["value"].idxmax()]
top = top.set_index("domain")[["layer", "value", "low", "high", "n"]]
alike = {
    name: stats.spearman(by[name]["value"], by[control]["value"])
    for name, control in controls.items()
}
top.style.format(precision=2)

# %% tags=["hide-input"]
largest = [
    f"layer {top.layer[name]} changes a state most on {name} ({top.value[name]:.2f}, 95 % interval {top.low[name]:.2f} to {top.high[name]:.2f}), and layer {top.layer[control]} on its control"
    for name, control in controls.items()
]
both = [name for name in controls if known[name] and known[controls[name]]]
counted = against[against["domain"].isin(both)]
verdict = "; ".join(largest)
run.number("verdict", verdict[0].upper() + verdict[1:])
run.number("alike", ", ".join(f"{r:.2f} ({name})" for name, r in alike.items()))
run.number("n_tests", len(counted))
run.number("clear", (counted["q"] < 0.05).sum())

# %% tags=["hide-input"]
run.save(pd.concat([all_curves, tested(against), items(tables, [metric])]))

# %% [markdown]
# ## What would change our mind
#
# - A layer that stands out in medicine and not in the control, in every wording.
# - A control in the same sentences as the medical items, that takes the difference away.
#
# ## What this cannot show
#
# A state says something of its token first, and the item's last token is often the end of a word.
# In a wording that opens with an item of one token it is the first token of the text, which models treat apart {cite:p}`sun2024massive`.
# How much a layer changes a state does not say whether the answer needs it: deep layers that hardly turn a state can often be removed at little cost {cite:p}`gromov2025deeper`, but that is found by removing them.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
# The method is on [its own page](../../methods/CHAPTER.md).
