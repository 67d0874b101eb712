"""Do the mapped layers matter?  Lesions and steering at them, against as many random layers of the same model.

An effect is measured at every layer, on items that no map was made of.  The mapped layers' mean effect is then held
against that of runs of the same lengths at random places: where it beats nineteen in twenty, the map told something
about behaviour.  A map that is judged by lesions is made without lesions.
"""

import numpy as np
import pandas as pd

from medlib import concepts, mapping, stats
from medlib.errors import MedlibError
from medlib.lesion import lesion_sweep
from medlib.mapping import rules
from medlib.prompts import answer_token
from medlib.states import activations
from medlib.steering import difference_vectors, random_vectors, steer_sweep

LESIONS = {"lesion": "identity", "lesion, resampled": "resample"}
KINDS = (*LESIONS, "steering")
FEWEST_PER_ANSWER = 4  # items behind the mean state of an answer
FEWEST = 3  # units behind an effect: an interval needs as many


def used_items(tables, domain):
    """The items of a domain that the tables of prompts hold, so that others can be held out: a set.

    Geometry looks at every item there is; what is held out is what the answers of the other techniques came from.
    """
    found = set()
    for chapter in ("saliency", "lesion", "patching"):
        if chapter in tables:
            table = tables[chapter]
            items = table.loc[(table["domain"] == domain) & table["item"].notna(), "item"].unique()
            found |= {part for item in items for part in (item.split(" / ") if chapter == "patching" else [item])}
    return found


def held_out(questions, used, n, seed=0):
    """The questions, in one template, of `n` items drawn among those not in `used`; of all of these where they are few.

    >>> held_out(concepts.questions("drugs"), used_items(tables, "drugs"), 16)

    Of items that are about one thing (a disease in its stages) a second is drawn once there is one of each.
    """
    first = questions[questions["variant"] == questions["variant"].iloc[0]]
    left = first[~first["item"].isin(used)].sample(frac=1, random_state=seed)
    if left["cluster"].nunique() < FEWEST:
        raise MedlibError(
            f"{left['cluster'].nunique()} units are left that no technique was asked about; {FEWEST} are needed. "
            "Run the other chapters with fewer items."
        )
    turn = left.groupby("cluster").cumcount().sort_values(kind="stable")
    return left.loc[turn.index[:n]].reset_index(drop=True)


def lesioned(model, asked, how, seed=0):
    """What each block's lesion takes from the answer: `cluster, item, variant, layer, value` (nats)."""
    table = lesion_sweep(model, list(asked["prompt"]), list(asked["answer"]), how, seed=seed)
    found = table.join(asked[["cluster", "item", "variant"]], on="prompt")
    return found.rename(columns={"logprob_drop": "value"})[["cluster", "item", "variant", "layer", "value"]]


def steered(model, questions, asked, n_states=100, seed=0):
    """What steering towards another answer does after each block: `cluster, item, variant, layer, value, random`.

    >>> steered(model, concepts.questions("drugs"), held_out(concepts.questions("drugs"), set(), 16))

    `asked` are questions of one template; those of the same template about other items, `n_states` at most, give the
    mean state of each answer that at least four items have.  Each asked item is steered towards one of these answers,
    drawn among those wrong for it; `value` is what the target gains on the own answer (logits), `random` the same for a
    vector as long in a random direction.  None where fewer than two answers have enough items, or fewer than three
    units have a target.
    """
    generator = np.random.default_rng(seed)
    variant = asked["variant"].iloc[0]
    others = questions[(questions["variant"] == variant) & ~questions["item"].isin(asked["item"])]
    counts = others["answer"].value_counts()
    others = others[others["answer"].isin(counts.index[counts >= FEWEST_PER_ANSWER])]
    chosen = _some_of_each(others, n_states, generator)
    able = list(dict.fromkeys(chosen["answer"]))
    targets = [_target(model, row, able, generator) for row in asked.itertuples()]
    there = np.array([target is not None for target in targets])
    if len(able) < 2 or asked[there]["cluster"].nunique() < FEWEST:
        return None
    states = activations(model, list(chosen["prompt"]))
    vectors = difference_vectors(states, chosen["answer"].to_numpy())
    own, wanted = asked[there].reset_index(drop=True), [target for target in targets if target is not None]
    pushes = np.stack([vectors[target] for target in wanted], axis=1)
    texts = list(own["prompt"]), list(own["answer"]), wanted
    tables = [steer_sweep(model, texts[0], push, *texts[1:]) for push in (pushes, random_vectors(pushes, generator))]
    table = tables[0].assign(value=tables[0]["shift"], random=tables[1]["shift"])
    found = table.join(own[["cluster", "item", "variant"]], on="prompt")
    return found[["cluster", "item", "variant", "layer", "value", "random"]]


def effects(model, tables, domains, n_items, n_states=100, seed=0):
    """Every kind of effect in some domains: `(domain, kind) -> table`, with None where steering has too few answers."""
    found = {}
    for domain in domains:
        questions = concepts.questions(domain)
        asked = held_out(questions, used_items(tables, domain), n_items, seed)
        for kind, how in LESIONS.items():
            found[domain, kind] = lesioned(model, asked, how, seed)
        found[domain, "steering"] = steered(model, questions, asked, n_states, seed)
    return found


def against_random(effect, mask, skipped=0, seed=0, n=4999, n_resamples=500):
    """An effect at mapped layers against runs of the same lengths elsewhere: a dict.

    >>> against_random(effects["drugs", "steering"], agreed.mask)["beaten"]

    `effect`: `cluster, item, variant, layer, value`; `mask [block 1..L]`.  The first `skipped` layers count neither as
    mapped nor as random.  `inside` and `elsewhere` (mean effect at mapped layers, and of the random runs), `beaten`
    (share of random runs whose mean effect is smaller; chance is a half) with `low, high` (95 %, units resampled), `p`
    (one-sided), `n` (units), `layers` (mapped).  NaN where no layer is left, or every layer is mapped.
    """
    curves, units = _curves(effect)
    mask, curves = np.asarray(mask)[skipped:], curves[:, skipped:]
    n_units = len(set(units))
    same = dict(n=n_units, layers=int(mask.sum()))
    if not mask.any() or mask.all():
        return dict.fromkeys(("inside", "elsewhere", "beaten", "low", "high", "p"), np.nan) | same
    generator = np.random.default_rng(seed)
    placed = rules.placed(mask, n, generator) / mask.sum()
    inside = mask / mask.sum()
    mean = curves.mean(axis=0)
    null, observed = placed @ mean, inside @ mean

    def beaten(values, axis):
        means = values.mean(axis)
        random, own = means @ placed.T, means @ inside
        smaller = random < np.expand_dims(own, -1) - 1e-12
        equal = np.abs(random - np.expand_dims(own, -1)) <= 1e-12
        return (smaller + 0.5 * equal).mean(-1)

    found = stats.bootstrap(curves, beaten, n=n_resamples, seed=seed, groups=units)
    p = stats.permutation_p(observed - 1e-12, null)
    return dict(inside=observed, elsewhere=null.mean(), beaten=found.value, low=found.low, high=found.high, p=p) | same


def beyond_control(effect, control, mask, seed=0):
    """How much more an effect at mapped layers exceeds that at all others in a domain than in its control: `Interval`.

    In the effect's own unit; the units of both are resampled.  None where no layer, or every layer, is mapped.
    """
    mask = np.asarray(mask)
    if not mask.any() or mask.all():
        return None
    weights = mask / mask.sum() - ~mask / (~mask).sum()
    (a, units_a), (b, units_b) = _curves(effect), _curves(control)
    return stats.bootstrap_difference(a @ weights, b @ weights, seed=seed, groups=(units_a, units_b))


def table(found, maps, controls, known, skipped, seed=0):
    """Every effect at the layers of every map, a row each.

    `found`: of `effects`; `maps`: name ("plain", "minus control") -> cells; `known`: domain -> bool.  Columns: `domain,
    kind, map, technique` (a technique, or "consensus"), `scope` ("all layers", or those past the `skipped` first),
    what `against_random` gives, and `beyond, beyond_low, beyond_high` of `beyond_control`, all layers.  Domains that
    the model does not know are left out, and from the map "minus control" those whose control it does not know.
    """
    rows = []
    for domain, kind in found:
        if domain not in controls or known.get(domain) is False or found[domain, kind] is None:
            continue
        held = found.get((controls[domain], kind))
        for name, cells in maps.items():
            if name != "plain" and known.get(controls[domain]) is False:
                continue
            for technique, mask in _masks(cells, domain, kind).items():
                same = dict(domain=domain, kind=kind, map=name, technique=technique)
                for scope, first in (("all layers", 0), (f"past the first {skipped}", skipped)):
                    row = same | dict(scope=scope) | against_random(found[domain, kind], mask, first, seed)
                    if (
                        not first
                        and held is not None
                        and (gap := beyond_control(found[domain, kind], held, mask, seed))
                    ):
                        row |= dict(zip(("beyond", "beyond_low", "beyond_high"), gap, strict=True))
                    rows.append(row)
    columns = (
        "domain kind map technique scope inside elsewhere beaten low high p n layers beyond beyond_low beyond_high"
    )
    return pd.DataFrame(rows, columns=columns.split())


def _masks(cells, domain, kind):
    """The layers of each technique and of the consensus; what lesions made has no say where lesions judge."""
    circular = ("lesion",) if kind in LESIONS else ()
    found = {
        technique: cells[domain, technique].mask
        for technique in mapping.TECHNIQUES
        if technique not in circular and cells[domain, technique].status == "run"
    }
    agreed = mapping.consensus(cells, domain, without=circular)
    return found | ({"consensus": agreed.mask} if agreed.status == "run" else {})


def _curves(effect):
    """One curve a prompt `[prompt, layer]`, and the unit that each belongs to."""
    wide = effect.pivot(index=["cluster", "item", "variant"], columns="layer", values="value")
    return wide.to_numpy(dtype=float), wide.index.get_level_values("cluster").to_numpy()


def _some_of_each(questions, n, generator):
    """At most `n` questions, as many of each answer as that allows, at least `FEWEST_PER_ANSWER` of those that stay."""
    shuffled = questions.iloc[generator.permutation(len(questions))]
    most = max(1, n // FEWEST_PER_ANSWER)
    kept = shuffled["answer"].drop_duplicates().head(most)
    shuffled = shuffled[shuffled["answer"].isin(kept)]
    each = max(FEWEST_PER_ANSWER, n // max(1, len(kept)))
    return shuffled.groupby("answer", sort=False).head(each)


def _target(model, row, answers, generator):
    """An answer that is wrong for an item, and begins with another token than its own; None where there is none."""
    able = [answer for answer in answers if answer != row.answer and answer not in row.also]
    own = answer_token(model, row.prompt, row.answer)
    able = [answer for answer in able if answer_token(model, row.prompt, answer) != own]
    return able[generator.integers(len(able))] if able else None
