"""Evaluation: balanced accuracy by kind of question, beside a blind model, a constant answer and a second template.

    python -m training.evaluate medlib/scans/trained --scenes 600

Blind is the same model with a black picture: what it gets right is in the question.  Balanced accuracy is the mean over
the right answers' accuracies, so a constant answer scores one over their number.  Intervals resample scenes; they say
how sure the number is for pictures made like these, not for other brains.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

import medlib
from medlib.paths import write_atomically
from medlib.scans import items
from medlib.scans.model import GOALS, LANGUAGE_MODEL, load_trained
from medlib.stats import Interval, bootstrap
from training import batches


@torch.no_grad()
def answer_scenes(hf, tokenizer, scenes, blind=False, seed=0, size=8):
    """The model's answers to every question about scenes: a data frame, one row an item.

    `question_kind`, `question`, `answer`, `given` (of the kind's answers the one whose first token is likeliest),
    `free` (whether that token is the likeliest of the whole vocabulary), `scene`.
    """
    firsts = {
        kind: [batches.token_ids(tokenizer, answer)[0] for answer in answers]
        for kind, (_, answers) in items.QUESTIONS.items()
    }
    rows = []
    for begin in range(0, len(scenes), size):
        part = scenes[begin : begin + size]
        pictures = np.stack([items.draw(scene)[0] for scene in part])
        pixels = batches.normalised(pictures * (not blind))
        features = hf.model.multi_modal_projector(batches.patch_features(hf, pixels))
        asked = [items.questions(scene, seed) for scene in part]
        packed = batches.questions(tokenizer, asked, features.shape[1])
        logits = batches.answer_logits(hf, features, packed)[packed.first]
        every = [item | {"scene": scene["scene"]} for scene, group in zip(part, asked, strict=True) for item in group]
        for item, scores in zip(every, logits, strict=True):
            tokens = firsts[item["question_kind"]]
            best = int(scores[tokens].argmax())
            given = items.QUESTIONS[item["question_kind"]][1][best]
            rows.append(item | {"given": given, "free": int(scores.argmax()) == tokens[best]})
    return pd.DataFrame(rows)


@torch.no_grad()
def heads_held_out(hf, heads, scenes):
    """What the tower's heads get right: a dict of balanced accuracies by name, and two AUCs.

    `patch_lesion_auc`: patches without lesion against patches that it covers by a quarter or more; `slice_lesion_auc`:
    plain slices with a lesion against those without, by their likeliest patch.  The first is high as soon as the
    empty corners of a picture are known, the second only where lesions are told from brain.  Heads without targets in
    the scenes are left out.
    """
    logits, targets = [], []
    for begin in range(0, len(scenes), 32):
        batch = batches.pictures(scenes[begin : begin + 32], hf.config.vision_config.patch_size)
        logits.append(heads(batches.patch_features(hf, batch.pixels)))
        targets.append(batch.targets)
    found = {}
    for name in logits[0]:
        score, wanted = (torch.cat([part[name] for part in parts]).numpy() for parts in (logits, targets))
        if name == "patch_lesion":
            sure = (wanted == 0) | (wanted > 0.25)
            found["patch_lesion_auc"] = float(roc_auc_score(wanted[sure] > 0, score[..., 0][sure]))
            plain = np.array([scene["kind"] == "slice" for scene in scenes])
            with_one = wanted[plain].max(axis=1) > 0
            found["slice_lesion_auc"] = float(roc_auc_score(with_one, score[plain, :, 0].max(axis=1)))
        elif len(classes := np.unique(wanted[wanted != batches.IGNORE])):
            said = score.argmax(-1)
            found[name] = float(np.mean([(said[wanted == one] == one).mean() for one in classes]))
    return found


def balanced(table, n=2000, seed=0):
    """Balanced accuracy of items of one kind: an `Interval` (value, low, high), its limits NaN below 3 items."""
    classes = sorted(table.answer.unique())
    wanted = (table.answer.to_numpy()[:, None] == classes).astype(float)
    right = wanted * (table.given == table.answer).to_numpy()[:, None]

    def score(values, axis=0):
        found, all_of = np.split(values.sum(axis=axis), 2, axis=-1)
        return np.nanmean(np.divide(found, all_of, out=np.full_like(found, np.nan), where=all_of > 0), axis=-1)

    values = np.concatenate([right, wanted], axis=1)
    return bootstrap(values, score, n=n, seed=seed) if len(table) >= 3 else Interval(score(values), np.nan, np.nan)


def evaluate(hf, heads, tokenizer, scenes=600, seed=2):
    """One row for each split, view ("seen", "blind") and kind: `accuracy`, `low`, `high`, `items`, `free`, `majority`,
    `majority_accuracy` (of the commonest answer in training), and the heads' numbers by split.
    """
    training = items.make_items("train", 2000, seed)
    common = training.groupby("question_kind").answer.agg(lambda answers: answers.mode()[0])
    rows, of_heads = [], {}
    for split in items.SPLITS[1:]:
        drawn = [items.scene(split, number, seed) for number in range(scenes)]
        of_heads[split] = heads_held_out(hf, heads, drawn)
        for blind in (False, True):
            table = answer_scenes(hf, tokenizer, drawn, blind, seed)
            for kind, part in table.groupby("question_kind"):
                right = balanced(part)._asdict()
                said = dict(split=split, view="blind" if blind else "seen", kind=kind, accuracy=right.pop("value"))
                said |= right | dict(items=len(part), free=part.free.mean(), majority=common[kind])
                rows.append(said | dict(majority_accuracy=balanced(part.assign(given=common[kind]), n=2).value))
    return pd.DataFrame(rows), of_heads


def main(given=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=600)
    parser.add_argument("--threads", type=int, default=2)
    told = parser.parse_args(given)
    torch.set_num_threads(told.threads)
    language = medlib.load(LANGUAGE_MODEL, device="cpu")
    hf, heads, record = load_trained(told.folder, language.hf)
    table, of_heads = evaluate(hf, heads, language.tokenizer, told.scenes)
    print(table.round(3).to_string(index=False))
    seen = table[(table.view == "seen") & (table.split == "held-out")].set_index("kind").accuracy
    for kind, goal in GOALS.items():
        print(f"{kind}: {seen[kind]:.3f}, goal {goal}: {'reached' if seen[kind] >= goal else 'missed'}")
    found = dict(sha256=record["sha256"], scenes=told.scenes, answers=table.to_dict("records"), heads=of_heads)
    write_atomically(told.folder / "evaluation.json", (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
