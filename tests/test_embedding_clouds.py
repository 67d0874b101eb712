"""Token clouds and what is measured on them: repeats are counted, planted maps and clouds found, traps shown."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from vision_models import FAMILIES, tiny

from medlib import MedlibError, geometry, results, scans
from medlib.chapters.embedding_geometry import (
    cloud_shapes,
    embedding_figures,
    embedding_tables,
    enough_tokens,
    linear_steps,
    planted_clouds,
    token_clouds,
    two_traps,
)
from medlib.chapters.embedding_geometry.token_clouds import TokenCloud
from medlib.geometry import linear_maps
from medlib.vision import image_prompt, token_states

HIDDEN, SCENES = 8, 15


@pytest.fixture(scope="module")
def items():
    asked = scans.make_items("held-out", 6, seed=0)
    words = {question: f"w{i} w{i + 1} w{i + 2}" for i, question in enumerate(sorted(set(asked["question"])))}
    return asked.assign(question=asked["question"].map(words))  # the tiny tokenizer knows no other words


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return tiny(request.param)


@pytest.fixture(scope="module")
def read(model, items):
    return token_clouds.token_clouds(model, items, 5, seed=1, keep=[0, 2])


def made_up(step="linear", seed=0, n=300, states=3):
    """Two clouds whose steps are known: "linear" adds a linear map of the state, "noise" adds what has no cause."""
    generator = np.random.default_rng(seed)
    clouds = {}
    for kind in ("image", "text"):
        x = generator.normal(size=(n, HIDDEN)) * (1 + np.arange(HIDDEN))
        walk = [x]
        for _ in range(states - 1):
            turned = 0.3 * walk[-1] @ generator.normal(size=(HIDDEN, HIDDEN))
            walk.append(walk[-1] + (turned if step == "linear" else generator.normal(size=x.shape)))
        scene = np.repeat(np.arange(SCENES), n // SCENES)
        clouds[kind] = TokenCloud(np.stack(walk).astype(np.float32), scene, scene, n, 0, 0, {})
    return clouds


# --- the tokens -------------------------------------------------------------------------------------------------------


def test_every_token_of_a_cloud_is_there_once_and_what_was_left_out_is_counted(read, items):
    for kind, cloud in read.items():
        assert not linear_maps.repeated(cloud.states[-1]).any(), kind
        assert cloud.read - cloud.repeats - cloud.spare == cloud.states.shape[1] == len(cloud.scene)
    assert read["image"].states.shape[1] == read["text"].states.shape[1]
    assert read["image"].read == 5 * len(items)
    assert read["image"].repeats == 5 * (len(items) - items["scene"].nunique())  # every further question
    assert read["image"].with_repeats[2].shape == (5 * len(items), tiny().hidden_size)


def test_text_is_fitted_by_wording_and_image_tokens_by_scene(read, items):
    assert (read["image"].fold == read["image"].scene).all()
    text = read["text"]
    assert set(text.fold) <= set(range(items["question"].nunique())) and len(set(text.fold)) > 3
    scenes_of = [set(text.scene[text.fold == one]) for one in set(text.fold)]
    assert max(map(len, scenes_of)) > 1  # one wording under several pictures


def test_states_are_those_of_the_vision_room_and_text_is_what_follows_the_picture(model, read, items):
    first = items[items["scene"] == items["scene"].iloc[0]]
    picture, _ = scans.draw(first.iloc[0])
    prompts = [image_prompt(model, picture, question) for question in first["question"]]
    plain = token_states(model, prompts, sample=5, seed=1)
    np.testing.assert_allclose(
        read["image"].with_repeats[2][: 5 * len(prompts)], plain["image"].states[2], rtol=1e-4, atol=1e-5
    )
    own = token_states(model, prompts)["text"]
    after = own.states[-1][own.tokens["position"].to_numpy() > prompts[0].image[-1]]
    of_first = read["text"].states[-1][read["text"].scene == 0]
    assert all(np.abs(after - row).max(axis=1).min() < 1e-4 for row in of_first)


# --- linear steps -----------------------------------------------------------------------------------------------------


def test_linear_steps_are_the_measures_of_geometry_with_their_chance():
    clouds = made_up("noise")
    table, _ = linear_steps.linear_steps(clouds, [0, 1])
    x, y = (clouds["image"].states[state].astype(float) for state in (0, 1))
    at = table[(table["kind"] == "image") & (table["layer"] == 1)].set_index("metric")
    assert at.value["linearity"] == pytest.approx(geometry.linearity(x, y))
    assert at.value["update_linearity"] == pytest.approx(geometry.update_linearity(x, y))
    assert at.value["procrustes"] == pytest.approx(geometry.procrustes(x, y))
    assert at.control["update_linearity"] == pytest.approx(HIDDEN / (len(x) - 1))
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    assert at.value["update_linearity_held_out"] < 0.02 and at.control["update_linearity_held_out"] < 0.02


def test_a_planted_linear_step_is_found_held_out_and_a_step_without_cause_is_not():
    linear = linear_steps.linear_steps(made_up(), [0])[0].set_index(["kind", "metric"])
    for kind in ("image", "text"):
        assert linear.value[kind, linear_steps.MAIN] == pytest.approx(1, abs=1e-6)
        assert linear.control[kind, linear_steps.MAIN] < 0.05 and linear.control[kind, "procrustes"] < 0.2


def test_tokens_of_one_scene_are_never_on_both_sides_of_a_held_out_fit():
    """Each scene has its own target: known by heart within a scene, unknown to the others."""
    generator = np.random.default_rng(0)
    scene = np.repeat(np.arange(10), 30)
    mark = np.eye(10)[scene]
    x, y = mark + 0.01 * generator.normal(size=(300, 10)), mark @ generator.normal(size=(10, 10))
    assert geometry.linearity(x, y, held_out=True) > 0.9
    left, target = linear_maps.linear_residuals(x, y, held_out=True, groups=scene)
    assert 1 - (left**2).sum() / (target**2).sum() < 0.2


def test_what_is_held_out_is_the_fold_of_the_cloud():
    """What a block adds is known by heart from one wording to the next picture, and not from another wording."""
    generator = np.random.default_rng(0)
    wording, scene = np.repeat(np.arange(10), 30), np.tile(np.arange(15), 20)
    mark = np.eye(10)[wording]
    x = np.hstack([mark, np.zeros((300, 2))]) + 0.01 * generator.normal(size=(300, 12))
    states = np.stack([x, x + mark @ generator.normal(size=(10, 12))]).astype(np.float32)

    def held_out(fold):
        cloud = TokenCloud(states, scene, fold, 300, 0, 0, {})
        table, _ = linear_steps.linear_steps({"image": cloud, "text": cloud}, [0])
        return table[table["metric"] == linear_steps.MAIN]["value"].iloc[0]

    assert held_out(scene) > 0.9 > 0.2 > held_out(wording)


def test_a_block_that_is_linear_by_its_largest_dimensions_alone_is_not_without_them():
    clouds = made_up("noise")
    for kind, cloud in clouds.items():
        states = cloud.states.copy()
        states[1, :, -3:] += 100 * states[0, :, :3]
        clouds[kind] = replace(cloud, states=states)
    table, sums = linear_steps.linear_steps(clouds, [0, 1])
    value = table.set_index(["kind", "layer", "metric"])["value"]
    assert value["text", 1, linear_steps.MAIN] > 0.98 and value["text", 1, linear_steps.FEWER] < 0.1
    error, total = sums["text", linear_steps.FEWER][:, 0].sum(axis=0)
    assert 1 - error / total == pytest.approx(value["text", 1, linear_steps.FEWER])


def test_states_with_few_distinct_tokens_are_left_out_of_differences_and_named():
    clouds = made_up()
    states = clouds["text"].states.copy()
    states[0] = np.tile(states[0, :25], (12, 1))
    clouds["text"] = replace(clouds["text"], states=states)
    steps, sums = linear_steps.linear_steps(clouds, [0, 1])
    shapes, without = cloud_shapes.cloud_shapes(clouds, [0, 1])
    assert set(linear_steps.kinds_apart(sums, steps, [0, 1])["layer"]) == {2}
    assert set(cloud_shapes.kinds_apart(without, shapes, [0, 1])["layer"]) == {1}
    assert enough_tokens.left_out(shapes) == (1, "text tokens at state 0 (25 distinct of 300)")
    kept = enough_tokens.comparable(shapes)
    assert set(kept[kept["kind"] == "text"]["layer"]) == {1} and set(kept[kept["kind"] == "image"]["layer"]) == {0, 1}
    part = shapes[shapes["layer"] == 1].assign(n=np.nan)
    assert len(enough_tokens.comparable(part)) == len(part) and enough_tokens.left_out(part) == (0, "none")


def test_the_score_of_each_picture_is_what_the_intervals_resample():
    _, sums = linear_steps.linear_steps(made_up("noise"), [0, 1])
    sums["text", linear_steps.MAIN][3] = 0.0  # a picture without a token of text
    table = linear_steps.of_pictures(sums, range(100, 100 + SCENES), [0, 1])
    assert table["item"].nunique() == SCENES and len(table) == 4 * SCENES - 2
    row = table[(table["kind"] == "image") & (table["layer"] == 2) & (table["item"] == 104)].iloc[0]
    error, total = sums["image", linear_steps.MAIN][4, 1]
    assert row["value"] == pytest.approx(1 - error / total)


def test_too_few_tokens_give_no_number_but_the_reason():
    clouds = {  # 11 tokens in 8 dimensions: enough in sample, not for four fifths of them
        kind: TokenCloud(cloud.states[:, :11], np.arange(11), np.arange(11), 11, 0, 0, {})
        for kind, cloud in made_up(n=15).items()
    }
    table, sums = linear_steps.linear_steps(clouds, [0])
    held_out = table[table["metric"].isin(linear_steps.HELD_OUT)]
    assert held_out["value"].isna().all() and held_out["reason"].str.contains("is 1 for any data").all()
    assert table.loc[table["metric"] == "linearity", "value"].notna().all()
    assert linear_steps.kinds_apart(sums, table, [0]).empty
    assert linear_steps.peak(sums["image", linear_steps.MAIN], [0]) is None
    assert set(embedding_tables.missing(table)["metric"]) == set(held_out["metric"])


def test_the_kinds_are_told_apart_where_one_is_linear_and_the_peak_is_found():
    clouds = {"image": made_up()["image"], "text": made_up("noise")["text"]}
    steps, sums = linear_steps.linear_steps(clouds, [0, 1])
    found = linear_steps.kinds_apart(sums, steps, [0, 1])
    assert (found["low"] > 0.8).all() and found["layer"].tolist() == [1, 2]
    text, image = (sums[kind, linear_steps.MAIN] for kind in ("text", "image"))
    value, low, high = linear_steps.peak(np.stack([text[:, 0], image[:, 1]], axis=1), [0, 1])
    assert value == low == high == 2


# --- shapes -----------------------------------------------------------------------------------------------------------


def test_shapes_are_the_measures_of_geometry_with_intervals_around_them():
    clouds = made_up("noise")
    table, without = cloud_shapes.cloud_shapes(clouds, [0, 2])
    x = clouds["text"].states[2].astype(float)
    at = table[(table["kind"] == "text") & (table["layer"] == 2)].set_index("metric")
    assert at.value["anisotropy"] == pytest.approx(geometry.anisotropy(x))
    few = geometry.anisotropy(geometry.without_largest(x, cloud_shapes.N_LARGEST))
    assert at.value["anisotropy_without_largest"] == pytest.approx(few)
    assert at.value["mean_cosine"] == pytest.approx(geometry.mean_cosine(x))
    nearest = geometry.two_nn(x)
    for metric, name in (("dimension", "likelihood"), ("dimension_half", "half"), ("dimension_lowest", "lowest")):
        assert at.value[metric] == pytest.approx(nearest[name])
    curves = table[table["metric"].isin(cloud_shapes.CURVES)]
    assert ((curves["low"] < curves["value"]) & (curves["value"] < curves["high"])).all()
    assert without["image", "anisotropy"].shape == (2, 11)


def test_a_gaussian_cloud_has_the_dimension_of_its_control_and_a_curve_has_less():
    clouds = made_up("noise")
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 300)
    curve = np.stack([np.cos(k * angle) for k in range(1, HIDDEN + 1)], axis=1)
    clouds["image"] = replace(clouds["image"], states=curve[None].astype(np.float32))
    table, _ = cloud_shapes.cloud_shapes(clouds, [0])
    at = table[table["metric"] == "dimension"].set_index("kind")
    assert at.value["text"] == pytest.approx(at.control["text"], rel=0.25)
    assert at.value["image"] < 1.5 and at.control["image"] > 4


def test_dealt_dimensions_keep_a_huge_one_and_lose_what_goes_together():
    generator = np.random.default_rng(0)
    huge = generator.normal(size=(300, HIDDEN)) * np.r_[50, np.ones(HIDDEN - 1)]
    together = generator.normal(size=(300, 1)) + 0.1 * generator.normal(size=(300, HIDDEN))
    scene = np.repeat(np.arange(SCENES), 20)
    clouds = {
        kind: TokenCloud(x[None].astype(np.float32), scene, scene, 300, 0, 0, {})
        for kind, x in (("image", huge), ("text", together))
    }
    at = cloud_shapes.cloud_shapes(clouds, [0])[0].set_index(["kind", "metric"])
    assert at.value["image", "anisotropy"] > 0.99 and at.control["image", "anisotropy"] > 0.99
    assert at.value["image", "anisotropy_without_largest"] < 0.4
    assert at.value["text", "anisotropy"] > 0.9 and at.control["text", "anisotropy"] < 0.3


def test_too_few_distinct_tokens_have_no_dimension_but_a_reason():
    clouds = made_up()
    few = np.tile(clouds["text"].states[:, :10], (1, 30, 1))
    clouds["text"] = replace(clouds["text"], states=few)
    table, without = cloud_shapes.cloud_shapes(clouds, [0])
    part = table[(table["kind"] == "text") & table["metric"].str.startswith("dimension")]
    assert part["value"].isna().all() and part["reason"].str.contains("at least 20").all()
    assert (part["duplicates"] == 290).all()
    apart = cloud_shapes.kinds_apart(without, table, [0])
    assert set(apart["metric"]) == set(cloud_shapes.CURVES) - {"dimension"}


def test_kinds_of_one_and_the_same_cloud_do_not_differ():
    clouds = made_up("noise")
    table, without = cloud_shapes.cloud_shapes({"image": clouds["image"], "text": clouds["image"]}, [0])
    apart = cloud_shapes.kinds_apart(without, table, [0])
    assert apart["value"].tolist() == pytest.approx([0] * len(apart)) and (apart["low"] <= 0).all()


# --- the traps and what is planted ------------------------------------------------------------------------------------


def test_linearity_of_few_tokens_is_one_for_states_and_noise_and_falls_to_chance_beyond():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 40, HIDDEN))
    table = two_traps.few_tokens(x, y)
    inside = table[table["score"] == "in sample"]
    assert inside[inside["ratio"] <= 1.2]["value"].to_numpy() == pytest.approx(1, abs=1e-9)
    far = inside[inside["ratio"] > 2.5]
    assert far["value"].to_numpy() == pytest.approx(far["chance"].to_numpy(), abs=0.2)
    assert (table[table["score"] == "held out"]["value"] < 0.2).all()
    assert set(table["data"]) == {"states", "noise"}


def test_the_formula_without_care_agrees_where_there_are_no_copies():
    cloud = planted_clouds.cloud_of(3, 600, 12)
    naive, careful = two_traps.naive_dimensions(cloud), geometry.two_nn(cloud)
    assert naive["likelihood"] == pytest.approx(careful["likelihood"], rel=1e-3)
    assert naive["lowest"] == pytest.approx(careful["lowest"], rel=0.05)
    x, y = np.random.default_rng(0).normal(size=(2, 50, HIDDEN))
    assert two_traps.naive_linearity(x, y) == pytest.approx(geometry.linearity(x, y))


def test_copies_raise_the_line_through_the_lowest_fifth_and_wreck_the_likelihood():
    table = two_traps.with_copies(planted_clouds.cloud_of(4, 500, 12)).set_index(["fit", "share"])
    lowest = table.loc["lowest"]
    assert lowest.value[0.0] == pytest.approx(lowest.clean[0.0]) and lowest.value[0.25] > 1.5 * lowest.clean[0.25]
    assert table.loc["likelihood"].value[0.1:].max() < 0.5
    assert (abs(table["clean"] / 4 - 1) < 0.3).all()


def test_states_as_they_were_read_count_their_repeats(read):
    table = two_traps.as_read(read["image"])
    assert set(table["layer"]) == {0, 2} and (table["repeats"] >= read["image"].repeats).all()
    again = table[table["fit"] == "likelihood"]
    assert (again["value"] < again["clean"]).all()


@pytest.mark.parametrize("size", [(60, HIDDEN), (300, 16), (20, 64)])
def test_every_planted_check_passes_and_too_few_tokens_only_have_to_be_refused(size):
    found = list(planted_clouds.answers(*size))
    assert [name for name, passed, _ in found if not passed] == []
    linear = [name for name, *_ in found if "linear" in name]
    assert len(linear) == (2 if size[0] > size[1] else 0)


# --- figures and tables -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured():
    clouds = made_up("noise")
    steps, sums = linear_steps.linear_steps(clouds, [0, 1])
    shapes, without = cloud_shapes.cloud_shapes(clouds, [0, 1, 2])
    of_steps = linear_steps.kinds_apart(sums, steps, [0, 1])
    apart = pd.concat([of_steps, cloud_shapes.kinds_apart(without, shapes, [0, 1, 2])])
    return steps, shapes, apart, linear_steps.of_pictures(sums, range(SCENES), [0, 1])


def test_the_results_table_holds_values_controls_duplicates_differences_and_traps(measured, read):
    steps, shapes, apart, pictures = measured
    x = made_up("noise")["text"].states.astype(float)
    few, copied = two_traps.few_tokens(x[0], x[1]), two_traps.with_copies(x[0])
    as_read = two_traps.as_read(read["image"])
    as_read["value"] = [np.inf, 0.0, 9.0, 0.0]  # copies can make a line of infinite slope, which no table holds
    table = embedding_tables.results_table(steps, shapes, apart, pictures, few, copied, as_read)
    table = results.tidy(table, model="m", technique="embedding_geometry", seed=0)
    own = table[(table["metric"] == "linearity") & (table["component"] == "image")]
    assert sorted(own["variant"].fillna("").tolist()) == ["", "", "control", "control"]
    assert {"duplicates", "anisotropy_difference", "few_tokens_in_sample", "copies_lowest"} <= set(table["metric"])
    assert table["item"].nunique() == SCENES
    assert len(table[table["metric"].str.startswith("as_read")]) == 2 * len(as_read) - 1


def test_ranges_of_project_b_and_chance_are_rows():
    x = made_up("noise")["text"].states.astype(float)
    few = two_traps.few_tokens(x[0], x[1])
    table = results.tidy(embedding_tables.drawn(few), model="m", technique="embedding_geometry", seed=0)
    own = table.query("metric == 'anisotropy_of_project_b' and component == 'text'").set_index("variant")["value"]
    assert own.to_dict() == {"lowest": 0.08, "highest": 0.13}
    chance = table.query("metric == 'few_tokens_by_chance'")
    assert chance["value"].tolist() == few.query("data == 'noise' and score == 'in sample'")["chance"].tolist()


def test_the_figures_draw_the_curves_their_controls_and_what_b_published(measured):
    steps, shapes, *_ = measured
    metrics = {"update_linearity_held_out": "held out", "update_linearity": "in sample"}
    _, axes = embedding_figures.by_kind(steps, metrics, "linearity")
    lines = axes["image tokens"].lines
    assert [line.get_label() for line in lines[::2]] == ["held out", "in sample"]
    drawn = steps[(steps["kind"] == "image") & (steps["metric"] == "update_linearity")]
    assert lines[3].get_ydata() == pytest.approx(drawn["control"].to_numpy(float))
    assert len(axes["image tokens"].patches) == 1 and len(axes["text tokens"].patches) == 0  # B has no text number
    _, axes = embedding_figures.both_kinds(shapes, {"dimension": "dimension"}, {"dimension": "Gaussian"})
    assert len(axes["dimension"].lines) == 4
    _, axes = embedding_figures.scale(shapes)
    assert len(axes["text tokens"].lines) == 4
    refused = steps.assign(value=None)
    _, axes = embedding_figures.by_kind(refused, metrics, "linearity")
    assert "too few" in axes["text tokens"].texts[0].get_text() and not axes["text tokens"].lines
    x = made_up("noise")["text"].states.astype(float)
    embedding_figures.few_tokens(two_traps.few_tokens(x[0], x[1]))
    embedding_figures.copies(two_traps.with_copies(x[0]))
    plt.close("all")


def test_repeated_rows_are_marked_but_the_first(read):
    x = np.arange(12.0).reshape(4, 3)
    assert linear_maps.repeated(x[[0, 1, 0, 2, 1]]).tolist() == [False, False, True, False, True]
    with pytest.raises(MedlibError, match="one layer at a time"):
        linear_maps.repeated(np.zeros((2, 3, 4)))
    counts = embedding_tables.counts(read, tiny().hidden_size)
    assert counts["kept"].nunique() == 1 and counts["scenes"].max() == 6
