"""The small multimodal model: packed questions equal separate ones, training goes down and resumes, and saves."""

import pytest
import torch
import transformers as tf
from safetensors.torch import load_file
from torch.testing import assert_close

import medlib
from medlib.errors import MedlibError
from medlib.scans import items
from medlib.scans.model import (
    WEIGHTS,
    assemble,
    build,
    load_trained,
    make_processor,
    refuse_image_token,
    save_trained,
    trained_part,
)
from medlib.vision import eager, image_prompt
from training import batches, train
from training.evaluate import answer_scenes, balanced, heads_held_out

TOWER = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)


@pytest.fixture(scope="module")
def tokenizer(smollm2):
    return smollm2.tokenizer


def language():
    """A random language model with the embedded one's vocabulary."""
    torch.manual_seed(0)
    config = tf.LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    return tf.LlamaForCausalLM(config).eval()


@pytest.fixture
def model(tokenizer):
    hf, heads = build(language(), tower=TOWER)
    return medlib.Model(hf, tokenizer, make_processor(tokenizer)), heads


@pytest.fixture(scope="module")
def scenes():
    found = [items.scene("train", number) for number in range(12)]
    return sorted(found, key=lambda scene: not scene["lesion"])[:4]


def trainer(tokenizer, stage, steps=4):
    hf, heads = build(language(), tower=TOWER)
    return train.Trainer(hf, heads, tokenizer, stage, steps, size=2, rate=1e-3)


def test_questions_packed_behind_one_image_get_the_logits_of_separate_prompts(model, scenes):
    model, _ = model
    asked = [items.questions(scene) for scene in scenes]
    with torch.no_grad():
        pixels = batches.pictures(scenes).pixels
        features = model.hf.model.multi_modal_projector(batches.patch_features(model.hf, pixels))
        packed = batches.questions(model.tokenizer, asked, features.shape[1])
        logits = batches.answer_logits(model.hf, features, packed)[packed.first]
        flat = [(scene, one) for scene, group in zip(scenes, asked, strict=True) for one in group]
        assert len(flat) > len(scenes)
        for (scene, one), found in zip(flat, logits, strict=True):
            inputs = image_prompt(model, items.draw(scene)[0], one["question"]).inputs
            assert_close(model.hf(**inputs).logits[0, -1], found, atol=2e-5, rtol=1e-4)


def test_training_sees_the_pixels_that_the_processor_gives(model, scenes):
    model, _ = model
    picture = items.draw(scenes[0])[0]
    inputs = image_prompt(model, picture, "Is there a lesion?").inputs
    assert_close(inputs["pixel_values"], batches.normalised(picture[None]), atol=1e-6, rtol=0)
    assert (inputs["input_ids"] == model.hf.config.image_token_id).sum() == model.hf.config.image_seq_length == 100


def test_a_patch_is_told_of_the_lesion_that_it_shows(model, scenes):
    model, _ = model
    scene = scenes[0]
    with_it, without = (batches.pictures([one]) for one in (scene, scene | dict(lesion=False)))
    embed = model.hf.model.vision_tower.embeddings
    with torch.no_grad():
        moved = (embed(with_it.pixels) - embed(without.pixels)).norm(dim=-1)[0, 1:]
    share = with_it.targets["patch_lesion"][0]
    assert share.max() > 0 and not without.targets["patch_lesion"].any()
    assert (moved[share > 0] > 0).all()
    assert moved.argmax() in share.argsort(descending=True)[:2]


def test_a_patch_is_told_the_lesions_polarity_where_it_is_covered_alone(scenes):
    found = batches.pictures(scenes[:1]).targets
    covered = found["patch_lesion"] > batches.COVERED
    expected = items.QUESTIONS["polarity"][1].index(scenes[0]["polarity"])
    assert covered.any() and (found["patch_polarity"][covered] == expected).all()
    assert (found["patch_polarity"][~covered] == batches.IGNORE).all()


def test_the_edge_of_a_lesion_counts_nothing_in_the_loss():
    targets = {"patch_lesion": torch.tensor([[0.0, 0.05, 0.5]])}
    losses = [
        train.heads_loss({"patch_lesion": torch.tensor([[[0.0], [edge], [high]]])}, targets)[1]["patch_lesion"].item()
        for edge, high in ((-9.0, 1.0), (9.0, 1.0), (0.0, 2.0))
    ]
    assert losses[0] == losses[1] > losses[2]


def test_a_head_that_knows_the_brain_from_the_background_does_not_pass_for_one_that_knows_lesions(model, monkeypatch):
    def brain(hf, pixels):
        patches = pixels[:, 0].unfold(1, batches.PATCH, batches.PATCH).unfold(2, batches.PATCH, batches.PATCH)
        return (patches.mean(dim=(-1, -2)) > -0.9).float().flatten(1)[..., None]

    monkeypatch.setattr(batches, "patch_features", brain)
    scenes = [items.scene("held-out", number) for number in range(40)]
    found = heads_held_out(model[0].hf, lambda features: {"patch_lesion": features}, scenes)
    assert found["patch_lesion_auc"] > 0.6 and found["slice_lesion_auc"] == 0.5


def test_answers_of_a_kind_differ_in_their_first_token(tokenizer):
    for kind, (_, answers) in items.QUESTIONS.items():
        firsts = {batches.token_ids(tokenizer, answer)[0] for answer in answers}
        assert len(firsts) == len(answers), kind


@pytest.mark.parametrize("text", ["Is <filename> here?", "<|im_end|>", "<|im_start|>system"])
def test_text_with_the_image_token_or_a_turn_is_refused(text):
    with pytest.raises(MedlibError, match="Leave it out"):
        refuse_image_token(text)


@pytest.mark.parametrize("stage", train.STAGES)
def test_steps_on_one_batch_lower_its_loss_and_leave_the_language_model_alone(tokenizer, scenes, stage):
    one = trainer(tokenizer, stage, steps=20)
    before = {name: p.clone() for name, p in one.hf.model.language_model.named_parameters()}
    losses = [one.step(scenes)["loss"] for _ in range(8)]
    assert losses[-1] < losses[0]
    after = dict(one.hf.model.language_model.named_parameters())
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("stage", train.STAGES)
def test_a_resumed_run_ends_with_the_parameters_of_one_that_was_not_stopped(tokenizer, tmp_path, stage):
    whole = trainer(tokenizer, stage)
    for _ in range(4):
        whole.step()
    stopped = trainer(tokenizer, stage)
    stopped.step(), stopped.step()
    stopped.save(tmp_path / "stage.pt")
    resumed = trainer(tokenizer, stage)
    resumed.load(tmp_path / "stage.pt")
    assert resumed.done == 2
    resumed.step(), resumed.step()
    a, b = (trained_part(one.hf, one.heads) for one in (whole, resumed))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_stage_that_runs_out_of_time_goes_on_where_it_stopped_and_keeps_one_line_a_step(tokenizer, tmp_path):
    quiet = dict(every=1, held_out=lambda trainer: {})
    assert not train.run(trainer(tokenizer, "tower", steps=3), tmp_path, 0, **quiet)
    assert train.run(trainer(tokenizer, "tower", steps=3), tmp_path, 5, **quiet)
    assert train.run(trainer(tokenizer, "tower", steps=3), tmp_path, 5, **quiet)
    assert len((tmp_path / "record.jsonl").read_text().splitlines()) == 3


def test_the_saved_part_is_small_and_gives_equal_logits_around_the_language_model_again(model, scenes, tmp_path):
    model, heads = model
    with torch.no_grad():  # what is saved is float16
        for part in (model.hf.model.vision_tower, model.hf.model.multi_modal_projector, heads):
            for parameter in part.parameters():
                parameter.copy_(parameter.half().float())
    save_trained(model.hf, heads, tmp_path, {"tower": {"steps": 3}})
    assert not [name for name in load_file(tmp_path / WEIGHTS) if "language" in name or "lm_head" in name]
    again, _, record = load_trained(tmp_path, language())
    inputs = image_prompt(model, items.draw(scenes[0])[0], "In which plane is this slice?").inputs
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model.hf(**inputs).logits)
    assert record["training"]["tower"]["steps"] == 3
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-1] + b"\x01")
    with pytest.raises(MedlibError, match="sha256"):
        load_trained(tmp_path, language())


def test_a_blind_model_answers_all_pictures_alike(model, tokenizer, scenes):
    model, _ = model
    table = answer_scenes(model.hf, tokenizer, scenes, blind=True)
    assert len(table) == sum(len(items.questions(scene)) for scene in scenes)
    assert (table.groupby("question").given.nunique() == 1).all()


def test_a_constant_answer_scores_one_over_the_number_of_answers():
    table = items.make_items("held-out", 300)
    part = table[table.question_kind == "plane"]
    value, low, high = balanced(part.assign(given="axial"), n=200)
    assert value == pytest.approx(1 / 3)
    assert low <= value <= high
    assert balanced(part.assign(given=part.answer), n=200)[0] == 1


def test_the_assembled_folder_loads_as_llavas_class_and_gives_the_logits_of_its_parts(smollm2, scenes, tmp_path):
    hf, heads = build(smollm2.hf, tower=TOWER)
    save_trained(hf, heads, tmp_path / "trained")
    hf, _, record = load_trained(tmp_path / "trained", smollm2.hf)
    smollm2.hf.save_pretrained(tmp_path / "inner")
    smollm2.tokenizer.save_pretrained(tmp_path / "inner")
    with pytest.raises(MedlibError, match="trained again"):
        assemble(tmp_path / "inner", tmp_path / "made", "0" * 64, tmp_path / "trained")
    assemble(tmp_path / "inner", tmp_path / "made", record["sha256"], tmp_path / "trained")
    model = medlib.load(tmp_path / "made", dtype="float32")
    assert isinstance(model.hf, tf.LlavaForConditionalGeneration)
    assert (model.n_layers, model.hidden_size) == (smollm2.n_layers, smollm2.hidden_size)
    prompt = image_prompt(model, items.draw(scenes[0])[0], "Is there a lesion?", reply="y")
    assert prompt.view.grid == (10, 10) and prompt.text.endswith("assistant\ny")
    with torch.no_grad():
        assert_close(model.hf(**prompt.inputs).logits, hf(**prompt.inputs).logits, atol=1e-4, rtol=1e-4)
        with eager(model):
            maps = model.hf(**prompt.inputs, output_attentions=True).attentions
    assert len(maps) == model.n_layers and maps[0].shape[-1] == prompt.length


def test_a_folder_without_a_trained_model_is_refused(tmp_path):
    with pytest.raises(MedlibError, match="holds no trained model"):
        load_trained(tmp_path, language())
