"""What the methods of the chapter on ages find in made-up number lines: a line, a helix and noise; breaks and none.

Each function returns what a check needs: whether it passed, and what was found in words.
"""

import numpy as np
import pandas as pd

from medlib import geometry
from medlib.chapters.ages import age_steps, made_up_lines, number_line

LONGEST = 5  # a step is found if it is among so many


def lines(hidden, neighbours, n_shuffles, seed=0):
    """A clean line and a helix are read, noise is not, and only the line is a line: `(passed, detail)`."""
    generator = np.random.default_rng(seed)
    rows = made_up_lines.frame()
    people = rows["kind"].isin(made_up_lines.PEOPLE).to_numpy()
    clouds = {
        "line": made_up_lines.straight(hidden, generator),
        "helix": made_up_lines.helix(hidden, generator),
        "noise": generator.normal(size=(len(rows), hidden)),
    }
    found = {}
    for name, x in clouds.items():
        read = number_line.readings(x[people], rows[people], n_shuffles, seed)[["explained", "control"]].mean()
        found[name] = (*read, geometry.local_anisotropy(x[people], neighbours))
    table = pd.DataFrame(found, index=["read", "control", "likeness"])
    passed = (
        table.loc["read", ["line", "helix"]].min() > 0.95
        and max(table.loc["read", "noise"], *table.loc["control"]) < 0.2
        and table.loc["likeness", "line"] > 0.9 > 0.6 > table.loc["likeness", ["helix", "noise"]].max()
    )
    parts = (
        f"{name}: R2 {x.read:.2f}, shuffled {x.control:.2f}, local anisotropy {x.likeness:.2f}"
        for name, x in table.items()
    )
    return bool(passed), "; ".join(parts)


def noisy_likeness(hidden, r2, neighbours, seed=0):
    """The local anisotropy of a made-up line and helix with so much noise that a probe reads them with this `r2`."""
    people = made_up_lines.frame()["kind"].isin(made_up_lines.PEOPLE).to_numpy()
    found = {}
    for shape in (made_up_lines.straight, made_up_lines.helix):
        noise = made_up_lines.noise_of(shape, r2, hidden, seed)
        x = shape(hidden, np.random.default_rng(seed), noise)[people]
        found[shape.__name__] = geometry.local_anisotropy(x, neighbours)
    return found


def breaks(hidden, n, seed=0, size=2):
    """A break is told from an odd number, from a fast stretch and from none, in `n` walks each: `(passed, detail)`.

    `size` is that of what is planted, in lengths of a usual step.  The step past a number tells a break from an odd
    number, and the next step tells it from a fast stretch.
    """
    generator = np.random.default_rng(seed)

    def longest(at=17, family="people", apart=1, **what):
        return sum(_rank(hidden, generator, at, family, apart, **what) <= LONGEST for _ in range(n))

    broken, none = longest(gap=size), longest()
    routes = longest(family="routes", gap=size)
    past_break, past_odd, past_fast = (longest(apart=2, **{what: size}) for what in ("gap", "spike", "stretch"))
    next_break, next_fast = (longest(at=18, **{what: size}) for what in ("gap", "stretch"))
    allowed = 1 + n // 4
    passed = min(broken, past_break, past_fast, next_fast) >= n - allowed
    passed = passed and max(none, routes, past_odd, next_break) <= allowed
    return passed, (
        f"of {n} walks each, 17|18 among the {LONGEST} longest steps of people: {broken} with a break, {none} without, "
        f"and {routes} of routes; 17 to 19: {past_break} with a break, {past_fast} with a fast stretch, {past_odd} "
        f"with an odd 18; 18|19: {next_break} with a break, {next_fast} with a fast stretch"
    )


def _rank(hidden, generator, at, family, apart, **what):
    walk = made_up_lines.walk(hidden, generator, **what)
    steps = age_steps.step_table(walk, made_up_lines.frame(), apart).assign(layer=0, variant="")
    return age_steps.rank_by(age_steps.breaks(steps), at)[family]
