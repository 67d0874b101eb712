# %% [markdown]
# # Does the model know what it is asked?
#
# A map of where knowledge lies is only a map of knowledge that is there.
# So every question of every domain is put to the model, and its answer held against the answers of the other items.
# Of {glue:text}`n_medical` medical domains the model shows that it knows {glue:text}`n_known`: {glue:text}`known`; it does not show it for: {glue:text}`unknown`.
# Known means: of two items with unlike answers, each one's own answer is preferred to the other's in more than {glue:text}`least` of the pairs, with the 95 % interval above that, in every wording, and on {glue:text}`fewest_items` items or more; a model without the knowledge is right half of the time.
# Of the controls it shows that it knows {glue:text}`known_controls`, and not: {glue:text}`unknown_controls`.
# Of what it does not show, something is there beneath a liking for some of the answers (contrast above a half) in: {glue:text}`beneath`.
# Pairs for patching that the model gets right when clean: at least {glue:text}`fewest` in each medical domain that it knows; the domain with the fewest is {glue:text}`fewest_domain`.
# Too few such pairs for patching, under {glue:text}`enough`, whether the domain is known or not: {glue:text}`too_few`.
# What is not known is drawn in grey in every chapter about this model.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run knowledge`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
threshold = 1.0  # logits: a pair whose two differences lie closer is dropped
n_draws = 3  # draws of another label for each item that has several
seed = 0  # deals the bootstrap resamples and the draws

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import medlib
from medlib import concepts, figures, knowledge
from medlib.chapters import atlas

figures.style()
model = medlib.load(model_name)
parameters = dict(
    model_name=model_name, threshold=threshold, n_draws=n_draws, seed=seed
)
run = medlib.Run("knowledge", model, parameters, seed)
domains = [
    name
    for domain in concepts.medical()
    for name in (domain, concepts.control(domain))
]

# %% [markdown]
# ## Does the check find what is planted?
#
# The questions of one domain with made-up logits: of a model that knows the answers, of one that only likes some answers better than others, whatever it is asked, and of one that knows something beneath such a liking.

# %%
real = knowledge.ask(model, "diseases")
generator = np.random.default_rng(seed)
noise = generator.normal(size=real.logits.shape)
liking = 9 * generator.normal(size=real.logits.shape[1])
right = np.arange(real.logits.shape[1]) == real.own[:, None]
planted = {
    "knows": noise + 9 * right,
    "likes": noise + liking,
    "knows and likes": noise + liking + 3 * right,
}
found = {
    name: [
        measure(real._replace(logits=logits), seed)
        for measure in (knowledge.pairwise, knowledge.contrast)
    ]
    for name, logits in planted.items()
}
run.check(
    "planted knowledge is found, and a liking for an answer is none",
    passed=found["knows"][0].low > 0.99
    and all(abs(liked.value - 0.5) < 0.05 for liked in found["likes"])
    and found["knows and likes"][1].low > 0.9,
    detail="; ".join(
        f"{name}: pairwise {pairwise.value:.2f}, contrast {contrast.value:.2f} "
        f"({contrast.low:.2f} to {contrast.high:.2f})"
        for name, (pairwise, contrast) in found.items()
    ),
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## What is asked
#
# Each question breaks off where its answer belongs, and the answer counts by its first token.
# `answers` is the number of different answers, `begin` that of their different first tokens: answers that begin alike for this tokenizer are one answer, so where `begin` is much smaller, as with doses and atomic numbers, only the first digit is asked.
# What could also be right for an item is never counted as wrong; `compared` is the share of pairs with unlike answers that this leaves.
# It is smaller for most medical domains than for their controls, and what it takes away are the hard pairs, so the accuracies of a domain and its control are not on one scale.
# `alone` counts items that it leaves without any other to be told from.

# %% tags=["hide-input"]
asked = {name: knowledge.ask(model, name) for name in domains}
rows = {
    name: dict(
        items=found.questions["item"].nunique(),
        questions=len(found.questions),
        answers=found.questions["answer"].nunique(),
        begin=found.logits.shape[1],
        compared=f"{knowledge.compared(found):.0%}",
        alone=int((knowledge.by_item(found)["met"] == 0).sum()),
    )
    for name, found in asked.items()
}
pd.DataFrame(rows).T.style

# %% [markdown]
# The first question of each, with its answer.

# %% tags=["hide-input"]
first = {name: found.questions.iloc[0] for name, found in asked.items()}
pd.DataFrame(
    {
        "question": {name: row["prompt"] for name, row in first.items()},
        "answer": {name: row["answer"].strip() for name, row in first.items()},
    }
).style

# %% [markdown]
# ## What is known
#
# *Pairwise* takes two items and asks whether the model gives this item's answer a higher logit than the other's; every two items of a template meet, both ways round.
# *Contrast* sums the two margins of such a pair, so that a liking for one of the answers cancels: it sees knowledge that a liking hides, and knowledge so faint that no answer would show it.
# *n-way* asks whether the item's own answer is likelier than every wrong one; to be read beside what the model would score if its answers had the same order whatever the item, that of their mean logits.
# Where there are only two answers, as for age and numbers, pairwise is no more than the share of right answers, and a margin of any size counts: the pairs below ask for a margin.
# A domain counts as known by its pairwise accuracy, the strictest that has a fixed chance level, and only if every wording shows it.
# What is tested is what the questions ask, which is not every label of a domain: no question asks for a drug's mechanism, or for the order of stages.
# Intervals resample items; ages, numbers, diseases in stages and processes are resampled whole, since their items are variations of one thing.

# %%
scores = pd.concat(
    {name: knowledge.scores(found, seed) for name, found in asked.items()},
    names=["domain"],
).reset_index("domain")
overall = scores[scores["variant"] == ""].set_index(["metric", "domain"])
known = {
    name: knowledge.is_known(scores[scores["domain"] == name])
    for name in domains
}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "What the model knows of each medical domain (circle) and of its control (square, below it). Left: how often an item's own answer is preferred to another item's; dotted: chance, a half; dashed: what the interval, and each wording by itself, have to exceed. Middle: the same with likings for an answer cancelled. Right: how often the own answer is likelier than every wrong one; a dotted bar marks what the model scores with its answers in one order for all items. With 95 % bootstrap interval. Grey: not shown to be known.", "name": "fig-knowledge-scores"}, "image": {"alt": "Three panels of points with intervals, one row for each medical domain and its control: pairwise accuracy, contrast and n-way accuracy."}}
_, panels = plt.subplots(1, 3, figsize=(8.6, 5.0), sharey=True)
for axes, metric in zip(panels, ("pairwise", "contrast", "n-way"), strict=True):
    figures.accuracies(axes, overall.loc[metric].loc[domains], known)
    axes.set(xlabel=f"{metric} accuracy", xlim=(0, 1.03))
panels[0].axvline(knowledge.KNOWN, color="0.3", ls="--", lw=1)
plt.tight_layout()
plt.show()

# %% tags=["hide-input"]
shown = scores[scores["variant"] == ""].assign(
    known=lambda table: table["domain"].map(known)
)
shown["accuracy"] = [
    f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f})"
    for row in shown.itertuples()
]
shown.pivot(index=["domain", "known"], columns="metric", values="accuracy").loc[
    domains
]

# %% [markdown]
# The wording matters, and so does the item: the lowest and the highest pairwise accuracy of a domain's templates, and, where several items are variations of one thing, of these things.

# %% tags=["hide-input"]
wordings = scores.query("variant != '' and metric == 'pairwise'")
wordings = wordings.groupby("domain")["value"].agg(["min", "max"]).loc[domains]
by_item = pd.concat(
    {name: knowledge.by_item(found) for name, found in asked.items()},
    names=["domain"],
).reset_index("domain")
grouped = by_item[by_item["item"] != by_item["cluster"]].dropna()
by_cluster = grouped.groupby(["domain", "cluster"])["value"].mean()
for end, at in (("lowest", "idxmin"), ("highest", "idxmax")):
    places = by_cluster.groupby("domain").agg(at)
    wordings[end] = places.map(lambda key: f"{key[1]} {by_cluster[key]:.2f}")
wordings.style.format(precision=2, na_rep="")

# %% [markdown]
# ## Which pairs can be patched?
#
# A clean/corrupt pair needs two items whose prompts have as many tokens, whose answers begin with different tokens, and neither of whose answers could be right for the other; these come from the table and the tokenizer alone.
# Of what is left, a pair is dropped where the difference of the two answers' logits is not at least {glue:text}`threshold` logit higher after the clean prompt than after the corrupt one (*small difference*; *backward* where it is as much lower), and where the clean prompt's answer has no higher logit than the wrong one.
# The corrupt prompt need not be answered rightly.
# The tables count the pairs kept and those dropped, by reason, in the medical domains and in their controls; a couple gives two pairs, one in each direction.
# Every couple that was tried counts, so an item that had to try many partners counts often.

# %% tags=["hide-input"]
filters = pd.concat(
    {
        name: knowledge.filter_pairs(
            asked[name], concepts.pairs(name, model.tokenizer)[1], threshold
        )
        for name in domains
    },
    names=["domain"],
).reset_index("domain")
counts = (
    filters.assign(reason=filters["reason"].replace("", "kept"))
    .groupby(["domain", "reason"])
    .size()
    .unstack(fill_value=0)
    .loc[domains]
)
reasons = counts.columns.drop("kept", errors="ignore")
counts = counts.reindex(columns=["kept", *reasons], fill_value=0)
counts.loc[domains[::2]].T.rename_axis(None).style

# %% tags=["hide-input"]
counts.loc[domains[1::2]].T.rename_axis(None).style

# %% [markdown]
# ## Are a domain and its control of like length?
#
# The number of tokens of the questions, for this model's tokenizer.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Tokens of each question: the medical domain (blue, filled) and its control (orange, outline), as shares of all questions of the domain.", "name": "fig-knowledge-lengths"}, "image": {"alt": "Six panels of histograms, a medical domain and its control in each: the number of tokens of their questions."}}
_, panels = plt.subplots(2, 3, figsize=(8.6, 4.6))
for axes, domain in zip(panels.flat, concepts.medical(), strict=True):
    figures.lengths(
        axes,
        {
            name: [
                len(model.tokenizer(prompt)["input_ids"])
                for prompt in asked[name].questions["prompt"]
            ]
            for name in (domain, concepts.control(domain))
        },
    )
plt.tight_layout()
plt.show()

# %% [markdown]
# ## Does it matter which label is called the primary one?
#
# A drug can belong to several specialties, a symptom to several systems; the tables name one as primary and the rest beside it.
# Here each item that has others gets one of them in place of its primary one, {glue:text}`n_draws` times; and, since any change of so many labels costs something, the same items get a label of the table at random, as often.
# The score is the silhouette of the raw states at the last token of the item above that of shuffled labels, mean over items, templates and every third state; in brackets its 95 % interval over items.
# Below zero, items of one label lie no closer together than shuffled labels would have it, and there is nothing that the choice of the primary label could change.
# Other labels that score like the primary ones, and above random ones, say that the choice matters little: so it is for {glue:text}`same_labels`; the primary ones score higher for {glue:text}`primary_labels`.

# %% tags=["hide-input"]
sensitivity = []
for domain in domains:
    several = [k for k, others in concepts.labels(domain).items() if others]
    if not several:
        continue
    (label,) = several
    frame = concepts.prompts(domain)
    states = medlib.activations(model, list(frame["prompt"]), at="entity")[::3]
    draws = [
        concepts.other_labels(domain, label, seed + draw)
        for draw in range(n_draws)
    ]
    sensitivity.append(
        atlas.label_sensitivity(states, frame, label, draws, seed).assign(
            domain=domain, component=label
        )
    )
sensitivity = pd.concat(sensitivity, ignore_index=True)
sensitivity["score"] = [
    f"{row.value:.3f} ({row.low:.3f} to {row.high:.3f})"
    for row in sensitivity.itertuples()
]
changed = sensitivity.groupby("domain")["changed"].max()
sensitivity.pivot(index="domain", columns="labelling", values="score").assign(
    items_with_others=changed
)[["items_with_others", "primary", "others", "random"]]

# %% [markdown]
# ## The numbers


# %% tags=["hide-input"]
ENOUGH = 60  # pairs


def listed(names):
    return ", ".join(names) or "none"


medical, controls = (
    [name for name in domains if (name in concepts.medical()) == wanted]
    for wanted in (True, False)
)
usable = counts["kept"]
of_known = usable[[name for name in medical if known[name]]]
run.number("n_medical", len(medical))
run.number("n_known", len(of_known))
run.number("known", listed(of_known.index))
run.number("unknown", listed(n for n in medical if not known[n]))
run.number("known_controls", listed(n for n in controls if known[n]))
run.number("unknown_controls", listed(n for n in controls if not known[n]))
run.number("enough", ENOUGH)
run.number("too_few", listed(usable.index[usable < ENOUGH]))
run.number("least", knowledge.KNOWN, f"{knowledge.KNOWN:.0%}")
run.number("fewest_items", knowledge.FEWEST)
contrast = overall.loc["contrast"]["low"]
run.number(
    "beneath", listed(n for n in domains if not known[n] and contrast[n] > 0.5)
)
labelled = sensitivity.pivot(
    index="domain", columns="labelling", values=["value", "low", "high"]
)
higher = labelled["low", "primary"] > labelled["value", "others"]
alike = ~higher & (labelled["low", "others"] > labelled["value", "random"])
run.number("primary_labels", listed(labelled.index[higher]))
run.number("same_labels", listed(labelled.index[alike]))
run.number("threshold", threshold)
run.number("n_draws", n_draws)
run.number("fewest", int(of_known.min()) if len(of_known) else 0)
run.number(
    "fewest_domain", of_known.idxmin() if len(of_known) else "none known"
)

# %% tags=["hide-input"]
tested = filters.dropna(subset="clean_diff")
pairs = tested.assign(
    component="against " + tested["other"],
    variant=tested["template"],
    metric=np.where(
        tested["kept"], "pair kept", "pair dropped: " + tested["reason"]
    ),
    value=tested["clean_diff"] - tested["corrupt_diff"],
)
scores["variant"] = scores["variant"].replace("", None)
tables = [
    scores,
    counts.stack()
    .rename("value")
    .reset_index()
    .assign(metric=lambda table: "pairs " + table["reason"]),
    pairs,
    pairs.assign(metric="pair clean_diff", value=pairs["clean_diff"]),
    pd.DataFrame(
        {
            "domain": domains,
            "metric": "known",
            "value": [float(known[name]) for name in domains],
        }
    ),
    by_item.dropna().assign(metric="pairwise of item"),
    scores.query("metric == 'n-way'").assign(
        metric="n-way, one order of answers",
        value=lambda table: table["chance"],
        low=np.nan,
        high=np.nan,
    ),
    sensitivity.assign(
        metric="silhouette above shuffled, "
        + sensitivity["labelling"]
        + " labels",
        space="raw",
    ),
]
columns = [
    "domain",
    "item",
    "variant",
    "layer",
    "component",
    "space",
    "metric",
    "value",
    "low",
    "high",
    "n",
]
run.save(pd.concat(tables).reindex(columns=columns))
wordings = scores.dropna(subset="variant")
wordings.set_index(["domain", "variant"]).style.format(
    precision=2, subset=["value", "low", "high", "chance"]
)

# %% [markdown]
# ## What would change our mind
#
# - Wordings in which a domain that counts as unknown is answered well: three or four templates are few, and the lowest and highest of a domain lie apart.
# - Answers of several tokens scored whole: here only the first token counts, and answers that begin alike are not told apart.
# - A tokenizer that splits the items otherwise: which pairs there are depends on it.
#
# ## What this cannot show
#
# That a model prefers the right answer to another item's does not mean that it would say it, nor that it would be safe to ask it.
# What a model does not show in these questions it may still hold; and what it shows it may have from the look of a name, as with drugs whose ending tells their kind, or from words that go together, and not from knowing the thing.
# The two domains of a pair differ in more than medicine, and a control that the model does not know is no control for knowledge, only for form.
# The tables themselves are described on [their own page](../../methods/data.md), with their sources, their licences and their limits.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
