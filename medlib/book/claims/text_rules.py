"""The rules of the claims on text models, as the page words them: each reads recorded tables and gives a `Verdict`.

`book`: model -> chapter -> `Run`; `model`: the one that is judged.  A domain counts where the knowledge chapter records
that the model prefers its right answers.  `claims.toml` has the same rules in words.
"""

import numpy as np
import pandas as pd
from scipy.stats import binom

from medlib import concepts, stats
from medlib.book.claims.evidence import (
    NOT_DECIDED,
    SUPPORTED,
    NotThere,
    Number,
    Verdict,
    count,
    decide,
    listed,
    number,
    rows,
)
from medlib.chapters.ages import age_prose, age_steps
from medlib.models import zoo

HOWS = {"identity": "block absent", "mean": "its mean in its place", "resample": "another prompt's addition"}
SIGNIFICANT = 0.05
READ = 0.9  # an R² above it counts as read by a line
NEIGHBOURS = 3  # layers in a row, so that no single best one of many decides
DEEP = 0.5  # a collapse: an effective rank below half of its best on both sides
FEWEST = 5  # couples of a domain that patches are reported of


def known(book, model, names):
    """Which of some domains the knowledge chapter records as known."""
    found = rows(book[model]["knowledge"], "known").set_index("domain")["value"]
    return [name for name in names if found.get(name, 0) == 1]


def both_sides(book, model):
    """The known medical domains, and the known ones among their controls."""
    medical = concepts.medical()
    return known(book, model, medical), known(book, model, [concepts.control(name) for name in medical])


def first_half(book, model):
    """A1: the share of a lesion's harm that falls on the first half of the layers."""
    run, (medical, controls) = book[model]["lesion"], both_sides(book, model)
    if not medical:
        raise NotThere("the model knows no medical domain")
    word, numbers, said = _halves(run, medical)
    beside, of_controls, _ = _halves(run, controls) if controls else (None, (), "")
    alike = "The majority is the same" if word != NOT_DECIDED else "There is no majority that is the same"
    return Verdict(word, f"{alike} under all three ways. {said}.", numbers, of_controls, beside == word)


def _halves(run, domains):
    counts, numbers, said = [], [], []
    units = rows(run, "kl_identity", domain=domains, component="block").groupby("domain")["n"].first()
    for how, name in HOWS.items():
        part = rows(run, f"early_half_{how}", interval=True, domain=domains).sort_values("value")
        above, below = int((part["low"] > 0.5).sum()), int((part["high"] < 0.5).sum())
        counts.append((above > len(part) / 2, below > len(part) / 2))
        middle = part.iloc[(len(part) - 1) // 2]
        label = f"{name}, {middle['domain']} (the middle one of {len(part)} domains)"
        numbers.append(number(label, middle, f"{units[middle['domain']]} units of items", "{:.0%}"))
        said.append(f"{name}, {above} above and {below} below")
    above, below = (all(side) for side in zip(*counts, strict=True))
    return decide(above, below), tuple(numbers), f"Of {len(domains)} domains lie clear of one half: {'; '.join(said)}"


def line_somewhere(book, model):
    """A2, first part: a cross-validated linear map reads age, on layers in a row."""
    run = book[model]["ages"]
    age, miles = (_curve(run, "ridge_r2", domain=name, item=None) for name in ("age", "numbers"))
    dealt = _curve(run, "ridge_r2_control_task", domain="age")
    if len(age) < NEIGHBOURS:
        raise NotThere(f"fewer than {NEIGHBOURS} layers were looked at")
    clear = (age["low"].to_numpy() > READ) & (age["low"].to_numpy() > dealt["high"].max())
    word = decide(_in_a_row(clear) >= NEIGHBOURS, bool((age["high"] < READ).all()))
    best = age.loc[age["value"].idxmax()]
    why = f"The whole interval of R² lies above {READ} on {clear.sum()} of {len(age)} layers"
    numbers = (number(f"best R² of age, layer {best['layer']}", best, f"{best['n']} ages"),)
    controls = (
        _best("best R² of miles", miles, "lengths"),
        _best("best R² of ages dealt at random", dealt, "ages"),
    )
    alike = _in_a_row(miles["low"].to_numpy() > READ) >= NEIGHBOURS
    return Verdict(word, f"{why}, {_in_a_row(clear)} of them in a row.", numbers, controls, alike)


def bent_in_the_middle(book, model):
    """A2, second part: R² of age dips at the layers of the middle third."""
    run = book[model]["ages"]
    age, miles = (_curve(run, "ridge_r2", domain=name, item=None) for name in ("age", "numbers"))
    dips, lowest = _dips(age)
    level = bool((_middle(age)["low"] > READ).all())
    told = [run.numbers.get(key) for key in ("likeness_age", "likeness_line", "likeness_helix")]
    if any(not isinstance(one, int | float) or not np.isfinite(one) for one in told):
        raise NotThere("the record lacks the local anisotropy of the made-up line and helix")
    line = told[1] > told[2] and told[0] >= told[1]  # as age_prose.line_or_bent decides it
    word = decide(dips > 0, level and line)
    why = f"R² lies clearly below what it is before and after on {dips} of {len(_middle(age))} layers in the middle"
    if not dips:
        how = "a line from a bend" if line else "no line from a bend: a noisy helix is read as well"
        why += f", and local anisotropy tells {how}"
    numbers = (
        number(f"lowest R² of age in the middle third, layer {lowest['layer']}", lowest, f"{lowest['n']} ages"),
        Number("local anisotropy of the ages, at most", told[0]),
    )
    controls = (
        Number("local anisotropy of a made-up noisy line", told[1]),
        Number("of a made-up noisy helix", told[2]),
        number("lowest R² of miles in the middle third", _dips(miles)[1], f"{_dips(miles)[1]['n']} lengths"),
    )
    return Verdict(word, f"{why}.", numbers, controls, _dips(miles)[0] > 0)


def _middle(curve):
    third = len(curve) // 3
    return curve.iloc[third : len(curve) - third]


def _dips(curve):
    """How many layers of the middle third lie clearly below one before and one after them, and the lowest."""
    middle = _middle(curve)
    before = [curve.loc[curve["layer"] < at, "low"].max() for at in middle["layer"]]
    after = [curve.loc[curve["layer"] > at, "low"].max() for at in middle["layer"]]
    below = (middle["high"].to_numpy() < np.array(before)) & (middle["high"].to_numpy() < np.array(after))
    return int(below.sum()), middle.loc[middle["value"].idxmin()]


def break_at_eighteen(book, model):
    """A2, third part: the step 17|18, by the rule of the chapter on ages (`age_prose.verdict`)."""
    run = book[model]["ages"]
    overall = {family: _steps(run, domain) for family, domain in (("people", "age"), ("routes", "numbers"))}
    here = {
        family: rows(run, "p_step_in_every_wording", domain=domain, item=age_prose.name(age_prose.AT))["value"]
        for family, domain in (("people", "age"), ("routes", "numbers"))
    }
    corrected = {family: int((stats.benjamini_hochberg(p) <= SIGNIFICANT).sum()) for family, p in here.items()}
    rank = {family: age_prose.rank_of(table, age_prose.AT) for family, table in overall.items()}
    n, after = len(overall["people"]), age_prose.rank_of(overall["people"], age_prose.AT + 1)
    p = {family: age_steps.p_small(table, age_prose.AT) for family, table in overall.items()}
    said = age_prose.verdict(
        rank["people"], p["people"], p["routes"], corrected["people"], corrected["routes"], after, n
    )
    found = said == age_prose.verdict(1, 0.05, 1.0, 1, 0, n, n)
    seen = said != age_prose.verdict(n, 1.0, 1.0, 0, 0, n, n)
    word = decide(found, not seen and rank["people"] > n / 10)
    everywhere = "layers on which it is among the longest 5 % in every wording and both sexes, corrected"
    numbers = (
        count("rank of 17|18 among the steps of age, over all layers", rank["people"], n, "steps"),
        count("rank of 18|19", after, n, "steps"),
        count(everywhere, corrected["people"], len(here["people"]), "layers"),
    )
    controls = (
        count("rank of 17|18 among miles", rank["routes"], n, "steps"),
        count("such layers among miles", corrected["routes"], len(here["routes"]), "layers"),
    )
    return Verdict(word, said, numbers, controls)


def _steps(run, domain):
    """Each step's mean t over all layers, kinds and wordings, as `age_steps.over_all` has it: `step, t, rank`."""
    found = rows(run, "step_t", domain=domain, variant=None)
    t = found.assign(step=found["item"].str.split("|").str[0].astype(int)).groupby("step")["value"].mean()
    if not {age_prose.AT, age_prose.AT + 1} <= set(t.index):
        raise NotThere(f"the table lacks the steps from {age_prose.AT} on")
    table = t.rename("t").reset_index().assign(even=age_steps.evened(t))
    return table.sort_values("even", ascending=False).assign(rank=range(1, len(table) + 1))


MAIN = dict(space="raw", variant="mean, unnumbered")  # how the chapter on progression looks at stages


def ring(book, model):
    """A3, first part: stages of a disease in a ring more than along a line."""
    run = book[model]["progression"]
    n_sure, names, n = _significant(run, "progression", "circularity")
    beside, _, n_beside = _significant(run, "processes", "circularity")
    enough = int(binom.ppf(1 - SIGNIFICANT, n, SIGNIFICANT)) + 1  # so many of n series by chance in less than 1 of 20
    states = rows(run, "circularity", interval=True, domain="progression", item=None, **MAIN).query("layer > 0")
    line = int((states["high"] < 0).sum())
    more = n_sure >= enough and n_sure / n > beside / n_beside
    word = decide(more, n_sure < enough and line == len(states))
    why = (
        f"Diseases that are more like a ring than shuffled orders on some state: {n_sure} of {n} ({listed(names)}; "
        f"{enough} would be more than chance). States on which their mean is clearly more like a line: {line} of "
        f"{len(states)}"
    )
    means = [_over_states(run, domain, "circularity") for domain in ("progression", "processes")]
    numbers = (number("ring minus line, mean over states", means[0], f"{n} diseases"),)
    controls = (
        number("ring minus line of everyday processes", means[1], f"{n_beside} processes"),
        count("more like a ring on some state", beside, n_beside, "processes"),
    )
    return Verdict(word, f"{why}.", numbers, controls, beside >= enough)


def late_return(book, model, items=("Parkinson's disease", "COPD")):
    """A3, second part: late stages of two diseases nearer the healthy start than middle ones."""
    run = book[model]["progression"]
    near, sure, numbers = [], [], []
    for item in items:
        part = rows(run, "late_return", domain="progression", item=item, **MAIN)
        p = rows(run, "p_late_return", domain="progression", item=item, **MAIN)["value"]
        near.append(int((part["value"] > 0).sum()))
        sure.append(int((stats.benjamini_hochberg(p) < SIGNIFICANT).sum()))
        numbers.append(count(f"{item}, late stages are nearer", near[-1], len(part), "states"))
        numbers.append(count(f"{item}, significantly so", sure[-1], len(part), "states"))
    others = rows(run, "late_return", domain="processes", **MAIN)
    counts = (others.assign(near=others["value"] > 0)).groupby("item")["near"].sum()
    as_many = [int((counts >= states).sum()) for states in near]
    beside, _, n = _significant(run, "processes", "late_return")
    word = decide(min(sure) > 0, max(near) == 0)
    why = "; ".join(
        f"{item} on {states} states, more than shuffled orders do on {clear}"
        for item, states, clear in zip(items, near, sure, strict=True)
    )
    controls = (
        *(
            count(f"on as many states as {item}, or more", as_many_do, n, "processes")
            for item, as_many_do in zip(items, as_many, strict=True)
        ),
        count("significantly on some state", beside, n, "processes"),
    )
    why = f"Late stages lie nearer the start than middle ones: {why}."
    return Verdict(word, why, tuple(numbers), controls, beside >= n / 2)


def _significant(run, domain, measure):
    """How many series have a significant state (Benjamini-Hochberg within a series), which, and of how many."""
    p = rows(run, f"p_{measure}", domain=domain, **MAIN)
    sure = p.assign(sure=p.groupby("item")["value"].transform(stats.benjamini_hochberg) < SIGNIFICANT)
    of_item = sure.groupby("item")["sure"].any()
    return int(of_item.sum()), list(of_item.index[of_item]), len(of_item)


def _over_states(run, domain, measure):
    """As `stages.over_states`: the mean over the states after the blocks and over series, resampling series."""
    found = rows(run, measure, domain=domain, **MAIN)
    found = found[found["item"].notna() & (found["layer"] > 0)]
    return stats.bootstrap(found.groupby("item", sort=False)["value"].mean().to_numpy())


def labels_compared(book, model, domain="drugs", first="mechanism", second="specialty"):
    """A4: one label of the drugs against the other, above shuffled labels, with all names and without spelling."""
    run = book[model]["geometry"]
    metric = f"silhouette_{second}_minus_{first}_above_shuffled"
    everything, apart = (_mean_row(run, metric, component) for component in (ALL_NAMES, APART))
    word = decide(
        everything["low"] > 0 and apart["low"] > 0,
        everything["high"] < 0 and not apart["low"] > 0,
    )
    what = f"{second} minus {first}, silhouette above shuffled labels, mean over states"
    numbers = [
        number(what, everything, f"{everything['n']} {domain}", "{:+.3f}"),
        number("the same without names that share a piece", apart, f"{apart['n']} {domain}", "{:+.3f}"),
    ]
    in_umap = [
        rows(run, f"silhouette_{label}_above_shuffled", domain=domain, space="umap30")["value"].mean()
        for label in (second, first)
    ]
    numbers.append(Number("after UMAP to 30 dimensions, mean of all fits", in_umap[0] - in_umap[1], form="{:+.3f}"))
    side = _mean_row(run, "silhouette_kind_minus_origin_above_shuffled", ALL_NAMES)
    controls = (number("dishes, kind minus origin", side, f"{side['n']} foods", "{:+.3f}"),)
    which = _ahead(everything, first, second)
    without = _ahead(apart, first, second)
    why = f"With all names {which}, and where names that share a piece are not compared {without}"
    return Verdict(word, f"{why}.", tuple(numbers), controls, bool(decide(side["low"] > 0, side["high"] < 0) == word))


ALL_NAMES, APART = "residual stream", "residual stream, no shared piece"


def _mean_row(run, metric, component):
    found = rows(run, metric, interval=True, component=component, space="raw", layer=None)
    return found.iloc[0]


def _ahead(row, first, second):
    if row["low"] > 0:
        return f"{second} is ahead"
    return f"{first} is ahead" if row["high"] < 0 else "neither is clearly ahead"


CLUSTERED = {"symptoms": ["system"], "diseases": ["chapter", "organ_system"]}
CONTROL_LABELS = {"animals": ["group"], "cities": ["latitude", "subregion"]}


def kinds_together(book, model):
    """A6: symptoms and diseases lie together by their labels, beyond shuffled labels and beyond spelling."""
    run = book[model]["geometry"]
    found = {domain: _together(run, labels) for domain, labels in CLUSTERED.items()}
    beside = {domain: _together(run, labels) for domain, labels in CONTROL_LABELS.items()}
    word = decide(
        all(any(one["holds"] for one in of) for of in found.values()),
        any(all(one["mean"].high <= 0 for one in of) for of in found.values()),
    )
    why = "; ".join(
        f"{domain} by {spoken(one['label'])} on {one['all']} of {one['of']} states, and on {one['apart']} without "
        "names that share a piece"
        for domain, of in found.items()
        for one in of
    )
    numbers, controls = (
        tuple(
            number(
                f"{domain} by {spoken(one['label'])}, silhouette above shuffled labels, mean over states",
                one["mean"],
                f"{one['n']} {domain}",
                "{:+.3f}",
            )
            for domain, of in side.items()
            for one in of
        )
        for side in (found, beside)
    )
    alike = all(any(one["holds"] for one in of) for of in beside.values())
    return Verdict(word, f"Together in every wording: {why}.", numbers, controls, alike)


def spoken(label):
    """A label in words: "organ_system" is "organ system"."""
    return label.replace("_", " ")


def _together(run, labels):
    """For each label, on how many states its things lie together, with all names and without spelling; and its mean."""
    found = []
    for label in labels:
        p, apart = (
            rows(run, f"silhouette_{label}_p_corrected", component=component, space="raw")["value"]
            for component in (ALL_NAMES, APART)
        )
        each = rows(run, f"silhouette_{label}_above_shuffled", component=ALL_NAMES, space="raw")
        each = each[each["item"].notna()]
        if each.empty:
            raise NotThere(f"the table has no rows of single items for {label}")
        of_item = each.groupby("item")["value"].mean()
        counts = [int((one < SIGNIFICANT).sum()) for one in (p, apart)]
        holds = counts[0] > len(p) / 2 and counts[1] > len(apart) / 2
        mean = stats.bootstrap(of_item.to_numpy())
        found.append(
            dict(label=label, all=counts[0], apart=counts[1], of=len(p), holds=holds, mean=mean, n=len(of_item))
        )
    return found


def collapse(book, model, of=()):
    """A5: series of clouds whose effective rank falls below half of its best before and after."""
    run, medical = book[model]["collapse"], concepts.medical()
    controls = [concepts.control(name) for name in medical]
    here, there = (_series(run, names) for names in (medical, controls))
    word = decide(here["falls"] > here["all"] / 2, here["clear"] > here["all"] / 2)
    why = (
        f"{here['falls']} of {here['all']} medical series collapse, {here['clear']} surely do not, and of the rest the "
        "interval holds one half"
    )
    if not kin(model, of):
        word = NOT_DECIDED
        why = f"The paper says it of models that are built otherwise than this one; here {why}"
    deepest = here["deepest"]
    numbers = (
        number(
            f"deepest fall, the rank as a share of its best on both sides ({deepest['domain']}, "
            f"{deepest['component']}, layer {deepest['layer']})",
            deepest,
        ),
        count("collapse", here["falls"], here["all"], "series"),
        count("collapse without the largest dimensions", here["without"], here["all"], "series"),
    )
    other = (count("collapse", there["falls"], there["all"], "series without medicine"),)
    return Verdict(word, f"{why}.", numbers, other, there["falls"] > there["all"] / 2)


def _series(run, domains):
    """Of the series of some domains: how many fall, how many surely do not, and the deepest fall."""
    depth = rows(run, "depth", interval=True, domain=domains, space="raw")
    without = rows(run, "depth", interval=True, domain=domains, space="without largest")
    series = ["component", "domain", "variant"]
    falls = (depth.groupby(series)["high"].min() < DEEP).sum()
    return dict(
        all=depth.groupby(series).ngroups,
        falls=int(falls),
        clear=int((depth.groupby(series)["low"].min() > DEEP).sum()),
        without=int((without.groupby(series)["high"].min() < DEEP).sum()),
        deepest=depth.loc[depth["value"].idxmin()],
    )


def kin(model, names):
    """Whether a model has the architecture of one of some models of the zoo; False for one that the zoo lacks."""
    if model not in zoo.names():
        return False
    return zoo.entry(model)["architecture"] in {zoo.entry(name)["architecture"] for name in names}


def lesions_hurt_more(book, model, of=(), against=()):
    """A7: lesions harm models built like `of` more than models built like `against`, on the same questions."""
    here, there = kin(model, of), kin(model, against)
    if not here and not there:
        return Verdict(NOT_DECIDED, "The model is built like none that the paper compares.")
    rivals = [name for name, runs in book.items() if "lesion" in runs and kin(name, against if here else of)]
    if not rivals:
        kind = listed(list(against if here else of))
        return Verdict(
            NOT_DECIDED, f"It takes a recorded lesion run of a model built like one of {kind} to compare with."
        )
    compared = [_harm(book, *((model, name) if here else (name, model))) for name in rivals]
    words = {one.word for one in compared}
    word = words.pop() if len(words) == 1 else NOT_DECIDED
    why = " ".join(one.why for one in compared)
    numbers, controls = (tuple(one for found in compared for one in found[side]) for side in (2, 3))
    return Verdict(word, why, numbers, controls, all(one.alike for one in compared))


def _harm(book, hurt, robust):
    """Lesions of one model against those of another: the `Verdict` of that pair."""
    runs = [book[name]["lesion"] for name in (hurt, robust)]
    medical = concepts.medical()
    names = {"medical": medical, "control": [concepts.control(name) for name in medical]}
    differences = {side: _paired(runs, domains) for side, domains in names.items()}
    ahead = {}
    for metric, name in ((f"kl_{how}", said) for how, said in HOWS.items()):
        ahead[name] = _ahead_in(runs, metric, medical)
    ahead["likeliest word, block absent"] = _ahead_in(runs, "top1_same", medical, sign=-1)
    ahead["as large a share of the depth absent"] = _ahead_in_windows(runs, medical)
    more = [in_so_many > of / 2 for in_so_many, of in ahead.values()]
    less = [in_so_many < of / 2 for in_so_many, of in ahead.values()]
    value = differences["medical"]
    word = decide(value.low > 0 and all(more), value.high < 0 and all(less))
    said = "; ".join(f"{name}, {in_so_many} of {of}" for name, (in_so_many, of) in ahead.items())
    why = f"One pair of models. Medical domains in which lesions hurt {hurt} more than {robust}: {said}."
    numbers, controls = (
        (
            number(
                f"KL in nats, {hurt} less {robust}, block absent, {side} questions",
                differences[side],
                f"{len(_of_items(runs, domains))} items",
                "{:+.2f}",
            ),
        )
        for side, domains in names.items()
    )
    beside = differences["control"]
    return Verdict(word, why, numbers, controls, decide(beside.low > 0, beside.high < 0) == word)


def _late(run):
    """The rows of whole blocks past the first tenth of the layers, which carry everything that follows."""
    table = run.table[run.table["component"].eq("block")]
    layers = table.loc[table["metric"].eq("kl"), "layer"].max()
    if pd.isna(layers):
        raise NotThere("the table has no rows of kl")
    return run._replace(table=table[table["layer"] > max(1, layers // 10)])


def _of_items(runs, domains):
    found = []
    for run in runs:
        each = rows(_late(run), "kl", domain=domains)
        found.append(each[each["item"].notna()].groupby(["domain", "item"])["value"].mean())
    both = pd.concat(found, axis=1, join="inner")
    if both.empty:
        raise NotThere("the two runs asked no question in common")
    return both


def _paired(runs, domains):
    """The mean KL over layers of the one less that of the other, item by item, with its interval over items."""
    both = _of_items(runs, domains)
    return stats.bootstrap((both.iloc[:, 0] - both.iloc[:, 1]).to_numpy())


def _ahead_in(runs, metric, domains, sign=1):
    """In how many domains the first run's mean over layers is the larger, and of how many."""
    means = [rows(_late(run), metric, domain=domains, item=None).groupby("domain")["value"].mean() for run in runs]
    difference = sign * (means[0] - means[1]).dropna()
    return int((difference > 0).sum()), len(difference)


def _ahead_in_windows(runs, domains):
    """The same of windows of consecutive blocks: the smallest of both that are the same share of the depth or more.

    The first run's windows never hold a larger share than the second's, so what is left is not owed to fewer layers.
    """
    depths = [int(rows(run, "kl", component="window", domain=domains)["layer"].max()) for run in runs]
    sizes = [1, int(np.ceil(depths[1] / depths[0]))]
    means = []
    for run, size in zip(runs, sizes, strict=True):
        found = rows(run, "kl", component="window", domain=domains)
        start = found["variant"].str.extract(r"from block (\d+)")[0].astype(int)
        of_size = found[(found["layer"] - start + 1 == size) & (start > max(1, found["layer"].max() // 10))]
        means.append(of_size.groupby("domain")["value"].mean())
    difference = (means[0] - means[1]).dropna()
    if difference.empty:
        raise NotThere("the two runs have no windows of the same share of the depth")
    return int((difference > 0).sum()), len(difference)


def dosage_is_found(book, model, domain="dosage"):
    """A8: where the model knows doses, a patch of the last token brings the answer before the last layer."""
    run, control = book[model]["patching"], concepts.control(domain)
    curve = _curve(run, "recovered", domain=domain, component="residual", space="last")
    inner = curve[(curve["layer"] > 1) & (curve["layer"] < curve["layer"].max())]
    if inner.empty:
        raise NotThere("no layer lies between the first and the last")
    best = inner.loc[inner["value"].idxmax()]
    couples = int(best["n"])
    numbers = [
        number(f"largest P of the last token before the last layer, layer {best['layer']}", best, f"{couples} couples")
    ]
    at = rows(run, "handover", interval=True, domain=domain).iloc[0]
    numbers.append(number(f"layer at which it passes one half, of {curve['layer'].max()}", at, form="{:.0f}"))
    patched = rows(run, "handover", interval=True)  # a control of too few couples is not patched
    controls = [
        number(f"the same layer for {control}", beside, form="{:.0f}")
        for beside in patched[patched["domain"] == control].itertuples()
    ]
    if not known(book, model, [domain]):
        why = "The model does not prefer the right dose to a wrong one, so there is no knowledge of doses to be found"
        return Verdict(NOT_DECIDED, f"{why}.", tuple(numbers), tuple(controls))
    if couples < FEWEST:
        return Verdict(NOT_DECIDED, f"There are fewer than {FEWEST} couples.", tuple(numbers), tuple(controls))
    clear = int((inner["low"] > 0.5).sum())
    word = decide(clear > 0, bool((inner["high"] < 0.5).all()))
    between = f"{clear} of {len(inner)} layers between the first and the last"
    why = f"The last token brings more than half of the answer on {between}."
    alike = word == SUPPORTED and any(one.high < curve["layer"].max() for one in controls)
    return Verdict(word, why, tuple(numbers), tuple(controls), alike)


def _curve(run, metric, **where):
    return rows(run, metric, interval=True, **where).sort_values("layer").reset_index(drop=True)


def _in_a_row(clear):
    """The longest run of true values."""
    longest = here = 0
    for one in clear:
        here = here + 1 if one else 0
        longest = max(longest, here)
    return longest


def _best(what, curve, units):
    best = curve.loc[curve["value"].idxmax()]
    return number(f"{what}, layer {best['layer']}", best, f"{best['n']} {units}")
