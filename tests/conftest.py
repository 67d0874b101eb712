"""Tiny random models of many families, a small tokenizer, and the embedded model."""

import os

import pytest
import torch
import transformers as tf
from browser import chromium, full_book, once, server, site, this_book, visit  # noqa: F401  fixtures for every file
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import medlib
from medlib.models import embedded, zoo

torch.set_num_threads(1)

VOCABULARY = 64
SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=4, max_position_embeddings=64
)
HEADS = dict(num_attention_heads=4, num_key_value_heads=2)
GEMMA = dict(head_dim=8, sliding_window=4, layer_types=["sliding_attention", "full_attention"] * 2)
LLAVA_IMAGE = 60

# The files that take longest; of those that open the book of this checkout one alone comes at once, and builds it.
LONG = (
    *("access", "execute", "cluster", "adapt", "book", "lesions", "printing", "pages", "neurons_taken_out", "served"),
    *("claims", "safety", "sites", "smollm2", "map_chapter", "concepts", "precision", "geometry", "planted"),
    *("streaming", "figure_data", "book_plotly", "safe_pages", "build_alone", "chat", "reproduction"),
)


def llava_config():
    vision = tf.CLIPVisionConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    text = tf.MistralConfig(**SIZES, **HEADS, sliding_window=None)
    return tf.LlavaConfig(vision_config=vision, text_config=text, image_token_index=LLAVA_IMAGE)


def gemma3_image_config():
    vision = tf.SiglipVisionConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=8,
        patch_size=4,
        vision_use_head=False,
    )
    text = tf.Gemma3TextConfig(**SIZES, **HEADS, **GEMMA)
    tokens = dict(image_token_index=60, boi_token_index=61, eoi_token_index=62)
    return tf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, **tokens)


FAMILIES = {
    "llama": lambda: tf.LlamaConfig(**SIZES, **HEADS),
    "llama-tied": lambda: tf.LlamaConfig(**SIZES, **HEADS, tie_word_embeddings=True),
    "mistral": lambda: tf.MistralConfig(**SIZES, **HEADS, sliding_window=4),
    "qwen2": lambda: tf.Qwen2Config(**SIZES, **HEADS),
    "qwen3": lambda: tf.Qwen3Config(**SIZES, **HEADS, head_dim=8),
    "qwen3-tied": lambda: tf.Qwen3Config(**SIZES, **HEADS, head_dim=8, tie_word_embeddings=True),
    "gemma2": lambda: tf.Gemma2Config(
        **SIZES, **HEADS, **GEMMA, final_logit_softcapping=3.0, attn_logit_softcapping=5.0
    ),
    "gemma3": lambda: tf.Gemma3TextConfig(**SIZES, **HEADS, **GEMMA),
    "gemma3-untied": lambda: tf.Gemma3TextConfig(**SIZES, **HEADS, **GEMMA, tie_word_embeddings=False),
    "gemma3-image": gemma3_image_config,
    "gpt-oss": lambda: tf.GptOssConfig(
        **SIZES | dict(intermediate_size=64),  # a multiple of the 32 numbers that share a scale in MXFP4
        **HEADS,
        **GEMMA,
        num_local_experts=4,
        num_experts_per_tok=2,
        pad_token_id=0,
    ),
    "gpt2": lambda: tf.GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=4, n_head=4, n_positions=64),
    "gpt-neox": lambda: tf.GPTNeoXConfig(**SIZES, num_attention_heads=4),
    "opt": lambda: tf.OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        ffn_dim=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=24,
    ),
    "bloom": lambda: tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=4, n_head=4),
    "granite": lambda: tf.GraniteConfig(**SIZES, **HEADS, logits_scaling=4.0, residual_multiplier=0.5),
    "llava": llava_config,
}
IMAGE = {"gemma3-image", "llava"}
BY_HEAD = {
    "bloom"
}  # hand their blocks a table with an entry for each head of each row, which cannot be cut by position


def tiny_hf(family, attention="sdpa"):
    """A random model of a family, with weights large enough that attention and logits are far from uniform."""
    torch.manual_seed(0)
    config = FAMILIES[family]()
    kind = tf.AutoModelForImageTextToText if family in IMAGE else tf.AutoModelForCausalLM
    if family in ("gpt-oss", "gemma2", "bloom"):  # sinks, soft-capping and ALiBi have no SDPA kernel in transformers
        attention = "eager"
    hf = kind.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for name, parameter in hf.named_parameters():
            if parameter.ndim >= 2 and "vision" not in name:
                parameter.copy_(torch.randn_like(parameter) * 0.25)
    return hf


def word_tokenizer(bos=False):
    """A tokenizer with one token a word, `w0` ... , and a beginning-of-text token where asked."""
    words = ["<pad>", "<bos>", "<unk>", *[f"w{i}" for i in range(VOCABULARY - 3)]]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>"
    )


def tiny_model(family="llama", attention="sdpa", **keywords):
    return medlib.Model(tiny_hf(family, attention), word_tokenizer(), name=family, **keywords)


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return request.param


@pytest.fixture
def tiny():
    return tiny_model()


@pytest.fixture(scope="session")
def smollm2():
    """The embedded model, converted into the cache on first use."""
    return medlib.load("smollm2-135m")


@pytest.fixture(scope="session", params=["smollm2-135m", "gemma-3-270m"])
def embedded_model(request):
    """Each of the embedded models; the second is an extra, which CI installs."""
    entry = zoo.entry(request.param)
    if not embedded.at_hand(entry):
        pytest.skip(f"{request.param} is an extra, under terms of its own; `make gemma` installs it")
    return medlib.load(request.param)


@pytest.fixture
def embedded_tokenizer(embedded_model):
    return embedded_model.tokenizer


def pytest_collection_modifyitems(items):
    """Workers take files in this order: the long ones first, so that none is left with one of them at the end."""
    place = {f"test_{name}": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


def pytest_addoption(parser):
    told = "keep pictures of all pages in _build/screenshots, as CI does"
    parser.addoption("--screenshots", action="store_true", default="CI" in os.environ, help=told)


def pytest_sessionfinish(session, exitstatus):
    """In CI a skipped test is a failed one: nothing may pass unseen."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
