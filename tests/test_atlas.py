"""The atlas: every cloud is measured once, in its own template, and labelled with where it came from."""

import numpy as np
import pandas as pd
import pytest

from medlib import MedlibError, Prompt, geometry, stats
from medlib.chapters import atlas


@pytest.fixture
def frame():
    """Forty items in two templates, the rows in no order."""
    rows = pd.DataFrame([(f"item {i}", template) for template in ("a", "b") for i in range(40)])
    return rows.set_axis(["item", "variant"], axis=1).sample(frac=1, random_state=1)


@pytest.fixture
def states(frame):
    return np.random.default_rng(0).normal(size=(3, len(frame), 50))


def size(x, rows):
    return pd.DataFrame([{"n": len(x), "hidden": x.shape[1], "templates": rows["variant"].nunique()}])


def test_every_layer_space_and_template_is_one_cloud(states, frame):
    table = atlas.over(states, frame, size)
    assert len(table) == len(table.drop_duplicates(["layer", "space", "variant"])) == 3 * 2 * 2
    assert set(table["n"]) == {40}
    assert set(table["templates"]) == {1}
    assert table.groupby("space")["hidden"].first().to_dict() == {"raw": 50, "pca30": 30}


def test_a_row_of_the_frame_meets_its_own_states(states, frame):
    def first(x, rows):
        return pd.DataFrame({"item": rows["item"], "value": x[:, 0]})

    table = atlas.over(states, frame, first, spaces=("raw",)).set_index(["layer", "item", "variant"])["value"]
    for position, (item, variant) in enumerate(frame[["item", "variant"]].itertuples(index=False)):
        assert table[2, item, variant] == states[2, position, 0]


def test_only_the_layers_asked_for_are_measured(states, frame):
    assert set(atlas.over(states, frame, size, layers=[1])["layer"]) == {1}


def test_what_templates_do_to_the_states_does_not_reach_a_score(states, frame):
    def score(x, rows):
        return pd.DataFrame([{"value": geometry.silhouette(x, rows["item"].str[-1])}])

    moved = states + 100 * (frame["variant"] == "b").to_numpy()[:, None]
    before, after = (atlas.over(s, frame, score)["value"] for s in (states, moved))
    assert np.allclose(before, after)


def test_states_of_other_prompts_and_unknown_spaces_are_refused(states, frame):
    with pytest.raises(MedlibError, match="for the 79 prompts"):
        atlas.over(states, frame[1:], size)
    with pytest.raises(MedlibError, match="'umap2'; it can hold"):
        atlas.over(states, frame, size, spaces=("raw", "umap2"))


def test_a_layer_counts_by_its_weakest_template_and_layers_are_corrected_by_family():
    tests = pd.DataFrame(
        [
            (label, layer, template, p)
            for label, ps in {"x": [(0.01, 0.02), (0.5, 0.001)], "y": [(0.03, 0.01), (0.04, 0.01)]}.items()
            for layer, both in enumerate(ps)
            for template, p in zip("ab", both, strict=True)
        ],
        columns=["label", "layer", "variant", "p"],
    )
    found = atlas.in_every_template(tests, ["label"]).set_index(["label", "layer"])["p"]
    assert list(found["x"]) == list(stats.benjamini_hochberg([0.02, 0.5]))
    assert list(found["y"]) == list(stats.benjamini_hochberg([0.03, 0.04]))


def test_a_curve_for_each_group_has_the_mean_over_items_and_templates(states, frame):
    def first(x, rows):
        return pd.DataFrame({"item": rows["item"], "value": x[:, 0]})

    curves = atlas.curves(atlas.over(states, frame, first), ["space"], "value")
    raw = curves[curves["space"] == "raw"].set_index("layer")
    assert np.allclose(raw["value"], states[:, :, 0].mean(axis=1))
    assert (raw["low"] < raw["value"]).all()
    assert (raw["n"] == 40).all()
    assert set(curves["space"]) == {"raw", "pca30"}


def test_what_a_score_has_above_shuffled_labels_does_not_grow_with_the_number_of_labels():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 30))
    rows = pd.DataFrame({"item": range(200), "few": np.arange(200) % 4, "many": np.arange(200) % 40})
    means = atlas.silhouettes(x, rows, ["few", "many"]).groupby("label")[["score", "excess"]].mean()
    assert means.loc["many", "score"] < means.loc["few", "score"] - 0.03
    assert means["excess"].abs().max() < 0.01


def test_the_pieces_of_a_name_are_the_tokens_of_the_item_alone(smollm2):
    prompts = [Prompt.fill("{entity} and the rest", name) for name in ("Lisinopril", "Ramipril", "Aspirin")]
    first, second, other = atlas.pieces(smollm2, prompts)
    assert first & second and not first & other
    rest = set(smollm2.tokenizer(" and the rest")["input_ids"])
    assert not rest & (first | second | other)


def test_items_without_a_label_are_left_out():
    x = np.random.default_rng(0).normal(size=(12, 4))
    rows = pd.DataFrame({"item": range(12), "label": ["a", "b", ""] * 4})
    table = atlas.silhouettes(x, rows, ["label"], n=20)
    assert list(table["item"]) == [i for i in range(12) if i % 3 != 2]
    assert table["score"].mean() == pytest.approx(table["silhouette"].iloc[0])


def test_another_labelling_scores_lower_where_the_primary_one_was_planted(states, frame):
    label = frame["item"].str[5:].astype(int) % 4
    states[2] += 6 * np.random.default_rng(1).normal(size=(4, 50))[label]  # the clusters stand in the last layer
    frame = frame.assign(kind=label.to_numpy())
    own = frame.drop_duplicates("item").set_index("item")["kind"]
    draws = [own.where(np.arange(40) >= 10 * draw, (own + 1) % 4) for draw in (1, 2)]
    found = atlas.label_sensitivity(states, frame, "kind", draws).set_index("labelling")
    assert found.changed.to_dict() == {"primary": 0, "others": 10, "random": 10} and (found.n == 40).all()
    assert found.low["primary"] > found.value["others"] and (found.low < found.value).all()


def test_another_right_label_scores_like_the_primary_one_and_a_random_one_lower(states, frame):
    """Labels 0 and 1 name one cluster, so that which of them an item is given matters little."""
    label = frame["item"].str[5:].astype(int) % 6
    states[:] += 6 * np.random.default_rng(1).normal(size=(5, 50))[(label - 1).clip(lower=0)]
    frame = frame.assign(kind=label.to_numpy())
    own = frame.drop_duplicates("item").set_index("item")["kind"]
    found = atlas.label_sensitivity(states, frame, "kind", [own.replace({0: 1, 1: 0})] * 3).set_index("labelling")
    assert abs(found.value["others"] - found.value["primary"]) < 0.02
    assert found.low["others"] > found.value["random"]
