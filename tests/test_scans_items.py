"""Scenes and items: known answers, no leak between splits, and pictures that are what their rows say."""

import numpy as np
import pytest

from medlib import scans
from medlib.errors import MedlibError
from medlib.scans import items, other_pictures, volumes
from medlib.scans.slices import SIZE, sample

SCENES = 400


@pytest.fixture(scope="module")
def made():
    return {split: scans.make_scenes(split, SCENES, seed=4) for split in scans.SPLITS}


def lesions(table):
    return table[table.lesion]


def test_slices_of_training_and_of_what_is_held_out_are_millimetres_apart():
    for plane in items.RANGES:
        train, held = (np.array(items.positions(plane, part)) for part in ("train", "held-out"))
        assert np.abs(train[:, None] - held[None]).min() >= 3


def test_no_held_out_scene_uses_a_slice_a_radius_or_a_part_of_a_picture_of_training(made):
    for split in scans.SPLITS[1:]:
        slices = [
            set(map(tuple, made[name].loc[made[name].kind != "other", ["plane", "position"]].to_numpy()))
            for name in ("train", split)
        ]
        assert slices[0] and slices[1] and not slices[0] & slices[1]
        train, held = lesions(made["train"]).radius, lesions(made[split]).radius
        assert not ((train > held.min()) & (train < held.max())).any()
        assert set(made[split].part) - {""} == {"held-out"}
    assert set(made["train"].part) - {""} == {"train"}
    (_, end), (begin, _) = other_pictures.PARTS["train"], other_pictures.PARTS["held-out"]
    assert end < begin


def test_the_other_template_is_in_its_own_split_alone(made):
    used = {split: set(table.template) - {""} for split, table in made.items()}
    assert used == {"train": {"icbm2009c"}, "held-out": {"icbm2009c"}, "other-template": {"icbm2009a"}}


def test_yes_and_no_left_and_right_bright_and_dark_are_balanced():
    table = scans.make_items("train", 1500, seed=2)
    for kind in ("lesion", "side", "polarity"):
        shares = table[table.question_kind == kind].answer.value_counts(normalize=True)
        assert len(shares) == 2
        assert abs(shares.iloc[0] - 0.5) < 0.07, kind


def test_every_answer_is_one_of_its_kind_and_every_answer_occurs():
    table = scans.make_items("train", 1500, seed=2)
    for kind, part in table.groupby("question_kind"):
        assert set(part.answer) == set(items.QUESTIONS[kind][1]), kind


def test_the_same_row_gives_the_same_bytes_and_scenes_do_not_depend_on_their_neighbours(made):
    again = scans.make_scenes("train", 3, seed=4, first=20)
    assert again.reset_index(drop=True).equals(made["train"].iloc[20:23].reset_index(drop=True))
    for number in range(20, 23):
        first, second = (scans.draw(row)[0] for row in (made["train"].iloc[number], items.scene("train", number, 4)))
        assert first.tobytes() == second.tobytes()
        assert first.shape == (SIZE, SIZE, 3)


def plain(row):
    """The scene without noise and rotation, so that pictures can be compared."""
    return dict(row) | dict(noise=0.0, gamma=1.0, gain=1.0)


def test_the_mask_lies_where_the_lesion_was_painted_and_the_picture_changes_nowhere_else(made):
    for _, row in lesions(made["held-out"]).head(12).iterrows():
        with_it, mask = scans.draw(plain(row))
        without, none = scans.draw(plain(row) | dict(lesion=False))
        changed = (with_it != without).any(axis=-1)
        assert not none.any() and mask.sum() > 20
        assert changed[mask].mean() > 0.8
        grown = np.abs(np.argwhere(mask)[:, None] - np.argwhere(changed)[None]).max(axis=-1).min(axis=0)
        assert grown.max() <= 2
        inside, around = with_it[mask].mean(), without[mask].mean()
        assert inside > around if row.polarity == "bright" else inside < around


def test_a_masks_side_and_lobe_are_the_answers(made):
    for _, row in lesions(made["held-out"]).head(40).iterrows():
        mask = scans.draw(row)[1]
        volume, view = volumes.load(row.template), items.view_of(row)
        right = sample((np.arange(volume.t1.shape[0])[:, None, None] + 0 * volume.t1, volume.origin), view)[mask].mean()
        if row.side:
            shown = (right - volume.origin[0]) * (-1 if row.mirrored else 1)
            assert (shown < 0) == (row.side == "left")
        if row.lobe:
            found = sample((volume.lobe, volume.origin), view, order=0)[mask]
            assert np.bincount(found, minlength=5).argmax() == list(volumes.LOBES).index(row.lobe) + 1


def test_a_mirrored_scene_is_the_flipped_picture_with_the_other_side(made):
    rows = lesions(made["train"])
    row = plain(rows[(rows.plane == "axial")].iloc[0])
    other = items.mirror(row)
    assert {row["side"], other["side"]} == {"left", "right"}
    (picture, mask), (flipped, mask_flipped) = scans.draw(row), scans.draw(other)
    assert np.array_equal(mask[:, ::-1], mask_flipped)
    assert np.abs(picture[:, ::-1].astype(int) - flipped).max() <= 1
    answers = {one["question_kind"]: one["answer"] for one in items.questions(other)}
    assert answers["side"] == other["side"]


def test_a_sagittal_slice_is_asked_no_side_and_cannot_be_mirrored(made):
    rows = lesions(made["train"])
    row = rows[rows.plane == "sagittal"].iloc[0]
    assert row.side == "" and not row.mirrored
    with pytest.raises(MedlibError, match="no left and right"):
        items.mirror(row)


def test_the_mark_is_around_the_structure_and_is_the_only_colour(made):
    rows = made["held-out"][made["held-out"].kind == "mark"]
    for _, row in rows.head(6).iterrows():
        picture, _ = scans.draw(row)
        ring = np.argwhere((picture == items.RING).all(axis=-1))
        middle = ring.mean(axis=0).round().astype(int)
        volume = volumes.load(row.template)
        regions = sample((volume.regions, volume.origin), items.view_of(row), order=0)
        assert regions[tuple(middle)] in volumes.structure_numbers(row.structure)
        coloured = (picture != picture[..., :1]).any(axis=-1)
        assert coloured.sum() == len(ring)


def test_an_unknown_split_is_refused():
    with pytest.raises(MedlibError, match="train, held-out, other-template"):
        scans.make_scenes("test", 1)
