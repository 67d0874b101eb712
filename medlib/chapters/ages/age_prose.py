"""What the tables on ages come to: the numbers that the page quotes, in words that hold whatever they are.

A number is `(value, text)`, as `Run.number` takes it.
"""

from medlib.chapters.ages import age_steps, number_line

AT = 17  # the step that is asked for, by its lower number


def reading(r2, r2_control, r2_difference):
    """The numbers of the probe: `r2`, `r2_control` with a column `domain`; `r2_difference` of ages less miles."""
    age = r2[r2["domain"] == "age"]
    return {
        "r2_age": extreme(age),
        "r2_lowest": extreme(age, lowest=True),
        "r2_numbers": extreme(r2[r2["domain"] == "numbers"]),
        "r2_control": extreme(r2_control[r2_control["domain"] == "age"]),
        "n_r2_age": _count(r2_difference["low"] > 0),
        "n_r2_numbers": _count(r2_difference["high"] < 0),
    }


def carried(moved, control):
    """The numbers of the probes that are read on other words; tables with `task`, `layer`, `value, low, high`."""
    sexes = moved["task"].isin(["men to women", "women to men"])
    best = moved[sexes].loc[moved[sexes]["value"].idxmax(), "layer"]
    beside = control[sexes.to_numpy() & (control["layer"] == best).to_numpy()]["value"].max()
    found = {"ordered_sex": extreme(moved[sexes]), "ordered_sex_control": (beside, f"{beside:.2f}")}
    for key, task in (("miles", "ages to miles"), ("ages", "miles to ages")):
        part = moved[moved["task"] == task]
        mean = part["value"].mean()
        found[f"ordered_{key}"] = extreme(part)
        found[f"ordered_{key}_mean"] = (mean, f"{mean:.2f}")
        found[f"ordered_{key}_lowest"] = extreme(part, lowest=True)
    return found


def likeness(shape, noise, planted, umap):
    """The numbers of local anisotropy: curves with `space` and `domain`; what `planted_ages.noisy_likeness` gives."""
    raw, null = (table[table["space"] == "raw"] for table in (shape, noise))
    age = raw[raw["domain"] == "age"]
    at = age.loc[age["value"].idxmax(), "layer"]
    beside = null[(null["domain"] == "age") & (null["layer"] == at)]["value"].item()
    found = {
        "likeness_age": extreme(age),
        "likeness_numbers": extreme(raw[raw["domain"] == "numbers"]),
        "likeness_noise": (beside, f"{beside:.2f}"),
        "likeness_line": (planted["straight"], f"{planted['straight']:.2f}"),
        "likeness_helix": (planted["helix"], f"{planted['helix']:.2f}"),
        "likeness_said": (tells_line := line_or_bent(age["value"].max(), planted), tells_line),
    }
    of_age = umap[umap["domain"] == "age"]
    for key, column in (("umap_age", "value"), ("umap_noise", "noise")):
        fits = of_age[column]
        found[key] = (fits.mean(), f"{fits.mean():.2f} ({fits.min():.2f} to {fits.max():.2f})")
    return found


def line_or_bent(value, planted):
    """What local anisotropy says, given that of a made-up line and of a helix that a probe reads as well.

    >>> line_or_bent(0.54, {"straight": 0.17, "helix": 0.31})
    'which cannot tell a noisy line from a bent one'
    """
    if planted["straight"] > planted["helix"] and value >= planted["straight"]:
        return "which is that of a line and more than that of a bend"
    return "which cannot tell a noisy line from a bent one"


def breaking(found, past, steps):
    """The numbers of the step 17|18: `found` of `age_steps.breaks`, `steps` and `past` of `step_table`.

    Returns the numbers, and the table of `age_steps.sensitivity`.
    """
    table = age_steps.sensitivity(steps, past, AT)
    overall = {family: age_steps.over_all(part) for family, part in found.groupby("family")}
    everywhere = {family: age_steps.in_every_wording(part) for family, part in found.groupby("family")}
    people = overall["people"].set_index("step")
    n_layers, n_steps = found["layer"].nunique(), len(people)
    numbers = {"n_layers": (n_layers, str(n_layers)), "n_steps": (n_steps, str(n_steps))}
    numbers |= {"n_chance": (n_layers * 0.025, f"{n_layers * 0.025:.1f}")}
    for family, part in found[found["step"] == AT].groupby("family"):
        end = "" if family == "people" else "_routes"
        here = everywhere[family][everywhere[family]["step"] == AT]
        share = (part["percentile"] >= 95).mean()
        p = age_steps.p_small(overall[family], AT)
        numbers |= {
            f"rank_{family}": _count(rank_of(overall[family], AT)),
            f"p_{family}": (p, f"{p:.2f}"),
            f"cells_{family}": (share, f"{share:.0%}".replace("%", " %")),
            f"n_breaks{end}": _count(here["p"] <= 0.05),
            f"n_corrected{end}": _count(here["corrected"] <= 0.05),
        }
    counts = everywhere["people"].query("p <= 0.05").groupby("step").size()
    other = counts.drop(AT, errors="ignore")
    most = other.idxmax() if len(other) else None
    best = [name(step) for step in overall["people"]["step"] if step != AT][:4]
    most_said = "none does" if most is None else f"{name(most)}, on {other.max()}"
    numbers |= {
        "rank_after": _count(people.loc[AT + 1, "rank"]),
        "rank_plain": _count(table.loc["nothing", "people"]),
        "rank_digits": _count(table.loc["and size, digits, tokens", "people"]),
        "rank_past": _count(table["people"].iloc[-1]),
        "rank_fellow": _count(table.loc["all, by its fellow", "people"]),
        "rank_one_route": _count(table.loc["and the last digit", number_line.FAMILIES["routes"]].min()),
        "others": (", ".join(best), ", ".join(best)),
        "n_other_breaks": _count(len(other)),
        "most_breaks": (most_said, most_said),
    }
    said = verdict(
        **{
            key: numbers[key][0] for key in ("rank_people", "p_people", "p_routes", "n_corrected", "n_corrected_routes")
        },
        rank_after=numbers["rank_after"][0],
        n_steps=n_steps,
    )
    return numbers | {"verdict": (said, said)}, table, overall, everywhere


def verdict(rank_people, p_people, p_routes, n_corrected, n_corrected_routes, rank_after, n_steps):
    """Whether there is a break at 17|18: seen, not seen, or not decided, and what stands against it.

    >>> verdict(3, 0.05, 0.9, 0, 0, 8, 100)
    'Whether the line breaks at 18 is not decided: over all layers 17|18 is among the longest 5 % of steps, but ...'

    A break is called where 17|18 is among the longest 5 % of all steps and the first of the small ones, and, after
    correction, among the longest in every wording and both sexes on some layer; where neither is so for routes; and
    where the step after it does not stand out too.
    """
    among, first, somewhere = rank_people <= n_steps / 20, p_people <= 0.05, n_corrected > 0
    if not (among or first or somewhere):
        return "No break at 17|18 is seen."
    for_it = [
        *["over all layers 17|18 is among the longest 5 % of steps"] * among,
        *["over all layers 17|18 is the longest step below 20"] * (first and not among),
        *["17|18 is among the longest 5 % in every wording and both sexes on some layer"] * somewhere,
    ]
    against = [
        *["it is not among the longest 5 % of all steps"] * (not among),
        *["other steps below 20 are longer"] * (not first),
        *["on no layer is it among the longest 5 % in every wording and both sexes, after correction"]
        * (not somewhere),
        *["it stands out among roads and trails too"] * (p_routes <= 0.05 or n_corrected_routes > 0),
        *["18|19 is among the longest tenth as well, as in a fast stretch from 17 to 19"]
        * (rank_after <= n_steps / 10),
    ]
    if not against:
        return "There is a break at 17|18 that routes do not have."
    return f"Whether the line breaks at 18 is not decided: {_listed(for_it)}, but {_listed(against)}."


def _listed(parts):
    """Clauses with "and" before the last.

    >>> _listed(["a", "b, after c", "d"])
    'a, b, after c, and d'
    """
    return f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 2 else " and ".join(parts)


def places(reads, found):
    """A row for each place: the best R2 of age and the rank and cells of 17|18 for people and routes."""
    rows = {}
    for place, table in found.items():
        best = reads[place].groupby("layer")["explained"].mean()
        rows[place] = {"best R² of age": f"{best.max():.2f} (state {best.idxmax()})"}
        for family, part in table.groupby("family"):
            here = age_steps.over_all(part)
            share = (part.loc[part["step"] == AT, "percentile"] >= 95).mean()
            rows[place][f"rank of 17|18, {family}"] = rank_of(here, AT)
            rows[place][f"rank of 18|19, {family}"] = rank_of(here, AT + 1)
            rows[place][f"longest 5 %, {family}"] = f"{share:.0%}"
    return rows


def rank_of(table, at):
    """The rank of a step in a table of `age_steps.over_all`."""
    return int(table.loc[table["step"] == at, "rank"].item())


def name(step):
    """A step by its two numbers.

    >>> name(17)
    '17|18'
    """
    return f"{step}|{step + 1}"


def extreme(curve, lowest=False):
    """The highest (or lowest) point of a curve with its interval and state: `(value, text)`."""
    top = curve.loc[curve["value"].idxmin() if lowest else curve["value"].idxmax()]
    text = f"{top['value']:.2f} ({top['low']:.2f} to {top['high']:.2f}, state {int(top['layer'])})"
    return float(top["value"]), text


def _count(values):
    n = int(values.sum()) if hasattr(values, "sum") else int(values)
    return n, str(n)
