"""Number lines: what is planted is found, shapes are told apart, and the statistics equal plain ones."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from conftest import tiny_model
from sklearn.linear_model import Ridge

from medlib import MedlibError, Prompt, geometry
from medlib.chapters.ages import made_up_lines, number_figures, number_line
from medlib.geometry import probe

FRAME = made_up_lines.frame()
PEOPLE = FRAME["kind"].isin(made_up_lines.PEOPLE).to_numpy()
AGAINST = dict(man=["road", "trail"], woman=["road", "trail"], road=["trail"], trail=["road"])
FAMILIES = {"people": ["man", "woman"], "routes": ["road", "trail"]}


def generator(seed=0):
    return np.random.default_rng(seed)


def rank(seed, apart=1, **what):
    walk = made_up_lines.walk(60, generator(seed), **what)
    steps = number_line.step_table(walk, FRAME, apart).assign(layer=1, variant="made up")
    return number_line.rank_by(number_line.breaks(steps, AGAINST), 17, FAMILIES)


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
    one = number_line.step_table(x, rows)
    assert np.exp(one["log_length"]).tolist() == pytest.approx([np.hypot(3, 3.5), 1])
    assert one["token_change"].tolist() == [0, 2]
    two = number_line.step_table(x, rows, apart=2)
    assert np.exp(two["log_length"]).tolist() == pytest.approx([np.hypot(3, 4.5)]) and two["step"].tolist() == [0]
    with pytest.raises(MedlibError, match="man: nothing moves from 0 on"):
        number_line.step_table(np.ones((4, 2)), rows)


def test_numerals_are_described_by_digits_added_and_last_digit():
    effects = number_line.numeral_effects([8, 9, 17, 99], [0, 1, 0, 1])
    assert effects["digits"].tolist() == [0, 1, 0, 1]
    assert effects["last 9"].tolist() == [0, 1, 0, 1] and effects["last 7"].tolist() == [0, 0, 1, 0]
    assert number_line.numeral_effects([8, 9, 98], [0, 0, 0], apart=2)["digits"].tolist() == [1, 1, 1]


def test_a_studentised_residual_is_that_of_a_fit_without_the_step():
    design, y = generator().normal(size=(30, 4)), generator(1).normal(size=30)
    found = number_line.standing_out(y, np.column_stack([design, design[:, 0]]))  # one effect twice costs nothing
    for i in (0, 17):
        rest = np.arange(30) != i
        a = np.column_stack([np.ones(30), design])
        weights, squares, *_ = np.linalg.lstsq(a[rest], y[rest])
        error = np.sqrt(squares[0] / (29 - 5) * (1 + a[i] @ np.linalg.inv(a[rest].T @ a[rest]) @ a[i]))
        assert found["t"][i] == pytest.approx((y[i] - a[i] @ weights) / error)
    assert found["p"].min() == 1 / 30 and found["percentile"].max() == 100


def test_a_step_with_a_parameter_of_its_own_does_not_stand_out():
    y, own = np.arange(30) % 7.0, np.zeros((30, 1))
    y[4], own[4] = 1e3, 1
    assert number_line.standing_out(y, own)["t"][4] == 0
    with pytest.raises(MedlibError, match="leave nothing to compare"):
        number_line.standing_out(y[:6], generator().normal(size=(6, 4)))


def test_a_break_is_told_from_an_odd_number_and_from_none():
    seeds = range(4)
    assert all(rank(seed, gap=1)["people"] == 1 for seed in seeds)
    assert all(rank(seed, apart=2, gap=1)["people"] <= 3 for seed in seeds)
    assert all(rank(seed, spike=1)["people"] <= 3 for seed in seeds)
    assert np.median([rank(seed, apart=2, spike=1)["people"] for seed in seeds]) > 10
    assert np.median([rank(seed, gap=1)["routes"] for seed in seeds]) > 10
    assert np.median([rank(seed)["people"] for seed in seeds]) > 10


def test_a_new_digit_makes_a_long_step_and_is_explained():
    t = []
    for seed in range(3):
        steps = number_line.step_table(made_up_lines.walk(60, generator(seed)), FRAME).assign(layer=1, variant="")
        found = number_line.breaks(steps, AGAINST)
        t += found.loc[found["step"] == 9, "t"].tolist()
        plain = number_line.breaks(steps, AGAINST, effects=())
        assert plain.loc[plain["step"] == 9, "percentile"].min() > 97
    assert np.abs(t).max() < 4


def test_the_weakest_wording_counts_and_layers_are_corrected_for_each_step():
    found = pd.DataFrame(
        dict(step=[17] * 4 + [18] * 4, layer=[1, 1, 2, 2] * 2, p=[0.01, 0.2, 0.01, 0.02, 0.5, 0.6, 0.7, 0.1])
    )
    table = number_line.in_every_wording(found).set_index(["step", "layer"])
    assert table["p"].to_dict() == {(17, 1): 0.2, (17, 2): 0.02, (18, 1): 0.6, (18, 2): 0.7}
    assert table["corrected"].to_dict() == pytest.approx({(17, 1): 0.2, (17, 2): 0.04, (18, 1): 0.7, (18, 2): 0.7})


def test_over_all_layers_a_step_has_the_mean_of_its_t_and_the_range_of_its_wordings():
    rows = [(step, "man", w, layer, step * w + layer) for step in (1, 2) for w in (1, 3) for layer in (0, 2)]
    found = pd.DataFrame(rows, columns=["step", "kind", "variant", "layer", "t"])
    top, second = number_line.over_all(found).to_dict("records")
    assert top == dict(step=2, t=5, low=3, high=7, rank=1, p=0.5)
    assert (second["step"], second["rank"], second["p"]) == (1, 2, 1)


def test_tokens_of_the_item_are_counted_and_not_those_of_the_prompt():
    prompts = [Prompt.fill("w1 {entity} w2", text) for text in ("w3", "w3 w4 w5")]
    assert number_line.token_counts(
        tiny_model(), pd.DataFrame({"prompt": pd.Series(prompts, dtype=object)})
    ).tolist() == [1, 3]


# --- figures


def test_the_figures_draw_every_step_and_mark_the_one_that_is_asked_for():
    mpl.use("agg")
    import matplotlib.pyplot as plt

    steps = number_line.step_table(made_up_lines.walk(20, generator()), FRAME)
    found = pd.concat(number_line.breaks(steps.assign(layer=layer, variant="a"), AGAINST) for layer in (1, 2))
    found["family"] = np.where(found["kind"].isin(FAMILIES["people"]), "people", "routes")
    known = dict(people=True, routes=False)
    tables = {name: number_line.over_all(found[found["family"] == name]) for name in FAMILIES}
    number_figures.standing_out(tables, 17, known)
    above, below = plt.gcf().axes
    assert len(above.lines[0].get_xdata()) == 100 and above.lines[1].get_xdata().tolist() == [17]
    assert "not known" in below.get_title() and any("17|18 (no." in text.get_text() for text in above.texts)
    number_figures.ranks(found, 17, known)
    assert plt.gcf().axes[0].get_ylabel() == "percentile of 17|18"
    number_figures.by_layer(found, 17, known)
    assert plt.gcf().axes[0].collections[0].get_array().shape == (2, 100)
    rows = FRAME.assign(family=np.where(PEOPLE, "people", "routes"))
    number_figures.pictures(generator().normal(size=(3, 404, 5)), rows, [0, 2])
    assert sum(len(c.get_offsets()) for axes in plt.gcf().axes[:2] for c in axes.collections) == 404
    residuals = pd.DataFrame(dict(layer=1, domain="age", cluster=[1, 1, 2], residual=[1.0, 3, -1]))
    number_figures.residuals(residuals, dict(age=True))
    assert plt.gcf().axes[0].lines[0].get_ydata().tolist() == [2, -1]
    plt.close("all")
