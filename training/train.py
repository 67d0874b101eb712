"""Training, in two stages: the tower alone with heads for each patch, then tower and projector in front of the language
model.

    python -m training.train --work _build/training --out medlib/scans/trained

Step n draws its scenes by number from (seed, stage, n), and there is no dropout, so a run that was stopped and resumed
ends with the parameters of one that was not.  A checkpoint is written every minute; the record holds a JSON line for
each printed step.  Stopping a stage by its minutes leaves a checkpoint, and the same command goes on from it.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

import medlib
from medlib.paths import write_atomically
from medlib.scans import items
from medlib.scans.model import LANGUAGE_MODEL, TRAINED, build, save_trained
from training import batches
from training.evaluate import answer_scenes, balanced, heads_held_out

STAGES = ("tower", "language")
FIRST_SCENE = {"tower": 0, "language": 10_000_000}  # so that the two stages see different scenes
WEIGHTS = {"patch_lesion": 100.0, "patch_polarity": 1.0, "patch_lobe": 0.5, "patch_side": 0.5}  # of the heads' losses
PICTURE = 0.3  # weight of each other head's loss: until the patches tell a lesion, what it says of the picture is noise
POSITIVE = 5.0  # weight of a patch that a lesion covers: about one in fifty is
BRIEF = 60  # seconds between checkpoints


def heads_loss(logits, targets):
    """The sum of the heads' losses, and each by name; a head without targets in a batch counts nothing."""
    parts = {}
    for name, found in logits.items():
        wanted = targets[name]
        if name == "patch_lesion":
            covered = wanted > batches.COVERED
            heavy = torch.where(covered, POSITIVE, 1.0) * (covered | (wanted == 0))  # the lesion's edge counts nothing
            parts[name] = functional.binary_cross_entropy_with_logits(found[..., 0], covered.float(), heavy)
        elif (wanted != batches.IGNORE).any():
            parts[name] = functional.cross_entropy(found.flatten(0, -2), wanted.flatten(), ignore_index=batches.IGNORE)
    return sum(WEIGHTS.get(name, PICTURE) * part for name, part in parts.items()), parts


def answers_loss(logits, packed):
    """Cross-entropy of the answers' tokens, the first ones weighted most: a number."""
    each = functional.cross_entropy(logits, packed.target, reduction="none")
    return (packed.weight * each).sum() / packed.weight.sum()


class Trainer:
    """A stage of training: the model, its optimiser, and how many steps are done.

    `stage`: of `STAGES`; `steps`: of the whole stage, which the learning rate follows (warm-up, then a cosine);
    `size`: scenes a step; `rate`: the highest learning rate, of the tower a third in the second stage.
    """

    def __init__(self, hf, heads, tokenizer, stage, steps, size, rate, seed=0):
        self.hf, self.heads, self.tokenizer = hf, heads, tokenizer
        self.stage, self.steps, self.size, self.rate, self.seed = stage, steps, size, rate, seed
        self.done, self.cpu = 0, 0.0
        tower, projector = list(hf.model.vision_tower.parameters()), list(hf.model.multi_modal_projector.parameters())
        late = stage == "language"
        self.groups = [(tower + list(heads.parameters()), 0.3 if late else 1.0), *[(projector, 1.0)] * late]
        groups = [{"params": params, "lr": 0.0} for params, _ in self.groups]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.02)

    def scenes(self):
        """The scenes of the next step."""
        begin = FIRST_SCENE[self.stage] + self.done * self.size
        return [items.scene("train", number, self.seed) for number in range(begin, begin + self.size)]

    def step(self, scenes=None):
        """One step; returns its losses by name.  `scenes` in place of the next ones."""
        began = time.process_time()
        scenes = scenes or self.scenes()
        batch = batches.pictures(scenes, self.hf.config.vision_config.patch_size)
        features = batches.patch_features(self.hf, batch.pixels)
        loss, parts = heads_loss(self.heads(features), batch.targets)
        if self.stage == "language":
            asked = [items.questions(scene, self.seed) for scene in scenes]
            packed = batches.questions(self.tokenizer, asked, features.shape[1])
            logits = batches.answer_logits(self.hf, self.hf.model.multi_modal_projector(features), packed)
            parts["answers"] = answers_loss(logits, packed)
            loss = parts["answers"] + 0.1 * loss
        self.optimiser.zero_grad()
        loss.backward()
        warm = min(1.0, (self.done + 1) / max(1, self.steps // 20))
        slow = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.done / self.steps))
        for group, (params, share) in zip(self.optimiser.param_groups, self.groups, strict=True):
            group["lr"] = self.rate * share * warm * (0.02 + 0.98 * slow)
            torch.nn.utils.clip_grad_norm_(params, 1.0)
        self.optimiser.step()
        self.done += 1
        self.cpu += time.process_time() - began
        return {"loss": loss.item()} | {name: part.item() for name, part in parts.items()}

    def save(self, path):
        state = dict(
            stage=self.stage, done=self.done, cpu=self.cpu, seed=self.seed, optimiser=self.optimiser.state_dict()
        )
        state |= dict(tower=self.hf.model.vision_tower.state_dict(), heads=self.heads.state_dict())
        state["projector"] = self.hf.model.multi_modal_projector.state_dict()
        part = Path(path).with_suffix(".part")
        torch.save(state, part)
        part.replace(path)

    def load(self, path):
        """Go on from a checkpoint; one of an earlier stage gives its parameters alone."""
        state = torch.load(path, weights_only=True)
        self.hf.model.vision_tower.load_state_dict(state["tower"])
        self.hf.model.multi_modal_projector.load_state_dict(state["projector"])
        self.heads.load_state_dict(state["heads"])
        if state["stage"] == self.stage:
            self.optimiser.load_state_dict(state["optimiser"])
            self.done, self.cpu = state["done"], state["cpu"]


def run(trainer, work, minutes, every, held_out):
    """Train a stage to its end or until its minutes of wall time are over; returns whether it is finished."""
    checkpoint, record = work / f"{trainer.stage}.pt", work / "record.jsonl"
    if checkpoint.exists():
        trainer.load(checkpoint)
    lines = record.read_text().splitlines() if record.exists() else []
    kept = [x for x in map(json.loads, lines) if x["stage"] != trainer.stage or x["step"] <= trainer.done]
    write_atomically(record, "".join(json.dumps(line) + "\n" for line in kept).encode())
    began = saved = time.monotonic()
    losses = []
    while trainer.done < trainer.steps and time.monotonic() - began < 60 * minutes:
        losses.append(trainer.step())
        if trainer.done % every == 0 or trainer.done == trainer.steps:
            mean = {name: float(np.mean([x[name] for x in losses if name in x])) for x in losses for name in x}
            line = dict(stage=trainer.stage, step=trainer.done, cpu_s=round(trainer.cpu, 1), **mean)
            line["held_out"] = held_out(trainer)
            with record.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
            losses = []
        if time.monotonic() - saved > BRIEF or trainer.done % every == 0 or trainer.done == trainer.steps:
            trainer.save(checkpoint)
            saved = time.monotonic()
    trainer.save(checkpoint)
    return trainer.done >= trainer.steps


def held_out_numbers(trainer):
    """What is written beside the losses: the heads', and in the second stage the answers', on few held-out scenes."""
    scenes = [items.scene("held-out", number, trainer.seed + 1) for number in range(192)]
    numbers = heads_held_out(trainer.hf, trainer.heads, scenes)
    if trainer.stage == "language":
        table = answer_scenes(trainer.hf, trainer.tokenizer, scenes[:64])
        numbers |= {f"answer_{kind}": float(balanced(part).value) for kind, part in table.groupby("question_kind")}
    return {name: round(value, 4) for name, value in numbers.items()}


def arguments(given=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--work", type=Path, default=Path("_build/training"), help="checkpoints and record")
    parser.add_argument("--out", type=Path, default=TRAINED, help="folder of the trained part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tower-steps", type=int, default=3000)
    parser.add_argument("--tower-minutes", type=float, default=60, help="wall time after which the stage stops")
    parser.add_argument("--tower-scenes", type=int, default=32, help="scenes a step")
    parser.add_argument("--tower-rate", type=float, default=1e-3)
    parser.add_argument("--language-steps", type=int, default=500)
    parser.add_argument("--language-minutes", type=float, default=120)
    parser.add_argument("--language-scenes", type=int, default=8)
    parser.add_argument("--language-rate", type=float, default=1e-3)
    return parser.parse_args(given)


def main(given=None):
    told = arguments(given)
    torch.set_num_threads(told.threads)
    told.work.mkdir(parents=True, exist_ok=True)
    language = medlib.load(LANGUAGE_MODEL, device="cpu")
    hf, heads = build(language.hf, told.seed)
    facts = dict(seed=told.seed, threads=told.threads, torch=torch.__version__)
    for stage, every in zip(STAGES, (200, 100), strict=True):
        options = {name: getattr(told, f"{stage}_{name}") for name in ("steps", "minutes", "scenes", "rate")}
        trainer = Trainer(
            hf, heads, language.tokenizer, stage, options["steps"], options["scenes"], options["rate"], told.seed
        )
        finished = run(trainer, told.work, options["minutes"], every, held_out_numbers)
        facts[stage] = dict(
            steps=trainer.done, scenes=options["scenes"], rate=options["rate"], cpu_s=round(trainer.cpu)
        )
        if not finished:
            print(f"The {stage} stage stopped at step {trainer.done}; run the same command again.")
            return
    hf.config.text_config._name_or_path = LANGUAGE_MODEL  # it was the folder it lay in, which is this machine's own
    save_trained(hf, heads, told.out, facts)
    record = (told.work / "record.jsonl").read_bytes()
    write_atomically(told.out / "record.jsonl", record)
    print(f"The trained part is in {told.out}.")


if __name__ == "__main__":
    main()
