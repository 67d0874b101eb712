"""The benchmark compares like with like: every way of a job gives the same numbers."""

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import medlib

sys.path[:0] = [str(Path(__file__).parent.parent / "benchmarks" / name) for name in ("", "peers")]
import bench  # noqa: E402
import jobs  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402
import scaling  # noqa: E402
import shared  # noqa: E402
import texts  # noqa: E402

QUESTIONS = [("w1 w2 w3 w4 w5", " w6"), ("w9 w8 w7", " w6"), ("w30", " w31")]
PAIR = medlib.Pair("w1 w2 w3 w4 w5", "w1 w2 w9 w4 w5", " w10", " w11")
WORK = {
    "activations": [prompt for prompt, _ in QUESTIONS],
    "lesion": QUESTIONS,
    "patch early": PAIR,
    "patch late": PAIR,
    "saliency": QUESTIONS,
}


@pytest.mark.parametrize("job", jobs.JOBS)
def test_all_ways_of_a_job_give_the_same_numbers(tiny, job):
    largest = float(jobs.logits(tiny, "w1 w2 w3").detach().abs().max())
    plain, careful, ours = (way(tiny, WORK[job]) for way in jobs.JOBS[job].ways.values())
    assert plain.shape == careful.shape == ours.shape and np.ptp(plain) > 0
    assert jobs.JOBS[job].apart(plain, careful, largest) < bench.TOLERANCE
    assert jobs.JOBS[job].apart(plain, ours, largest) < bench.TOLERANCE


@pytest.mark.parametrize("job", jobs.JOBS)
def test_one_number_that_is_off_is_seen(tiny, job):
    plain = jobs.JOBS[job].ways["plain"](tiny, WORK[job])
    other = plain.copy()
    other.flat[np.abs(plain).argmax()] *= 1.5
    assert jobs.JOBS[job].apart(plain, other, 1.0) > bench.TOLERANCE


def test_the_careful_gradients_leave_no_trace(tiny):
    flags = [parameter.requires_grad for parameter in tiny.hf.parameters()]
    jobs.saliency_careful(tiny, QUESTIONS)
    assert [parameter.requires_grad for parameter in tiny.hf.parameters()] == flags
    assert all(parameter.grad is None for parameter in tiny.hf.parameters())


def test_the_share_of_operations_is_one_over_the_factor_of_branches_and_shared_positions():
    layers, positions = 30, 16
    replayed = sum((layers - layer + 1) * (positions - p) for layer in range(1, layers + 1) for p in range(positions))
    assert jobs.sites(layers, positions) == pytest.approx(replayed / (layers * positions) ** 2)
    assert jobs.sites(layers, positions) == pytest.approx((layers + 1) * (positions + 1) / (4 * layers * positions))
    assert jobs.sites(layers, positions, same=12) < 0.1 * jobs.sites(layers, positions)


def test_the_peak_holds_what_was_freed_before_the_end():
    def allocate_and_free():
        return float(torch.ones(8 * 2**20).sum())  # 32 MiB

    found = measure.measured(allocate_and_free)
    assert found["result"] == 8 * 2**20 and found["seconds"] > 0
    assert 30 * 2**20 < found["extra"] < 48 * 2**20 < found["peak"]
    assert measure.measured(lambda: None)["extra"] < 8 * 2**20


def test_there_are_as_many_texts_as_the_jobs_say():
    assert len(set(texts.SENTENCES)) == 64 and len(set(texts.QUESTIONS)) == 16


@pytest.mark.parametrize(("template", "first"), [(texts.EARLY, measure.EARLY), (texts.LATE, measure.LATE)])
def test_the_pairs_have_sixteen_tokens_and_differ_where_they_should(smollm2, template, first):
    pair = texts.pair(smollm2, template, measure.LENGTH, first)
    clean, corrupt = (smollm2.tokenizer(text)["input_ids"] for text in (pair.clean, pair.corrupt))
    assert len(clean) == len(corrupt) == 16
    assert clean[:first] == corrupt[:first] and clean[first] != corrupt[first]


def test_a_pair_that_does_not_exist_is_refused(tiny):
    with pytest.raises(medlib.MedlibError, match="first difference at token 2"):
        texts.pair(tiny, "{drug} w1 w2", 3, 2)


def runs(seconds, extra, result):
    return [dict(seconds=seconds, extra=extra, peak=2 * extra, result=np.array(result))]


def test_a_summary_holds_ratios_and_says_whether_the_target_is_met():
    measured = {"plain": runs(10, 100, [1.0]), "careful": runs(5, 100, [1.0]), "medlib": runs(4, 300, [1.00001])}
    facts = dict(largest=1.0, layers=30, weights=1000)
    summary = bench.summary(jobs.JOBS["lesion"], facts, measured)
    assert summary["met"] and summary["equal"] and summary["reached"] == 0.4
    assert summary["ways"]["medlib"]["of careful"] == 0.8 and summary["ways"]["medlib"]["peak of plain"] == 3
    assert not bench.summary(jobs.JOBS["patch early"], facts, measured)["met"]
    memory = bench.summary(jobs.JOBS["saliency"], facts, measured)
    assert memory["reached"] == 0.3 and not memory["met"]
    assert [row[-1] for row in bench.rows(memory)] == ["", "", "0.300 <= 0.15 MISSED"]


@pytest.mark.parametrize("wrong", [1.001, np.nan])
def test_results_that_differ_or_are_not_numbers_are_not_equal(wrong):
    measured = {"plain": runs(10, 100, [1.0]), "careful": runs(5, 100, [1.0]), "medlib": runs(4, 300, [wrong])}
    facts = dict(largest=1.0, layers=30, weights=1000)
    assert not bench.summary(jobs.JOBS["lesion"], facts, measured)["equal"]


# --- beside the peers -------------------------------------------------------------------------------------------------


def peer_runs(ours, **others):
    """Runs of medlib and of `library_way`s that give its numbers: seconds, or what went wrong."""
    found = {peers.OURS: runs(ours, 100, [[1.0, -2.0]])}
    for name, seconds in others.items():
        library, way = name.split("_")
        found[library, way] = [{"error": seconds}] if isinstance(seconds, str) else runs(seconds, 300, [[1.0, -2.0]])
    return found


def test_the_target_is_held_against_the_fastest_peer_batched_by_hand():
    measured = peer_runs(2, nnsight_documented=40, nnsight_batched=9, pyvene_batched=7, nnsight_resumed=3)
    found = peers.summary("patch early", measured, layers=30)
    assert found["met"] and found["equal"]
    assert found["best"]["batched"] == {"library": "pyvene", "of medlib": 3.5}
    said = peers.verdict(found)
    assert "3.50 times that of pyvene, the best batched by hand; target 3 times: met" in said
    assert "1.50 times that of nnsight, the best resumed" in said and "20.00 times" in said
    assert not peers.summary("patch late", measured, layers=30)["met"]


def test_a_job_that_a_library_cannot_do_is_said_and_is_no_difference():
    found = peers.summary("lesion", peer_runs(2, nnsight_batched=9, pyvene_batched="TypeError: no"), layers=30)
    assert found["equal"] and found["met"]
    assert [row[-1] for row in peers.rows(found)] == ["same", "same", "cannot: TypeError: no"]
    none = peers.summary("lesion", peer_runs(2, pyvene_batched="TypeError: no"), layers=30)
    assert not none["met"] and "no peer" in peers.verdict(none)


@pytest.mark.parametrize("wrong", [[[1.0, -2.1]], [[1.0, np.nan]], [[1.0, -2.0, 0.0]]])
def test_a_peer_with_other_numbers_is_not_equal(wrong):
    measured = {peers.OURS: runs(2, 100, [[1.0, -2.0]]), ("pyvene", "batched"): runs(2, 100, wrong)}
    found = peers.summary("lesion", measured, layers=30)
    assert not found["equal"] and [row[-1][:7] for row in peers.rows(found)] == ["same", "DIFFERS"]


def test_the_floor_of_a_sweep_of_patches_is_the_factor_of_branches_and_shared_positions():
    assert peers.floor("patch early", 30) == pytest.approx(4 * 30 * 16 / (31 * 17))
    assert peers.floor("patch late", 30) > 10 * peers.floor("patch early", 30)


def test_batches_of_prompts_are_filled_on_the_left_and_put_back_in_order():
    prompts = [[7] * n for n in (3, 1, 2, *[4] * shared.ROWS)]
    members, last = [], []
    for batch, inputs in shared.padded(prompts):
        mask = inputs["attention_mask"]
        assert mask.sum(1).tolist() == [len(prompts[i]) for i in batch] and (mask[:, -1] == 1).all()
        assert (inputs["position_ids"][:, -1] + 1).tolist() == mask.sum(1).tolist()
        members.append(batch)
        last.append(mask.sum(1))
    assert shared.in_order(members, last).tolist() == [len(prompt) for prompt in prompts]


@pytest.mark.parametrize("library", peers.PEERS)
def test_a_peer_has_two_ways_of_each_job_and_imports_nothing_of_ours(library):
    tree = ast.parse((peers.HERE / f"with_{library}.py").read_text())
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {module.split(".")[0] for module in modules} <= {library, "shared", "torch", "transformers"}
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {
        f"{job}_{way}" for job in ("activations", "lesion", "patch") for way in ("documented", "batched")
    } <= functions


def test_a_process_runs_the_ways_of_its_library_and_says_what_it_cannot_do(tiny, tmp_path):
    tiny.hf.save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    prompts = [prompt for prompt, _ in QUESTIONS]
    part = {"texts": prompts, "ids": [tiny.tokenizer(prompt)["input_ids"] for prompt in prompts]}
    nothing = {"texts": [""], "ids": [[]]}
    work = {"activations": {"whole": part, "small": part}, "lesion": {"whole": nothing, "small": nothing}}
    (tmp_path / "work.json").write_text(json.dumps(work))
    library = peers.Library("medlib", sys.executable, tmp_path / "model", tmp_path)
    assert library.said()["torch"] == torch.__version__
    found = library("activations", "own")
    assert np.allclose(found["result"], medlib.activations(tiny, prompts)[1:], atol=1e-5)
    assert found["seconds"] > 0 and found["peak"] > found["extra"]
    assert library("lesion", "own")["error"].startswith("MedlibError")
    library.close()
    assert library.process.returncode == 0


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_an_exponent_is_read_off_made_up_times():
    sizes = [4, 8, 16, 32, 64]
    assert scaling.exponent(sizes, [0.01 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    assert scaling.exponent(sizes, [2.0] * 5) == pytest.approx(0)


@pytest.mark.parametrize("sweep", scaling.EXPECTED)
def test_every_sweep_that_is_scaled_runs(sweep):
    size, expected = next(iter(scaling.EXPECTED[sweep].items()))
    found = scaling.curve(sweep, size, expected, factors=(1, 2), rounds=1)
    assert len(found["seconds"]) == 2 and found["seconds"][1] > 0
    assert found["sizes"] == [4, 8]


def test_a_sweep_that_grows_faster_than_expected_is_said():
    row = dict(sweep="patch_sweep", size="layers", sizes=[4, 64], seconds=[1, 9], within=False)
    row |= dict(exponent=2.4, end=2.3, expected=2)
    assert list(scaling.rows([row])) == [
        ["patch_sweep", "layers", "4 .. 64", "1.000 .. 9.000", "2.40", "2.30", "2", "grows faster"]
    ]
