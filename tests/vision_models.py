"""Tiny random models of image and text, each with a real processor: LLaVA (resize, crop or padding) and Gemma 3."""

from contextlib import contextmanager

import numpy as np
import torch
import transformers as tf
from conftest import GEMMA, HEADS, SIZES
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

import medlib

SIDE, PATCH = 16, 4  # of the picture the model sees, in pixels: a grid of 4 x 4
FAMILIES = ("llava", "gemma3")
SPECIAL = ["<pad>", "<bos>", "<unk>", "<image>", "<boi>", "<eoi>", "<user>", "<reply>"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<user> {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE {% else %}{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<reply>{% endif %}"
)
SIZES = SIZES | dict(max_position_embeddings=128)


def tokenizer():
    """One token a word: the special tokens, then `w0` ... ; a text begins with <bos>."""
    words = [*SPECIAL, *[f"w{i}" for i in range(SIZES["vocab_size"] - len(SPECIAL))]]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    more = dict(image_token="<image>", boi_token="<boi>", eoi_token="<eoi>")
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        bos_token="<bos>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:],
        extra_special_tokens=more,
    )


def processor(family, padding=False, template=True):
    """A processor as its family has it, on PIL; `padding` pads to a square instead of cropping."""
    text, square = tokenizer(), {"height": SIDE, "width": SIDE}
    placeholder = "<boi>" if family == "gemma3" else "<image>"
    chat = TEMPLATE.replace("IMAGE", placeholder) if template else None
    if family == "gemma3":
        image = Gemma3ImageProcessorPil(size=square)
        return tf.Gemma3Processor(image, text, chat_template=chat, image_seq_length=(SIDE // PATCH) ** 2)
    if padding:
        image = LlavaImageProcessorPil(size=square, do_pad=True, do_center_crop=False)
    else:
        image = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square)
    return tf.LlavaProcessor(
        image,
        text,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=chat,
        num_additional_image_tokens=1,
    )


def config(family):
    tower = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=SIDE)
    if family == "gemma3":
        return tf.Gemma3Config(
            text_config=tf.Gemma3TextConfig(**SIZES, **HEADS, **GEMMA | dict(sliding_window=24)),
            vision_config=tf.SiglipVisionConfig(**tower, patch_size=PATCH // 2),
            mm_tokens_per_image=(SIDE // PATCH) ** 2,
            boi_token_index=4,
            eoi_token_index=5,
            image_token_index=3,
        )
    return tf.LlavaConfig(
        vision_config=tf.CLIPVisionConfig(**tower, patch_size=PATCH),
        text_config=tf.MistralConfig(**SIZES, **HEADS, sliding_window=None),
        image_token_index=3,
    )


def tiny(family="llava", attention="sdpa", padding=False, template=True, dtype=torch.float32):
    """A random model of a family with its processor; weights large enough that what the image holds changes logits."""
    torch.manual_seed(0)
    hf = tf.AutoModelForImageTextToText.from_config(config(family), attn_implementation=attention).eval()
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            if parameter.ndim >= 2:
                parameter.copy_(torch.randn_like(parameter) * (0.35 if "vision" in name else 0.25))
    made = processor(family, padding, template)
    return medlib.Model(hf.to(dtype), made.tokenizer, made, name=family)


def picture(height=40, width=40, seed=0):
    """A picture of random blocks, so that no two patches look alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.NEAREST)


@contextmanager
def carrying(model, number, answer, layer):
    """For the duration one image token alone carries an answer: block `layer` moves what it holds to whoever attends.

    All image features are zero but that token's; no other block writes anything, and this one's attention alone, whose
    values go straight to the direction that the unembedding reads as the answer.
    """
    kept = {name: tensor.clone() for name, tensor in model.hf.state_dict().items()}
    loud = torch.zeros(model.hidden_size, dtype=model.dtype)
    loud[0] = 1

    def features(module, args, output):
        output = torch.zeros_like(output)
        output[:, number] = loud * 5
        return output

    with torch.no_grad():
        for index in range(1, model.n_layers + 1):
            for name, parameter in model.blocks[index - 1].named_parameters():
                if name.endswith(("o_proj.weight", "down_proj.weight")):
                    parameter.zero_()
        attention = model.part(layer, "attention")
        attention.v_proj.weight.zero_()
        half = [len(attention.v_proj.weight) // 2, attention.o_proj.weight.shape[1] // 2]
        attention.v_proj.weight[: half[0], 0] = 1
        attention.v_proj.weight[half[0] :, 2] = 1  # a norm of a single number would have no slope
        attention.o_proj.weight[1, : half[1]] = 1
        attention.o_proj.weight[2, half[1] :] = 1
        row = model.unembedding(slice(None))[0][answer]
        row.zero_()
        row[1] = 3
    handle = model.hf.model.multi_modal_projector.register_forward_hook(features)
    try:
        yield
    finally:
        handle.remove()
        model.hf.load_state_dict(kept)


def plant_unit(model, prompt, layer, unit, token, at, strength=1.0):
    """Let a unit of a block's MLP write one token where its input is like that at positions `at`: a planted neuron."""
    mlp, found = model.part(layer, "mlp"), []
    handle = mlp.register_forward_hook(lambda module, args, output: found.append(args[0]))
    with torch.no_grad():
        model.hf(**prompt.inputs)
        handle.remove()
        like = found[0][0, at].mean(0)
        mlp.gate_proj.weight[unit] = mlp.up_proj.weight[unit] = 2 * like / like.norm()
        row = model.unembedding(torch.tensor([token]))[0][0]
        mlp.down_proj.weight[:, unit] = strength * row / row.norm()
