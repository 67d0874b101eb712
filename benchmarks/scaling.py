"""How the time of medlib's sweeps grows with layers, tokens, pairs and prompts, on random Llama models.

    python benchmarks/scaling.py [--quick]

Each of the four sweeps is timed while one size grows to 16 times its base and the others stay.  The exponent is the
slope of log(time) over log(size), by least squares, and beside it that of the last doubling; expected is what the count
of operations says for large sizes.  A smaller one means that what does not grow still weighs; a sweep that grows faster
than it should is said, and the exit status is 1.
"""

import argparse
import json
import sys
import time

import bench
import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import medlib

FACTORS = (1, 2, 4, 8, 16)
BASE = {"layers": 4, "tokens": 16, "pairs": 4, "prompts": 16}
ROUNDS = 3  # the fastest counts
SLACK = 0.3  # an exponent may lie above the expected one by so much
VOCABULARY, HIDDEN = 256, 256
# sweep: size that grows -> expected exponent
EXPECTED = {
    "activations": {"layers": 1, "tokens": 1, "prompts": 1},
    "lesion_sweep": {"layers": 2, "tokens": 1, "prompts": 1},  # block l is run for the l - 1 lesions below it
    "patch_sweep": {"layers": 2, "tokens": 2, "pairs": 1},  # as many sites as layers and tokens, each half the model
    "weight_saliency": {"layers": 1, "tokens": 1, "prompts": 1},
}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="up to 4 times the base, one round")
    given = arguments.parse_args()
    factors, rounds = (FACTORS[:3], 1) if given.quick else (FACTORS, ROUNDS)
    torch.set_num_threads(1)
    console = Console()
    facts = {"load before": bench.load()} | bench.machine() | {"model": f"random Llama, width {HIDDEN}", **BASE}
    found = []
    with console.status("") as status:
        for sweep, sizes in EXPECTED.items():
            for size, expected in sizes.items():
                status.update(f"{sweep} against {size}")
                found.append(curve(sweep, size, expected, factors, rounds))
    facts["load after"] = bench.load()
    console.print(table(found))
    write(facts, found)
    console.print(f"Written to {bench.FOLDER.relative_to(bench.FOLDER.parent.parent)}")
    if fast := [f"{row['sweep']} with {row['size']}" for row in found if not row["within"]]:
        sys.exit(f"Grows faster than expected: {', '.join(fast)}.")


def curve(sweep, size, expected, factors, rounds):
    """Times of one sweep while one size grows: sizes, CPU seconds, the exponent and whether it is as expected."""
    sizes = [BASE[size] * factor for factor in factors]
    seconds = []
    for n in sizes:
        run = job(sweep, **(BASE | {size: n}))
        run()
        seconds.append(min(timed(run) for _ in range(rounds)))
    slope, end = exponent(sizes, seconds), exponent(sizes[-2:], seconds[-2:])
    found = dict(sweep=sweep, size=size, sizes=sizes, seconds=seconds, exponent=slope, end=end, expected=expected)
    return found | {"within": slope <= expected + SLACK}


def exponent(sizes, seconds):
    """The slope of log(seconds) over log(size), by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def timed(run):
    start = time.process_time()
    run()
    return time.process_time() - start


def job(sweep, layers, tokens, pairs, prompts):
    """A sweep to be run, over texts of so many tokens; the prompts of a pair differ from the first token on."""
    model = random_model(layers)
    draw = np.random.default_rng(0)

    def text():
        return " ".join(f"w{word}" for word in draw.integers(VOCABULARY - 1, size=tokens))

    if sweep == "patch_sweep":
        bodies = [text().split(" ", 1)[1] for _ in range(pairs)]
        asked = [medlib.Pair(f"w1 {body}", f"w2 {body}", " w3", " w4") for body in bodies]
        return lambda: medlib.patch_sweep(model, asked)
    asked = [text() for _ in range(prompts)]
    answers = [[" w3"] * prompts] if sweep == "weight_saliency" else []
    return lambda: getattr(medlib, sweep)(model, asked, *answers)


def random_model(layers):
    """A Llama of random weights, and a tokenizer with a token for each word `w0`, `w1`, ..."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    words = {"<pad>": 0} | {f"w{i}": i + 1 for i in range(VOCABULARY - 1)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<pad>")
    return medlib.Model(LlamaForCausalLM(config).eval(), tokenizer, name=f"random Llama, {layers} layers")


COLUMNS = ("sweep", "grows", "from .. to", "CPU s", "exponent", "at the end", "expected", "")


def rows(found):
    """The cells of the table, as text."""
    for row in found:
        yield [
            row["sweep"],
            row["size"],
            f"{row['sizes'][0]} .. {row['sizes'][-1]}",
            f"{row['seconds'][0]:.3f} .. {row['seconds'][-1]:.3f}",
            f"{row['exponent']:.2f}",
            f"{row['end']:.2f}",
            str(row["expected"]),
            "" if row["within"] else "grows faster",
        ]


def table(found):
    drawn = Table(*COLUMNS, title="Time against size", title_justify="left", box=box.SIMPLE_HEAD)
    for row in rows(found):
        drawn.add_row(*row)
    return drawn


def write(facts, found):
    bench.FOLDER.mkdir(parents=True, exist_ok=True)
    whole = {"machine": facts, "slack": SLACK, "curves": found}
    (bench.FOLDER / "scaling.json").write_text(json.dumps(whole, indent=1) + "\n")
    lines = ["# How medlib's sweeps grow", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    lines += [f"| {' | '.join(line)} |" for line in [COLUMNS, ["---"] * len(COLUMNS), *rows(found)]]
    (bench.FOLDER / "scaling.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
