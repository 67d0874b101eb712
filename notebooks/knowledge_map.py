# %% [markdown]
# # Which layers hold medical knowledge, and do the techniques agree?
#
# {glue:text}`verdict`.
#
# - The four techniques point at the same layers more than runs of layers placed at random would (p at most 0.05, each domain for itself) in {glue:text}`agree`, and in {glue:text}`agree_controls`, which hold no medicine.
# - Less the control, {glue:text}`stand_out` maps stand out (false discovery rate 5 %), and there the techniques agree beyond chance in {glue:text}`agree_beyond`; two controls held against each other stand out (p below 0.05) in {glue:text}`controls_stand_out`.
# - Two techniques or more that stand out point, beyond a known control, at layers: {glue:text}`layers_beyond`; at all: {glue:text}`layers_plain`.
# - Of the domains that have such layers, a lesion there takes more from the answer than at random layers in {glue:text}`lesion_beyond`, and steering moves it more in {glue:text}`steering_beyond`; at the layers of the plain map in {glue:text}`lesion` and {glue:text}`steering`.
# - {glue:text}`knowledge`
# - A model of 135 or 270 million parameters has few layers and knows little: where one of 70 billion keeps what it knows has to be mapped there.

# %% [markdown] tags=["card"]
# A card with the model, the number of items, the time and the memory stands here after a run with `medlib run knowledge_map`.

# %% tags=["parameters", "remove-cell", "made-of-tables"]
model_name = (
    "smollm2-135m"  # a name of `medlib models`, a Hub id or a local folder
)
chat = False  # put prompts through the chat template of the model
n_items = 16  # items of each domain that no map was made of, for lesions and steering [4..]
n_states = 100  # other items, whose states make the steering vectors [8..]
n_resamples = 500  # of the items, for the share of each layer [20..]
n_shuffles = 999  # of items between a domain and its control [99..]
n_placed = 4999  # random places of the runs of layers [99..]
n_halves = 200  # ways to halve the items [10..]
seed = 0  # deals resamples, shuffles, places and halves, draws items and targets [0..]

# %% tags=["hide-input"]
import matplotlib.pyplot as plt
import pandas as pd

import medlib
from medlib import concepts, figures, mapping
from medlib.book import recorded
from medlib.chapters.knowledge_map import map_figures as draw
from medlib.chapters.knowledge_map import map_prose as say
from medlib.chapters.knowledge_map import map_tables as told
from medlib.chapters.knowledge_map import planted_map, validation

figures.style()
model = medlib.load(model_name, chat=chat)
parameters = dict(
    model_name=model_name,
    chat=chat,
    n_items=n_items,
    n_states=n_states,
    n_resamples=n_resamples,
    n_shuffles=n_shuffles,
    n_placed=n_placed,
    n_halves=n_halves,
    seed=seed,
)
run = medlib.Run("knowledge_map", model, parameters, seed)

# %% [markdown]
# ## What the map is made of
#
# The tables of the recorded chapters about this model; nothing is measured again for the map.
# A chapter that did not run is in the map as *not run*.

# %%
chapters = ["knowledge", "geometry", "ages"]
chapters += ["saliency", "lesion", "patching"]
tables, sources = recorded.tables(model.name, chapters)
recorded.note(run, sources)
pd.DataFrame(sources).drop(columns="sha256").fillna("").style.hide()

# %% tags=["hide-input"]
controls = {
    domain: concepts.control(domain)
    for domain in mapping.domains(tables)
    if domain in concepts.medical()
}
names = [name for pair in controls.items() for name in pair]
known = mapping.known(tables)
not_grey = [name for name in controls if known.get(name) is not False]
not_grey = not_grey or list(controls)  # of a model that knows none, all
run.number("knowledge", say.knowledge(known, list(controls)))

# %% [markdown]
# ## Does the map find what is planted?
#
# Two made-up techniques with as many layers as this model are high at the same layers, on top of others that domain and control share; and pairs of curves of noise, whose maps must overlap no more than runs of layers placed at random.

# %%
run.check(
    "planted layers are found, and noise agrees by chance",
    **planted_map.check(model.n_layers, seed),
)
print(run.checks[-1]["detail"])

# %% [markdown]
# ## The map
#
# How a curve becomes a run of layers is on [the method's page](../../methods/knowledge_map.md).

# %%
plain = told.some_ran(mapping.cells(tables, names, seed, n_resamples))
less = mapping.differences(tables, controls, seed, n_resamples, n_shuffles)
tested = told.corrected(less)
maps = {"plain": plain, "minus control": less}
counted = told.standing_out(less, tested)
layers = {
    "plain": told.layers(plain, names),
    "minus control": told.layers(less, list(controls), counted),
}
rows = {name: told.layer_rows(table, name) for name, table in layers.items()}
rows |= {"known": told.known_rows(known), "tests": told.test_rows(tested)}
shown = pd.concat(rows.values(), ignore_index=True)
read = {name: told.read_back(shown, name) for name in maps}

# %% tags=["headline", "hide-input"] mystnb={"figure": {"caption": "The layers that each technique points at, by medical domain: geometry where the clusters of the right labels (for age: the line) sharpen fastest, patching where the last token takes the answer over fastest, saliency and lesions where they are largest. Left: the domain; right: the domain less its control. Fainter: mapped in fewer resamples of the items. Outlined: the difference does not stand out from that of shuffled items. Black: two techniques or more, of those that stand out. Grey: the model does not reliably prefer the right answer, on the right in the domain or in its control.", "name": "fig-map"}, "image": {"alt": "Two panels with a band for each medical domain and in it a lane for each technique, with bars at the layers that it points at, and a black bar where two techniques meet."}}
draw.two_maps(read["plain"], read["minus control"], list(controls))
plt.show()

# %% [markdown]
# The layers in numbers, with how often they are mapped when the items are resampled; first the domains and their controls, then the difference.

# %% tags=["hide-input"]
say.intervals(layers["plain"], known)

# %% tags=["hide-input"]
say.intervals(layers["minus control"], known)

# %% [markdown]
# ## Is it a map of medicine?
#
# A domain's map should be like the map from the other half of its items, and unlike that of its control and of other domains.
# The overlap with the control's map is {glue:text}`shared`, with the maps of other medical domains {glue:text}`others`, between two halves of the items {glue:text}`halves`, by chance {glue:text}`by_chance` (medians over {glue:text}`n_maps` maps of known domains).

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How much of a domain's map is shared, of all that either map holds: with the map from the other half of its items, from another template (lines: 95 % of the ways to halve, and the range of templates), with its control's map, and with other medical domains' maps (mean). Dotted: runs of the same lengths at random places, against the control's map. A map of medicine has circles to the right and squares at the dotted bar.", "name": "fig-map-likeness"}, "image": {"alt": "Four panels, one for each technique, with a row of points for each medical domain on a scale of overlap between zero and one."}}
among = mapping.among_domains(plain, controls, seed, n_placed)
stable = mapping.stability(tables, names, plain, seed, n_halves)
draw.likeness(among, stable, list(controls), known)
plt.show()

# %% [markdown]
# The difference map is tested by dealing the items of domain and control to the two sides at random.
# What stands out there differs between the two sets of questions, wording included: {glue:text}`stand_out_uncorrected` maps of a medical domain less its control do at p below 0.05, and of one control less another {glue:text}`controls_stand_out`.

# %%
others = dict(
    zip(
        controls.values(),
        [*list(controls.values())[1:], list(controls.values())[0]],
        strict=True,
    )
)
unmatched = mapping.differences(tables, others, seed, 20, n_shuffles)
between_controls = told.corrected(unmatched)
between_controls["control"] = between_controls["domain"].map(others)

# %% [markdown]
# ## Do the techniques agree?
#
# Overlap of the maps of each two techniques, mean over the pairs, against the same runs of layers placed at random.
# Single runs have few places, so that a full overlap of two is no rarer than one in twenty or so.
# Each p stands for itself: it is not corrected for the number of domains and pairs, of which one in twenty would fall below 0.05 by chance.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How far the maps of the techniques overlap in each medical domain and in its control: mean over the pairs of techniques with its 95 % interval, the items of each technique resampled apart. Dotted bar: runs of the same lengths at random places. Grey: not known to the model.", "name": "fig-map-agreement"}, "image": {"alt": "For each medical domain and its control a point with an interval on a scale of overlap, each with a dotted bar for chance."}}
whole = told.agreements(maps, names, controls, seed, n_placed)
draw.agreement(whole[whole["map"] == "plain"], controls, known)
plt.show()

# %% tags=["hide-input"]
pairs = pd.concat(
    mapping.pairs_of_techniques(plain, name, seed, n_placed) for name in names
)
say.pairs_table(pairs[pairs["domain"].isin(controls)]).style.hide()

# %% [markdown]
# ## How stable is it?
#
# Another template leaves an overlap of {glue:text}`templates` in the median; of the changes of a rule, the one that moves the map most leaves {glue:text}`rules`.
# Two maps of the same items by the same rule have 1.

# %% tags=["hide-input"]
medical = stable[stable["domain"].isin(not_grey)]
medical.pivot_table("overlap", "change", "technique").style.format(
    precision=2, na_rep=""
)

# %% [markdown]
# ## Do the mapped layers matter?
#
# On {glue:text}`n_items` items of each domain that no answer in the tables came from, each block in turn is taken out, or adds what it adds to another prompt, and a steering vector is added after each block: the mean state of the prompts with another answer, less that of all other prompts.
# The effect at the mapped layers is held against runs of the same lengths at random places in the same model.
# A map judged by lesions is made without lesions.
# A single run of layers has few places in a model of few layers, and with fewer than twenty it cannot beat nineteen in twenty: there the share beaten is to be read, and not the count.
# These p, too, are not corrected for the number of domains and effects.

# %%
judges = [name for domain in not_grey for name in (domain, controls[domain])]
found = validation.effects(model, tables, judges, n_items, n_states, seed)
early = max(1, model.n_layers // 10)
of_maps = {"plain": plain, "minus control": counted}
judged = validation.table(found, of_maps, controls, known, early, seed)
agreed = {
    name: {domain: mapping.consensus(cells, domain) for domain in controls}
    for name, cells in of_maps.items()
}

# %% tags=["hide-input"] mystnb={"figure": {"caption": "How many random runs of layers the layers that two techniques or more point at beat, by their mean effect on the right answer: what a lesion takes from its log-probability, and what another answer gains on it by steering. With 95 % bootstrap interval over held-out items. Dotted: chance; dashed: nineteen in twenty. Hollow: the first layers set aside.", "name": "fig-map-beaten"}, "image": {"alt": "Three panels, one for each kind of effect, with points and intervals for each medical domain on a scale from none to all random runs of layers beaten."}}
draw.beaten(judged, not_grey, validation.KINDS)
plt.show()

# %% tags=["hide-input"]
say.judged_table(judged).style.hide()

# %% [markdown]
# The same without the layers up to layer {glue:text}`early`, mapped or random, whose loss costs most whatever is asked, of the domains that have others: at the layers of the plain map lesions in {glue:text}`lesion_late` and steering in {glue:text}`steering_late`, at those beyond the control in {glue:text}`lesion_beyond_late` and {glue:text}`steering_beyond_late`.
# With another prompt's addition in place of nothing, lesions in {glue:text}`resampled` at the layers of the plain map and {glue:text}`resampled_beyond` beyond the control; without the first layers in {glue:text}`resampled_late` and {glue:text}`resampled_beyond_late`.

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What steering towards another answer does after each block: logits that the other answer gains on the right one, mean over held-out items with its 95 % bootstrap interval. Dashed: the control; dotted: a vector as long in a random direction. Shaded: layers that two techniques or more point at beyond the control.", "name": "fig-map-steering"}, "image": {"alt": "A panel for each known medical domain with three curves over layers, steering in the domain, in its control and in a random direction, and shaded layers."}}
effects = told.effect_rows(found, seed)
shaded = {
    domain: cell.mask
    for domain, cell in agreed["minus control"].items()
    if cell.status == "run" and known.get(controls[domain]) is not False
}
draw.effect_curves(effects, controls, known, shaded, "steering", "logits")
plt.show()

# %% tags=["hide-input"] mystnb={"figure": {"caption": "What the lesion of each block takes from the log-probability of the right answer's first token, on the same held-out items. Scale logarithmic beyond 1 nat. Dashed: the control; shaded: layers that two techniques or more point at beyond the control.", "name": "fig-map-lesion"}, "image": {"alt": "A panel for each known medical domain with two curves over layers, the domain and its control, each with an interval band, and shaded layers."}}
draw.effect_curves(
    effects,
    controls,
    known,
    shaded,
    "lesion",
    "drop, nats",
    linear=1,
)
plt.show()

# %% [markdown]
# ## The numbers
#
# Nothing new is shown here: the numbers in the text above are written into the record, and the rows behind the figures into the table.
# Both can be downloaded under the title of this page.

# %% tags=["hide-input"]
numbers = say.numbers(
    among,
    stable,
    whole,
    tested,
    between_controls,
    judged,
    agreed,
    controls,
    known,
)
for key, (value, text) in numbers.items():
    run.number(key, value, text)
run.number("n_items", n_items)
run.number("early", early)

# %% tags=["hide-input"]
more = told.number_rows(pairs, whole, among, stable, between_controls, judged)
items = told.item_rows(found)
run.save(pd.concat([shown, more, effects, items], ignore_index=True))

# %% [markdown]
# ## What would change our mind
#
# - A plain map that a domain's own items share and its control does not.
# - Two controls whose difference maps stand out no more than shuffled items: then what stands out against medicine is more than wording.
# - Mapped layers that beat random ones in lesions and in steering, by every way of making them, on items held out.
# - The same layers, at relative depth, in a second model of another family: see [all maps on one page](../../maps.md).
#
# ## What this map does not show
#
# It shows where techniques point, not where knowledge is stored, and to edit where a technique points need not work best {cite:p}`hase2023localization`.
# Each rule finds layers in any curve: a map without shares, chance and control says nothing.
# The share resamples items; other wordings, other labels and other models are outside it.
# Steering at the last layers acts on the next word almost directly, so that late layers are moved more easily whatever the map.
# Lesions and steering act on one layer at a time: layers that stand in for each other look idle.
# The weights of this model were quantised to 4 bits and de-quantised on loading, if its card says so.
# The map is that of {cite:t}`marinescu2026knowledge`; the steering vectors follow {cite:t}`rimsky2024steering` and {cite:t}`turner2023activation`.
