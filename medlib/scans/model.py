"""The model: a vision tower, LLaVA's projector, and a language model that is not ours to change.

Only the tower, the projector and the heads that the tower is trained with are kept, a few megabytes; `assemble` puts
them together with the embedded language model into a folder that `medlib.load` reads, as a
`LlavaForConditionalGeneration` with its processor.  An unused special token of the language model stands for a patch of
the image, so its embedding has no new rows.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.modeling_llava import LlavaMultiModalProjector

from medlib.errors import MedlibError
from medlib.paths import write_atomically
from medlib.scans.items import QUESTIONS
from medlib.scans.slices import SIZE
from medlib.scans.volumes import LOBES

NAME = "scans-llava"
TRAINED = Path(__file__).parent / "trained"
LANGUAGE_MODEL = "smollm2-135m"
IMAGE_TOKEN = "<filename>"  # of code repositories in the language model's training; no user text may hold it
PATCH = 12  # pixels, 20 mm: 100 image tokens.  8 pixels would double what the language model has to read
TOWER = dict(
    hidden_size=160,
    intermediate_size=640,
    num_hidden_layers=6,
    num_attention_heads=5,
    image_size=SIZE,
    patch_size=PATCH,
)
TURN, REPLY, END = "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '" + IMAGE_TOKEN + "\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WEIGHTS, RECORD = "trained.safetensors", "trained.json"
# balanced accuracies on held-out scenes; a map of a lesion that the model does not see would mean nothing
GOALS = {"plane": 0.95, "polarity": 0.9, "lesion": 0.85, "side": 0.85}


class Heads(nn.Module):
    """What the tower is trained with before a language model reads it: logits for each patch, and for the picture.

    `forward(features [scene, patch, hidden])` gives a dict of logits: for each patch `patch_lesion` (1),
    `patch_polarity` (bright, dark), `patch_lobe` (none, then the lobes), `patch_side` (left, right); for the picture
    one of each kind of question.
    """

    def __init__(self, hidden):
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.patch = nn.ModuleDict(
            {
                "patch_lesion": nn.Linear(hidden, 1),
                "patch_polarity": nn.Linear(hidden, 2),
                "patch_lobe": nn.Linear(hidden, 1 + len(LOBES)),
                "patch_side": nn.Linear(hidden, 2),
            }
        )
        self.picture = nn.ModuleDict(
            {kind: nn.Linear(2 * hidden, len(answers)) for kind, (_, answers) in QUESTIONS.items()}
        )

    def forward(self, features):
        features = self.norm(features)
        pooled = torch.cat([features.mean(dim=1), features.amax(dim=1)], dim=-1)
        logits = {name: head(features) for name, head in self.patch.items()}
        return logits | {kind: head(pooled) for kind, head in self.picture.items()}


def build(language, seed=0, tower=None):
    """An untrained model around a language model of transformers, and its heads: `(hf, heads)`.

    >>> hf, heads = build(medlib.load("smollm2-135m").hf, seed=0)

    The language model's own modules are used, not copied, and frozen.  `tower` replaces sizes of `TOWER`.
    """
    vision = CLIPVisionConfig(**TOWER | (tower or {}))
    config = LlavaConfig(
        vision_config=vision,
        text_config=language.config,
        image_token_index=6,
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        vision_feature_layer=-1,  # LLaVA takes the layer before the last; a tower of our own needs none to throw away
        vision_feature_select_strategy="default",
        tie_word_embeddings=bool(language.config.tie_word_embeddings),
    )
    with torch.device("meta"):
        hf = LlavaForConditionalGeneration(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf.model.vision_tower = CLIPVisionModel(config.vision_config)
        hf.model.multi_modal_projector = LlavaMultiModalProjector(config)
        heads = Heads(vision.hidden_size)
    hf.model.language_model, hf.lm_head = language.model, language.lm_head
    language.requires_grad_(False)
    return hf.eval(), heads


def make_processor(tokenizer, size=SIZE, patch=PATCH):
    """LLaVA's processor with CLIP's image processor, from PIL; `size` and `patch` in pixels."""
    images = CLIPImageProcessorPil(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the tower's class token, which "default" takes away again
        image_token=IMAGE_TOKEN,
        chat_template=TEMPLATE,
    )


def refuse_image_token(text):
    """The text, unless it holds what only the processor may write; then `MedlibError`.

    >>> refuse_image_token("Is there a lesion?")
    'Is there a lesion?'
    """
    if found := [token for token in (IMAGE_TOKEN, "<|im_start|>", END) if token in text]:
        raise MedlibError(f"The text holds {found[0]!r}, which marks images or turns for the model. Leave it out.")
    return text


def trained_part(hf, heads):
    """The tensors that training changes, by name: the tower's, the projector's, the heads'."""
    parts = {"vision_tower": hf.model.vision_tower, "multi_modal_projector": hf.model.multi_modal_projector}
    parts["heads"] = heads
    return {
        f"{part}.{name}": tensor
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
        if not name.endswith("position_ids")
    }


def set_trained_part(hf, heads, tensors):
    """Put tensors of `trained_part` in place; `MedlibError` if names or shapes differ."""
    own = trained_part(hf, heads)
    if {name: t.shape for name, t in own.items()} != {name: t.shape for name, t in tensors.items()}:
        raise MedlibError(f"The trained part does not fit the model of {RECORD}; train it again, or fetch it whole.")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def save_trained(hf, heads, folder, training=None):
    """Write the trained part, in float16, with its configuration and hash into a folder.

    `training` (seed, steps, CPU time) goes into trained.json.  The language model is not written.
    """
    folder = Path(folder)
    weights = save({name: t.detach().to(torch.float16).contiguous() for name, t in trained_part(hf, heads).items()})
    write_atomically(folder / WEIGHTS, weights)
    hf.config.save_pretrained(folder)
    record = dict(
        name=NAME,
        sha256=hashlib.sha256(weights).hexdigest(),
        language_model=LANGUAGE_MODEL,
        parameters=sum(t.numel() for name, t in trained_part(hf, heads).items() if not name.startswith("heads")),
        tower=hf.config.vision_config.to_diff_dict(),
        training=training or {},
    )
    write_atomically(folder / RECORD, (json.dumps(record, indent=1) + "\n").encode())


def load_trained(folder, language):
    """The model and heads of a folder that `save_trained` wrote, around a language model: `(hf, heads, record)`.

    `MedlibError` for a missing or damaged folder.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / RECORD).read_text())
        digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        config = LlavaConfig.from_pretrained(folder)
    except OSError as error:
        raise MedlibError(f"{folder} holds no trained model: {WEIGHTS}, {RECORD}, config.json.") from error
    if digest != record["sha256"]:
        raise MedlibError(f"{WEIGHTS} has sha256 {digest}; {RECORD} says {record['sha256']}. Fetch it again.")
    sizes = {name: getattr(config.vision_config, name) for name in TOWER}
    hf, heads = build(language, tower=sizes)
    set_trained_part(hf, heads, load_file(folder / WEIGHTS))
    return hf, heads, record


def assemble(inner, made, sha256, folder=TRAINED):
    """Write the whole model into the folder `made`: the trained part around the language model of the folder `inner`.

    `medlib.load("scans-llava")` does so once, and keeps the folder.  `sha256` is that of the trained part; raises
    `MedlibError` for another, and as `load_trained` does.
    """
    language = AutoModelForCausalLM.from_pretrained(inner, dtype=torch.float32)
    hf, _, record = load_trained(folder, language)
    if record["sha256"] != sha256:
        raise MedlibError(f"{NAME} was trained again: its sha256 is {record['sha256']}, and the zoo says {sha256}.")
    vision = hf.config.vision_config
    processor = make_processor(AutoTokenizer.from_pretrained(inner), vision.image_size, vision.patch_size)
    hf.save_pretrained(made)
    processor.save_pretrained(made)
