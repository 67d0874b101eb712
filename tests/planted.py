"""A Llama whose weights are written by hand, so that it is known which block carries the answer, and by how much.

The residual stream is a table of named coordinates: who the subject is (one of six), what was carried elsewhere, the
answer, four marks (every token, subjects, the word that asks, the first word), and what the busy block writes.  The
unembedding reads the answer's coordinates alone: answer i has the logit `GAINS[i]` times its coordinate, and every
other word has the logit 0.  So a lesion that takes the answer away leaves the uniform distribution.

Three things make that exact and not merely close.  The norms are the identity: `rms_norm_eps` is 2^80, next to which no
state counts, and their gains are 2^40.  Attention is hard: the asking word looks at the subject alone and every other
word at the first, which holds nothing, in the pair of dimensions that rotary positions turn by 1e-9.  The MLP's
activation is ReLU, and its gates stay clear of zero.  A block that is given no part has weights of zero.
"""

import numpy as np
import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers

import medlib

SUBJECTS = ["insulin", "aspirin", "warfarin", "codeine", "digoxin", "lithium"]
ANSWERS = ["diabetes", "fever", "clots", "pain", "flutter", "mania"]
GAINS = np.array([4.0, 4.5, 5.0, 5.5, 6.0, 6.5])
FILLERS = ["the", "common", "drug", "mostly", "treats", "eases"]
WORDS = ["<pad>", "<unk>", *FILLERS, *SUBJECTS, *ANSWERS]
LAYERS, HEAD, UNITS = 6, 8, 12

SUBJECT, CARRIED, ANSWER = (slice(at, at + 6) for at in (0, 6, 12))
ALWAYS, IS_SUBJECT, ASKS, IS_FIRST = range(18, 22)
BUSY = slice(22, 26)
FILLER = 26
HIDDEN = FILLER + len(FILLERS)


# --- parts of a block -------------------------------------------------------------------------------------------------


def attention(source, target):
    """Attention carries the subject's coordinates `source` to `target` at the word that asks."""

    def write(block):
        part, six = block.self_attn, torch.eye(6)
        part.q_proj.weight[3, ASKS] = 400
        part.q_proj.weight[7, [ALWAYS, ASKS]] = torch.tensor([400.0, -400.0])
        part.k_proj.weight[3, IS_SUBJECT] = part.k_proj.weight[7, IS_FIRST] = 1
        part.v_proj.weight[:6, source] = part.o_proj.weight[target, :6] = six

    return write


def mlp(source, target):
    """The MLP adds the coordinates `source` to `target`, at every token."""

    def write(block):
        block.mlp.gate_proj.weight[:6, ALWAYS] = 1
        block.mlp.up_proj.weight[:6, source] = block.mlp.down_proj.weight[target, :6] = torch.eye(6)

    return write


def backup(block):
    """The MLP writes the answer to the subject that was carried, where nobody wrote it before."""
    gate = block.mlp.gate_proj.weight
    gate[:6, CARRIED], gate[:6, ANSWER], gate[:6, ALWAYS] = 2 * torch.eye(6), -4 * torch.eye(6), -1
    block.mlp.up_proj.weight[:6, ALWAYS] = 1
    block.mlp.down_proj.weight[ANSWER, :6] = torch.eye(6)


def busy(block):
    """Attention and MLP write much, where nobody reads."""
    block.self_attn.v_proj.weight[0, ALWAYS] = 1
    block.self_attn.o_proj.weight[BUSY, 0] = torch.tensor([5.0, -3.0, 0.0, 2.0])
    block.mlp.gate_proj.weight[0, ALWAYS] = block.mlp.up_proj.weight[0, ALWAYS] = 2
    block.mlp.down_proj.weight[BUSY, 0] = torch.tensor([0.0, 4.0, -7.0, 1.0])


def idle(block):
    """Attention and MLP read and compute, and write nothing."""
    generator = torch.Generator().manual_seed(0)
    for name, weight in block.named_parameters():
        if weight.ndim == 2 and not name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.copy_(torch.randn(weight.shape, generator=generator))


CIRCUITS = {
    "attention": {2: idle, 3: attention(SUBJECT, ANSWER), 5: busy},
    "mlp": {2: busy, 4: mlp(SUBJECT, ANSWER), 5: idle},
    "carry, then look up": {2: attention(SUBJECT, CARRIED), 3: busy, 4: idle, 6: mlp(CARRIED, ANSWER)},
    "look up, then carry": {1: mlp(SUBJECT, CARRIED), 2: busy, 4: idle, 5: attention(CARRIED, ANSWER)},
    "with a backup": {1: idle, 2: attention(SUBJECT, CARRIED), 3: attention(SUBJECT, ANSWER), 4: busy, 5: backup},
}


# --- the model and its prompts ----------------------------------------------------------------------------------------


@torch.no_grad()
def planted(circuit, **keywords):
    """The model of one of the `CIRCUITS`, or of a circuit of your own, `{layer: part}`."""
    config = tf.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        intermediate_size=UNITS,
        num_hidden_layers=LAYERS,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=HEAD,
        max_position_embeddings=32,
        rms_norm_eps=2.0**80,
        hidden_act="relu",
        rope_parameters={"rope_type": "default", "rope_theta": 1e12},
    )
    hf = tf.LlamaForCausalLM(config).eval()
    for parameter in hf.parameters():
        parameter.fill_(2.0**40 if parameter.ndim == 1 else 0)
    embedding, head = hf.get_input_embeddings().weight, hf.get_output_embeddings().weight
    embedding[:, ALWAYS] = 1
    for number, word in enumerate(FILLERS):
        embedding[WORDS.index(word), FILLER + number] = 1
    embedding[WORDS.index("the"), IS_FIRST] = 1
    embedding[[WORDS.index("treats"), WORDS.index("eases")], ASKS] = 1
    subjects, answers = ([WORDS.index(word) for word in words] for words in (SUBJECTS, ANSWERS))
    embedding[subjects, SUBJECT], embedding[subjects, IS_SUBJECT] = torch.eye(6), 1
    head[answers, ANSWER] = torch.diag(torch.tensor(GAINS, dtype=head.dtype))
    for layer, part in (CIRCUITS[circuit] if isinstance(circuit, str) else circuit).items():
        part(hf.model.layers[layer - 1])
    return medlib.Model(hf, tokenizer(), name="planted", **keywords)


def tokenizer():
    """One token a word."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tf.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>")


def templates(circuit):
    """Two templates, the longer one first; the MLP alone can answer at the subject's own token only."""
    tail = "" if circuit == "mlp" else " treats"
    return [f"the common drug {{entity}}{tail}", f"the drug {{entity}}{tail}"]


# --- what to expect ---------------------------------------------------------------------------------------------------


def logits(amounts):
    """The logits of all words where the answers' coordinates at the last token are `amounts` [6]."""
    out = np.zeros(len(WORDS))
    out[[WORDS.index(word) for word in ANSWERS]] = GAINS * np.asarray(amounts)
    return out


def log_softmax(values):
    return values - np.log(np.exp(values).sum())


def one(number):
    """The coordinates of the answer of a number, and of no other."""
    return np.eye(6)[number]


def cost(before, after, number):
    """What a lesion costs that turns the answers' coordinates `before` to `after`, by name of the column."""
    intact, left = logits(before), logits(after)
    log_intact, log_left, token = log_softmax(intact), log_softmax(left), WORDS.index(ANSWERS[number])
    return {
        "kl": (np.exp(log_intact) * (log_intact - log_left)).sum(),
        "logprob_drop": log_intact[token] - log_left[token],
        "logit_drop": (intact - left)[token] - (intact - left).mean(),
    }
