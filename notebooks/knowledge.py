# %% [markdown]
# # Does the model know what it is asked?
#
# {glue:text}`verdict`.
#
# - Of all pairs of items, in how many the own answer is preferred; how often the first choice is right; in brackets how often it would be with one fixed order of the answers: {glue:text}`details`.
# - Age asks which number is the larger, so it tests the order of numbers and not medicine; progression rests on {glue:text}`n_series` diseases.
# - It prefers the right answer as reliably {glue:text}`controls`.
# - Too few pairs for patching, under {glue:text}`enough`, are left in: {glue:text}`too_few`; what is not reliably preferred is drawn in grey in every chapter about this model.
# - What a model of this size does not prefer, one of seventy billion parameters may, and say so too; nothing here tells what a larger model knows.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run knowledge`.

# %% tags=["parameters", "remove-cell"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
threshold = (
    1.0  # logits: a pair whose two differences lie closer is dropped [0..]
)
n_draws = 3  # draws of another label for each item that has several [1..]
seed = 0  # deals the bootstrap resamples and the draws [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, knowledge
from medlib.chapters.knowledge import knowledge_figures as drawn
from medlib.chapters.knowledge import knowledge_prose as prose
from medlib.chapters.knowledge import knowledge_tables as told
from medlib.chapters.knowledge import planted

figures.style()
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    threshold=threshold,
    n_draws=n_draws,
    seed=seed,
)
run = medlib.Run("knowledge", model, parameters, seed)
medical = concepts.medical()
controls = {domain: concepts.control(domain) for domain in medical}
domains = [name for pair in controls.items() for name in pair]

# %% [markdown]
# ## Does the check find what is planted?
#
# The questions of one domain with made-up logits: of a model that knows the answers, of one that has an answer bias, whatever it is asked, and of one that knows something beneath such a bias.

# %%
found = planted.accuracies(knowledge.ask(model, "diseases"), seed)
run.check(
    "planted knowledge is found, and an answer bias is none",
    **planted.check(found),
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## What is asked
#
# Each question breaks off where its answer belongs, and the answer counts by its first token.
# `answers` is the number of different answers, `begin` that of their different first tokens: answers that begin alike for this tokenizer are one answer, so where `begin` is much smaller, as with doses and atomic numbers, only the first digit is asked.
# `clusters` are what an interval resamples: ages, numbers, diseases in stages and processes are resampled whole, since their items are variations of one thing.
# What could also be right for an item is never counted as wrong; `compared` is the share of pairs with unlike answers that this leaves.
# It is smaller for most medical domains than for their controls, and what it takes away are the hard pairs, so the accuracies of a domain and its control are not on one scale.
# `alone` counts items that it leaves without any other to be told from.

# %% tags=["hide-input"]
asked = {name: knowledge.ask(model, name) for name in domains}
told.questions(asked).style

# %% [markdown]
# ## What is preferred
#
# *Pairwise* takes two items and asks whether the model gives this item's answer a higher logit than the other's; every two items of a template meet, both ways round, so without the knowledge it is a half.
# *Contrast* sums the two margins of such a pair, so that an answer bias cancels: it sees knowledge that a bias hides, and knowledge so faint that no answer would show it.
# *n-way* asks whether the item's own answer is the first choice, likelier than every wrong one; to be read beside what the model would score if its answers had the same order whatever the item, that of their mean logits.
# Where there are only two answers, as for age and numbers, all of these are about one preference, and a margin of any size counts: the pairs below ask for a margin.
#
# A domain counts as *known*, for short, where the right answer of two is preferred reliably: in more than {glue:text}`least` of the pairs, with the 95 % interval above that, in every wording, and on at least {glue:text}`fewest_items` items in {glue:text}`fewest_clusters` clusters.
# Of what is not known, something is there beneath an answer bias (contrast above a half) in: {glue:text}`beneath`.
# What is tested is what the questions ask, which is not every label of a domain: no question asks for a drug's mechanism, or for the order of stages.

# %%
scores = told.by_domain(
    {name: knowledge.scores(asked[name], seed) for name in domains}
)
known = {
    name: knowledge.is_known(scores[scores["domain"] == name])
    for name in domains
}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "To prefer the right answer of two (left) is less than to choose it first among all (right). Each medical domain (circle) and its control (square, below it). Left: how often an item's own answer is preferred to another item's; dotted: chance, a half; dashed: what the interval, and each wording by itself, have to exceed. Middle: the same with answer biases cancelled. Right: how often the own answer is likelier than every wrong one; a dotted bar marks what the model scores with its answers in one order for all items. With 95 % bootstrap interval over clusters. Grey: the right answer is not reliably preferred.", "name": "fig-knowledge-scores"}, "image": {"alt": "Three panels of points with intervals, one row for each medical domain and its control: pairwise accuracy, contrast and n-way accuracy."}}
drawn.scores(scores, known)
plt.show()

# %% tags=["hide-input"]
told.accuracies(scores, known)

# %% [markdown]
# The wording matters, and so does the item: the lowest and the highest pairwise accuracy of a domain's templates, and, where several items are variations of one thing, of these things.

# %% tags=["hide-input"]
by_item = told.by_domain(
    {name: knowledge.by_item(found) for name, found in asked.items()}
)
told.wordings(scores, by_item).style.format(precision=2, na_rep="")

# %% [markdown]
# ## Which pairs can be patched?
#
# A clean/corrupt pair needs two items whose prompts have as many tokens, whose answers begin with different tokens, and neither of whose answers could be right for the other; these come from the table and the tokenizer alone.
# Of what is left, a pair is dropped where the difference of the two answers' logits is not at least {glue:text}`threshold` logit higher after the clean prompt than after the corrupt one (*small difference*; *backward* where it is as much lower), and where the clean prompt's answer has no higher logit than the wrong one.
# The corrupt prompt need not be answered rightly.
# Of the medical domains that are known, the one with the fewest pairs has {glue:text}`fewest`.
# The tables count the pairs kept and those dropped, by reason, in the medical domains and in their controls; a couple gives two pairs, one in each direction.
# Every couple that was tried counts, so an item that had to try many partners counts often.

# %% tags=["hide-input"]
filters = told.filters(asked, model, threshold)
counts = told.counts(filters)
counts.loc[medical].T.rename_axis(None).style

# %% tags=["hide-input"]
counts.loc[list(controls.values())].T.rename_axis(None).style

# %% [markdown]
# ## Are a domain and its control of like length?
#
# The number of tokens of the questions, for this model's tokenizer.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "Tokens of each question: the medical domain (blue, filled) and its control (orange, outline), as shares of all questions of the domain.", "name": "fig-knowledge-lengths"}, "image": {"alt": "Six panels of histograms, a medical domain and its control in each: the number of tokens of their questions."}}
tokens = told.lengths(asked, model.tokenizer)
drawn.lengths(tokens, controls)
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
sensitivity = told.sensitivity(model, domains, n_draws, seed)
told.labellings(sensitivity)

# %% [markdown]
# ## The numbers

# %% tags=["hide-input"]
answers = {name: found.logits.shape[1] for name, found in asked.items()}
series = asked["progression"].questions["cluster"].nunique()
numbers = {
    "verdict": prose.verdict(scores, known, answers, medical),
    "details": prose.details(scores, known, medical),
    "controls": prose.controls(known, controls),
    "beneath": prose.beneath(scores, known),
    "known": prose.listed(name for name in domains if known[name]),
    "unknown": prose.listed(name for name in domains if not known[name]),
}
numbers |= prose.rule() | prose.pairs(counts, known, medical)
for key, number in (numbers | prose.labels(sensitivity)).items():
    run.number(key, *number)

# %% tags=["hide-input"]
run.number("n_series", series)
run.number("threshold", threshold)
run.number("n_draws", n_draws)
rows = [
    told.rows(scores, known, filters, by_item, sensitivity),
    told.length_rows(tokens),
]
run.save(pd.concat(rows, ignore_index=True))
scores[scores["variant"] != ""].set_index(["domain", "variant"]).style.format(
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
# An interval over a dozen diseases or processes covers other series of their kind only roughly.
# The two domains of a pair differ in more than medicine, and a control that the model does not know is no control for knowledge, only for form.
# The tables themselves are described on [their own page](../../methods/data.md), with their sources, their licences and their limits.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so; the numbers are those of that model.
