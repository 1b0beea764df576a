"""Language models on CPU by transformers (f32). One JSON request a line on stdin, one JSON answer a line on stdout.

{"call": "open", "threads": N}                                  -> versions
{"call": "gguf", "model": FOLDER, "layers": N}                  -> {"file": in 4 bits for llama.cpp, written once}
{"call": "prepare", "model": FOLDER, "layers": N, "read": T}    -> {"way": ...}
{"call": "run", "read": T}                                      -> {"seconds": of T tokens at once}
{"call": "close"}                                               -> frees the model
FOLDER: a LlamaForCausalLM, of which the first N layers are used.
"""

import json
import os
import sys
import time
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"

import gguf
import numpy as np
import torch
import transformers
from safetensors import safe_open

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

state = {}


def token_ids(count, vocabulary):
    return [(i + 1) * 7919 % vocabulary for i in range(count)]


def load_transformers(folder, layers, way):
    config = transformers.AutoConfig.from_pretrained(folder)
    config.num_hidden_layers = layers
    config._attn_implementation = way
    return transformers.LlamaForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32).eval()


def read(model, tokens):
    ids = torch.tensor([token_ids(tokens, model.config.vocab_size)])
    start = time.perf_counter()
    with torch.inference_mode():
        model(input_ids=ids, use_cache=True, logits_to_keep=1)
    return time.perf_counter() - start


def turned(weight, heads):
    """llama.cpp rotates neighbours, not halves: rows of queries and keys in its order."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_tokenizer(writer, size):
    """The least that node-llama-cpp opens: special tokens, bytes and names. No text is ever read."""
    kinds = gguf.TokenType
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<unk>", "<s>", "</s>", *bytes_]
    tokens += [f"token {i}" for i in range(len(tokens), size)]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * len(bytes_)
    types += [kinds.NORMAL] * (size - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def write_gguf(folder, layers):
    path = os.path.join(folder, f"q4_0-{layers}.gguf")
    if os.path.exists(path):
        return path
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    heads = config["num_attention_heads"]
    writer = gguf.GGUFWriter(path + ".unfinished", "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    write_tokenizer(writer, config["vocab_size"])
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "input_layernorm": "attn_norm",
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "post_attention_layernorm": "ffn_norm",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
    }
    for i in range(layers):
        names.update({f"model.layers.{i}.{key}": f"blk.{i}.{name}" for key, name in parts.items()})
    q4 = gguf.GGMLQuantizationType.Q4_0
    with safe_open(os.path.join(folder, "model.safetensors"), "np") as weights:
        for key, name in names.items():
            weight = weights.get_tensor(f"{key}.weight").astype(np.float32)
            if key.endswith(("q_proj", "k_proj")):
                weight = turned(weight, heads)
            if weight.ndim == 1:
                writer.add_tensor(f"{name}.weight", weight)
            else:
                writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weight, q4), raw_dtype=q4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.rename(path + ".unfinished", path)
    return path


def prepare(folder, layers, tokens):
    times = {}
    for way in ("sdpa", "eager"):
        model = load_transformers(folder, layers, way)
        read(model, tokens)
        times[way] = read(model, tokens)
        del model
    way = min(times, key=times.get)
    state["model"] = load_transformers(folder, layers, way)
    return f"transformers, {way}"


def answer(request):
    call = request["call"]
    if call == "open":
        torch.set_num_threads(request["threads"])
        return {
            "versions": {name: version(name) for name in ("torch", "transformers")},
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        }
    if call == "gguf":
        return {"file": write_gguf(request["model"], request["layers"])}
    if call == "prepare":
        return {"way": prepare(request["model"], request["layers"], request["read"])}
    if call == "run":
        return {"seconds": read(state["model"], request["read"])}
    state.pop("model", None)
    return {}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
