"""Number lines: what is planted is found, shapes are told apart, and the statistics equal plain ones."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model
from sklearn.linear_model import Ridge

from medlib import MedlibError, Prompt, geometry, results
from medlib.chapters.ages import (
    age_prose,
    age_steps,
    age_tables,
    made_up_lines,
    number_figures,
    number_line,
    planted_ages,
)
from medlib.geometry import probe

FRAME = made_up_lines.frame()
PEOPLE = FRAME["kind"].isin(made_up_lines.PEOPLE).to_numpy()
FAMILIES = number_line.FAMILIES


def generator(seed=0):
    return np.random.default_rng(seed)


def made_up_breaks(seed, apart=1, **what):
    walk = made_up_lines.walk(60, generator(seed), **what)
    steps = age_steps.step_table(walk, FRAME, apart).assign(layer=1, variant="made up")
    return age_steps.breaks(steps)


def rank(seed, apart=1, at=17, **what):
    return age_steps.rank_by(made_up_breaks(seed, apart, **what), at)


# --- probes


def test_targets_read_together_get_what_the_first_alone_gets():
    x, y = generator().normal(size=(40, 60)), generator(1).normal(size=(40, 3))
    together = geometry.ridge_probe(x, y, seed=3)
    alone = geometry.ridge_probe(x, y[:, 0], seed=3)
    assert together["r2"][0] == pytest.approx(alone["r2"])
    assert together["predictions"][:, 0] == pytest.approx(alone["predictions"])
    assert together["r2"].shape == (3,)


def test_a_probe_carried_over_is_the_ridge_of_scikit_learn_on_centred_clouds(monkeypatch):
    monkeypatch.setattr(probe, "PENALTIES", np.array([0.1]))
    x, other, y = generator().normal(size=(40, 60)), generator(1).normal(size=(30, 60)), generator(2).normal(size=40)
    centred = x - x.mean(axis=0)
    ridge = Ridge(alpha=0.1 * (centred**2).sum() / len(x)).fit(centred, y)
    expected = ridge.predict(other - other.mean(axis=0))
    assert probe.ridge_transfer(x, y, other) == pytest.approx(expected)
    with pytest.raises(MedlibError, match="60 dimensions and other 5"):
        probe.ridge_transfer(x, y, other[:, :5])


@pytest.mark.parametrize("shape", [made_up_lines.straight, made_up_lines.helix])
def test_a_line_and_a_helix_are_read_and_shuffled_numbers_are_not(shape):
    x = shape(60, generator())[PEOPLE]
    read = number_line.readings(x, FRAME[PEOPLE])
    assert read["explained"].mean() > 0.98
    assert read["control"].mean() < 0.1
    assert read["residual"].abs().mean() < 3


def test_the_mean_of_what_is_explained_is_the_r2_of_the_probe():
    x = generator().normal(size=(404, 20)) + made_up_lines.straight(20, generator(1))
    expected = geometry.ridge_probe(x, FRAME["value"], groups=FRAME["value"])["r2"]
    assert number_line.readings(x, FRAME, n_shuffles=1)["explained"].mean() == pytest.approx(expected)


def test_pairs_in_order_are_counted_and_a_tie_is_half():
    assert number_line.ordered(np.array([1.0, 3, 2]), np.array([0.0, 1, 2])).tolist() == [1, 0.5, 0.5]
    assert number_line.ordered(np.zeros(4), np.array([0.0, 0, 1, 2])).tolist() == [0.5] * 4
    assert number_line.ordered(np.arange(3.0), -np.arange(3.0)).tolist() == [0, 0, 0]


def test_a_line_that_kinds_share_is_carried_over_and_one_of_another_direction_is_not():
    x = made_up_lines.straight(60, generator())
    pairs = {"sex": (["man"], ["woman"]), "routes": (["man", "woman"], ["road", "trail"])}
    moved = number_line.transfers(x, FRAME, pairs).groupby("task")[["ordered", "control"]].mean()
    assert moved["ordered"].min() > 0.9 and moved["control"].max() < 0.65
    x[~PEOPLE] = made_up_lines.straight(60, generator(5))[~PEOPLE]
    turned = number_line.transfers(x, FRAME, pairs).groupby("task")["ordered"].mean()
    assert turned["sex"] > 0.98 and turned["routes"] < 0.85


def test_a_control_task_is_passed_where_numerals_are_only_told_apart():
    names = generator().normal(size=(101, 300))  # a state for each number, without any order
    x = np.repeat(names, 4, axis=0) + 0.01 * generator(1).normal(size=(404, 300))
    moved = number_line.transfers(x, FRAME, {"sex": (["man"], ["woman"])})
    assert moved["control"].mean() > 0.8
    assert number_line.readings(x, FRAME)["explained"].mean() < 0.1


def test_kinds_that_are_not_there_are_named():
    with pytest.raises(MedlibError, match=r"boys: kinds are man, road, trail, woman; \['boy'\]"):
        number_line.transfers(np.ones((404, 3)), FRAME, {"boys": (["boy"], ["man"])})


# --- line-likeness


def test_each_row_has_the_local_anisotropy_of_its_own_neighbours():
    ball = generator().normal(size=(60, 12))
    line = 1000 + np.outer(np.arange(40), np.ones(12))
    found = geometry.local_anisotropies(np.concatenate([ball, line]), 15)
    assert found[:60].max() < 0.9
    assert found[60:] == pytest.approx(1)


def test_a_line_is_line_like_and_a_helix_and_noise_are_not():
    line, helix = (
        number_line.line_likeness(shape(60, generator())[PEOPLE], FRAME[PEOPLE])
        for shape in (made_up_lines.straight, made_up_lines.helix)
    )
    assert line["value"].mean() > 0.95 and helix["value"].mean() < 0.6
    assert line["noise"].mean() < line["value"].mean()


def test_noise_has_the_means_and_the_covariance_of_the_cloud():
    kind = np.repeat(["a", "b"], 3000)
    x = generator().normal(size=(6000, 3)) * [3, 2, 1] + np.where(kind == "a", 50, 0)[:, None]
    noise = number_line._noise_like(x, kind, seed=1)
    for name in "ab":
        assert noise[kind == name].mean(axis=0) == pytest.approx(x[kind == name].mean(axis=0), abs=0.2)
        assert noise[kind == name].std(axis=0) == pytest.approx([3, 2, 1], rel=0.1)


# --- steps


def test_steps_and_their_tokens_are_those_between_means():
    x = np.array([[0.0, 0], [3, 4], [3, 5], [0, 1]])
    rows = pd.DataFrame(dict(kind="man", value=[0, 1, 2, 0], tokens=[1, 1, 3, 1]))
    one = age_steps.step_table(x, rows)
    assert np.exp(one["log_length"]).tolist() == pytest.approx([np.hypot(3, 3.5), 1])
    assert one["token_change"].tolist() == [0, 2]
    two = age_steps.step_table(x, rows, apart=2)
    assert np.exp(two["log_length"]).tolist() == pytest.approx([np.hypot(3, 4.5)]) and two["step"].tolist() == [0]
    with pytest.raises(MedlibError, match="man: nothing moves from 0 on"):
        age_steps.step_table(np.ones((4, 2)), rows)


def test_numerals_are_described_by_digits_added_and_last_digit():
    effects = age_steps.numeral_effects([8, 9, 17, 99], [0, 1, 0, 1])
    assert effects["digits"].tolist() == [0, 1, 0, 1]
    assert effects["last 9"].tolist() == [0, 1, 0, 1] and effects["last 7"].tolist() == [0, 0, 1, 0]
    assert age_steps.numeral_effects([8, 9, 98], [0, 0, 0], apart=2)["digits"].tolist() == [1, 1, 1]


def test_a_studentised_residual_is_that_of_a_fit_without_the_step():
    design, y = generator().normal(size=(30, 4)), generator(1).normal(size=30)
    found = age_steps.standing_out(y, np.column_stack([design, design[:, 0]]))  # one effect twice costs nothing
    for i in (0, 17):
        rest = np.arange(30) != i
        a = np.column_stack([np.ones(30), design])
        weights, squares, *_ = np.linalg.lstsq(a[rest], y[rest])
        error = np.sqrt(squares[0] / (29 - 5) * (1 + a[i] @ np.linalg.inv(a[rest].T @ a[rest]) @ a[i]))
        assert found["t"][i] == pytest.approx((y[i] - a[i] @ weights) / error)


def test_ranks_count_the_step_itself():
    found = age_steps.ranked([3.0, 9, 1, 5])
    assert found["p"].tolist() == [0.75, 0.25, 1, 0.5]
    assert found["percentile"].tolist() == pytest.approx([100 / 3, 100, 0, 200 / 3])


def test_a_step_with_a_parameter_of_its_own_does_not_stand_out():
    y, own = np.arange(30) % 7.0, np.zeros((30, 1))
    y[4], own[4] = 1e3, 1
    assert age_steps.standing_out(y, own)["t"][4] == 0
    with pytest.raises(MedlibError, match="leave nothing to compare"):
        age_steps.standing_out(y[:6], generator().normal(size=(6, 4)))


def test_a_break_is_told_from_an_odd_number_a_fast_stretch_and_none():
    seeds = range(5)

    def middle(family="people", **what):
        return np.median([rank(seed, **what)[family] for seed in seeds])

    assert max(middle(gap=2), middle(spike=2), middle(stretch=2)) <= 3
    assert max(middle(apart=2, gap=2), middle(apart=2, stretch=2)) <= 3 < 10 < middle(apart=2, spike=2)
    assert middle(at=18, stretch=2) <= 3 < 10 < middle(at=18, gap=2)
    assert min(middle(), middle("routes", gap=2)) > 10


def test_a_step_is_held_against_the_spread_of_the_steps_near_it():
    t = generator().normal(size=400) * np.where(np.arange(400) < 200, 5, 1)
    even = age_steps.evened(t)
    assert even[:180].std() == pytest.approx(even[220:].std(), rel=0.25)
    assert even[300] == pytest.approx(t[300] / (np.median(np.abs(np.r_[t[290:300], t[301:311]])) / 0.6745))


def test_small_numbers_that_scatter_more_do_not_look_like_a_break():
    """The p among small steps is true to its level; a rank among all steps, unevened, is not."""
    small, raw = [], []
    for seed in range(400):
        t = generator(seed).normal(size=100) * np.where(np.arange(100) < 20, 3, 1)
        small.append(age_steps.p_small(pd.DataFrame({"step": np.arange(100), "t": t}), 17))
        raw.append(age_steps.ranked(t)["p"][17])
    assert np.mean(np.array(small) <= 0.05) < 0.08
    assert np.mean(np.array(small) <= 0.5) == pytest.approx(0.5, abs=0.08)
    assert np.mean(np.array(raw) <= 0.05) > 0.12


def test_a_break_has_the_smallest_p_there_is_and_a_large_step_none():
    table = age_steps.over_all(made_up_breaks(0, gap=2).query("family == 'people'"))
    assert age_steps.p_small(table, 17) == 0.05
    with pytest.raises(MedlibError, match="not one of the small ones"):
        age_steps.p_small(table, 40)


def test_people_are_held_against_routes_and_routes_against_people():
    people, routes = ["man", "woman"], ["road", "trail"]
    assert {"man": routes, "woman": routes, "road": people, "trail": people} == age_steps.AGAINST
    assert age_steps.FELLOW == {"man": ["woman"], "woman": ["man"], "road": ["trail"], "trail": ["road"]}


def test_what_numerals_do_is_read_off_the_regression():
    lengths = np.exp(0.7 * np.isin(np.arange(100), [9, 99]) + 0.2 * (np.arange(100) % 10 == 7))
    noise = generator().normal(size=(4, 100)) * 0.02
    rows = [
        dict(kind=kind, step=step, log_length=np.log(lengths[step]) + noise[i, step], token_change=0.0, apart=1)
        for i, kind in enumerate(made_up_lines.KINDS)
        for step in range(100)
    ]
    steps = pd.DataFrame(rows).assign(layer=1, variant="a")
    against = dict.fromkeys(["man", "woman"], ["road", "trail"])
    steps.loc[steps["kind"].isin(["road", "trail"]), "log_length"] = noise.mean()
    factor = age_steps.numeral_lengths(steps, against).groupby("step")["factor"].mean()
    assert factor["9|10"] == pytest.approx(2, rel=0.1) and factor["99|100"] == pytest.approx(2, rel=0.1)
    assert factor["a last digit 7|8"] == pytest.approx(np.exp(0.18), rel=0.05)
    assert factor["a turn of the decade"] == pytest.approx(1, rel=0.05)


def test_a_new_digit_makes_a_long_step_and_is_explained():
    t = []
    for seed in range(3):
        steps = age_steps.step_table(made_up_lines.walk(60, generator(seed)), FRAME).assign(layer=1, variant="")
        found = age_steps.breaks(steps)
        t += found.loc[found["step"] == 9, "t"].tolist()
        plain = age_steps.breaks(steps, effects=())
        assert plain.loc[plain["step"] == 9, "percentile"].min() > 97
    assert np.abs(t).max() < 4


def test_the_weakest_wording_counts_and_layers_are_corrected_for_each_step():
    found = pd.DataFrame(
        dict(step=[17] * 4 + [18] * 4, layer=[1, 1, 2, 2] * 2, p=[0.01, 0.2, 0.01, 0.02, 0.5, 0.6, 0.7, 0.1])
    )
    table = age_steps.in_every_wording(found).set_index(["step", "layer"])
    assert table["p"].to_dict() == {(17, 1): 0.2, (17, 2): 0.02, (18, 1): 0.6, (18, 2): 0.7}
    assert table["corrected"].to_dict() == pytest.approx({(17, 1): 0.2, (17, 2): 0.04, (18, 1): 0.7, (18, 2): 0.7})


def test_over_all_layers_a_step_has_the_mean_of_its_t_and_the_range_of_its_wordings():
    rows = [(step, "man", w, layer, step * w + layer) for step in (1, 2) for w in (1, 3) for layer in (0, 2)]
    found = pd.DataFrame(rows, columns=["step", "kind", "variant", "layer", "t"])
    top, second = age_steps.over_all(found).to_dict("records")
    near = 3 / 0.6745  # the spread around step 2 is that of step 1, whose mean t is 3
    assert top == pytest.approx(dict(step=2, t=5, low=3 / near, high=7 / near, even=5 / near, rank=1, p=0.5))
    assert (second["step"], second["rank"], second["p"]) == (1, 2, 1)


# --- words


def test_the_verdict_says_what_stands_against_a_break():
    clear = dict(
        rank_people=1, p_people=0.05, p_routes=0.9, n_corrected=2, n_corrected_routes=0, rank_after=40, n_steps=100
    )
    assert age_prose.verdict(**clear) == "There is a break at 17|18 that routes do not have."
    assert age_prose.verdict(**clear | dict(rank_people=9, p_people=0.4, n_corrected=0)) == "No break at 17|18 is seen."
    weak = age_prose.verdict(**clear | dict(n_corrected=0, rank_after=8))
    assert "not decided" in weak and "after correction" in weak and "fast stretch" in weak
    assert ", and 18|19" in age_prose.verdict(**clear | dict(p_people=0.1, n_corrected=0, rank_after=8))
    assert "other steps below 20 are longer" in age_prose.verdict(**clear | dict(p_people=0.1))
    assert "among roads and trails too" in age_prose.verdict(**clear | dict(p_routes=0.05))


def test_a_bend_is_told_from_a_line_only_where_the_planted_ones_differ_so():
    assert "cannot tell" in age_prose.line_or_bent(0.5, dict(straight=0.2, helix=0.3))
    assert "cannot tell" in age_prose.line_or_bent(0.5, dict(straight=0.9, helix=0.3))
    assert "more than that of a bend" in age_prose.line_or_bent(0.95, dict(straight=0.9, helix=0.3))


def test_an_extreme_is_quoted_with_its_interval_and_state():
    curve = pd.DataFrame(dict(layer=[1, 2], value=[0.5, 0.75], low=[0.4, 0.7], high=[0.6, 0.8]))
    assert age_prose.extreme(curve) == (0.75, "0.75 (0.70 to 0.80, state 2)")
    assert age_prose.extreme(curve, lowest=True)[1] == "0.50 (0.40 to 0.60, state 1)"


def test_a_noisy_line_is_read_as_well_as_is_asked_for_and_is_no_longer_line_like():
    noise = made_up_lines.noise_of(made_up_lines.straight, 0.95, 60)
    x = made_up_lines.straight(60, generator(), noise)[PEOPLE]
    value = FRAME["value"][PEOPLE]
    assert geometry.ridge_probe(x, value, groups=value)["r2"] == pytest.approx(0.95, abs=0.02)
    assert geometry.local_anisotropy(x, 20) < 0.6


def test_the_planted_checks_pass_and_say_what_they_found():
    passed, detail = planted_ages.lines(60, 20, n_shuffles=1)
    assert passed and "helix: R2" in detail
    passed, detail = planted_ages.breaks(60, n=4)
    assert passed and "fast stretch" in detail
    assert not planted_ages.breaks(60, n=4, size=0)[0]


def test_every_measure_is_a_row_of_the_results_table():
    steps = {
        place: age_steps.breaks(
            age_steps.step_table(made_up_lines.walk(20, generator()), FRAME).assign(layer=1, variant="a")
        )
        for place in ("entity", "last")
    }
    curve = pd.DataFrame(dict(domain=["age", "numbers"], layer=1, value=0.5, low=0.4, high=0.6, n=3))
    reading = pd.DataFrame(dict(domain="age", cluster=[1, 2], layer=1, explained=0.5, residual=0.1))
    moved = curve.assign(task="ages to miles").drop(columns="domain")
    umap = pd.DataFrame(
        dict(domain="age", layer=1, variant="late", space="raw", seed=[0, 1], value=0.5, noise=[0.4, None])
    )
    everywhere = {name: age_steps.in_every_wording(part) for name, part in steps["entity"].groupby("family")}
    factors = pd.DataFrame(dict(layer=1, variant="a", kind="man", step="9|10", factor=[2.0]))
    shape = curve.assign(space="raw")
    table = age_tables.table(
        (curve, curve, curve.head(1), reading), (moved, moved), (shape, shape), umap, steps, everywhere, factors
    )
    assert {"ridge_r2", "local_anisotropy", "step_t", "step_percentile", "step_factor_of_numeral"} <= set(
        table["metric"]
    )
    assert set(table.query("metric == 'step_percentile'")["variant"]) >= {"man / a", "man / a / last"}
    assert len(table.query("metric == 'local_anisotropy_of_noise' and space == 'umap30'")) == 1
    assert table["value"].notna().all()


def test_tokens_of_the_item_are_counted_and_not_those_of_the_prompt():
    prompts = [Prompt.fill("w1 {entity} w2", text) for text in ("w3", "w3 w4 w5")]
    assert number_line.token_counts(
        tiny_model(), pd.DataFrame({"prompt": pd.Series(prompts, dtype=object)})
    ).tolist() == [1, 3]


# --- figures


def test_the_figures_draw_every_step_and_mark_the_one_that_is_asked_for():
    mpl.use("agg")
    import matplotlib.pyplot as plt

    steps = age_steps.step_table(made_up_lines.walk(20, generator()), FRAME)
    found = pd.concat(age_steps.breaks(steps.assign(layer=layer, variant="a")) for layer in (1, 2))
    known = dict(people=True, routes=False)
    tables = {name: age_steps.over_all(found[found["family"] == name]) for name in FAMILIES}
    number_figures.standing_out(tables, 17, known)
    above, below = plt.gcf().axes
    assert len(above.lines[0].get_xdata()) == 100 and above.lines[1].get_xdata().tolist() == [17]
    plt.gcf().canvas.draw()
    boxes = [text.get_window_extent() for text in above.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert "not known" in below.get_title() and any("17|18 (no." in text.get_text() for text in above.texts)
    number_figures.ranks(found, 17, known)
    assert plt.gcf().axes[0].get_ylabel() == "percentile of 17|18"
    number_figures.by_layer(found, 17, known)
    assert plt.gcf().axes[0].collections[0].get_array().shape == (2, 100)
    rows = FRAME.assign(family=np.where(PEOPLE, "people", "routes"))
    flat = number_figures.flattened(generator().normal(size=(3, 404, 5)), rows, [0, 2])
    number_figures.pictures(flat)
    assert sum(len(c.get_offsets()) for axes in plt.gcf().axes[:2] for c in axes.collections) == 404
    residuals = pd.DataFrame(dict(layer=1, domain="age", cluster=[1, 1, 2], residual=[1.0, 3, -1]))
    drawn = results.tidy(age_tables.drawn(tables, flat, residuals), model="m", technique="ages", seed=0)
    counts = dict(first_component=808, second_component=808, step_over_all=200, ridge_residual_range=2)
    assert drawn["metric"].value_counts().to_dict() == counts
    of_one = drawn.query("metric == 'ridge_residual_range' and item == '1'")[["value", "low", "high"]]
    assert of_one.to_numpy().tolist() == [[2, 1, 3]]
    step = drawn.query("metric == 'step_over_all' and domain == 'age' and item == '17|18'")
    assert step["value"].item() == tables["people"].set_index("step").loc[17, "even"]
    number_figures.residuals(residuals, dict(age=True))
    assert plt.gcf().axes[0].lines[0].get_ydata().tolist() == [2, -1]
    plt.close("all")
