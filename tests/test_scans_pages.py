"""The page of the model that was trained here says what its evaluation found, met or missed."""

import json

import pandas as pd
import pytest

from medlib.book.pages import scans_pages
from medlib.scans import items


@pytest.fixture
def trained(tmp_path):
    """A folder as training and evaluation leave it, with planted accuracies: all 0.9, and 0.5 with a black picture."""
    rows = [
        dict(split=split, view=view, kind=kind, accuracy=0.9 if view == "seen" else 0.5, low=0.4, high=0.95)
        | dict(items=123, free=1.0, majority=answers[0], majority_accuracy=1 / len(answers))
        for split in items.SPLITS[1:]
        for view in scans_pages.VIEWS
        for kind, (_, answers) in items.QUESTIONS.items()
    ]
    steps = [
        dict(stage=stage, step=step, held_out={"slice_lesion_auc": 0.9, "lesion": 0.8, "answer_lesion": 0.7})
        for stage in ("tower", "language")
        for step in (100, 200)
    ]
    stage = dict(steps=200, scenes=8, rate=1e-3, cpu_s=600)
    training = dict(seed=0, threads=2, torch="2", tower=stage, language=stage)
    record = dict(parameters=2_000_000, language_model="smollm2-135m", sha256="0" * 64, training=training)
    (tmp_path / "trained.json").write_text(json.dumps(record))
    (tmp_path / "evaluation.json").write_text(json.dumps(dict(scenes=600, answers=rows)))
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    return tmp_path


def test_the_page_says_what_was_met_and_what_was_missed(trained, tmp_path):
    scans_pages.write(tmp_path, trained)
    lines = (tmp_path / "scans_verdict.md").read_text().splitlines()
    said = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines if line.startswith("|")}
    assert said["plane"] == "missed" and said["lesion"] == said["side"] == said["polarity"] == "met"
    assert "600 scenes" in lines[-1]
    assert (
        "| lesion | 0.90 (0.40\u00a0to\u00a00.95) | 0.50 (0.40\u00a0to\u00a00.95) | 0.50 | 0.50 | 123 |"
        in (tmp_path / "scans_held_out.md").read_text()
    )
    assert "2,000,000" in (tmp_path / "scans_made.md").read_text()
    for name in ("pictures", "training", "answers"):
        assert (tmp_path / f"scans_{name}.png").stat().st_size > 10_000


def test_every_source_is_shown_with_its_licence():
    shown = scans_pages._sources()
    assert all(pd.notna(one["licence"]) for one in scans_pages.sources.SOURCES.values())
    assert shown.count("\n") == 2 + len(scans_pages.sources.SOURCES)
