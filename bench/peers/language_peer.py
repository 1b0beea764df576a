"""Language models on CPU: transformers reads (f32), llama.cpp speaks (Q4_0). One JSON request a line on stdin, one JSON
answer a line on stdout.

{"call": "open", "threads": N}                                             -> versions
{"call": "prepare", "work": W, "model": FOLDER, "layers": N, "read": T, "said": S, "context": C} -> {"way": ...}
{"call": "run", "work": W, "read": T, "said": S, "context": C}             -> {"seconds": of all tokens}
{"call": "close"}                                                          -> frees the model
W: read (T tokens at once), speak (S tokens one by one, after C). FOLDER: a LlamaForCausalLM, of which the first N layers
are used; for llama.cpp they are written beside it as GGUF, once.
"""

import ctypes
import json
import os
import sys
import time
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"

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


def write_gguf(folder, layers):
    import gguf

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
    writer.add_tokenizer_model("none")
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


class LlamaCpp:
    def __init__(self, path, context, threads):
        import llama_cpp

        self.library = llama_cpp
        quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        self.quiet = quiet  # kept: C calls it as long as the library lives
        llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), options)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = context
        options.n_threads = options.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        if not self.model or not self.context:
            raise RuntimeError(f"llama.cpp cannot open {path}")
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def decode(self, ids):
        tokens = (self.library.llama_token * len(ids))(*ids)
        if self.library.llama_decode(self.context, self.library.llama_batch_get_one(tokens, len(ids))):
            raise RuntimeError("llama_decode failed")

    def best(self):
        scores = self.library.llama_get_logits_ith(self.context, -1)
        return int(np.ctypeslib.as_array(scores, (self.vocabulary,)).argmax())

    def speak(self, context, said):
        self.library.llama_memory_clear(self.library.llama_get_memory(self.context), True)
        self.decode(token_ids(context, self.vocabulary))
        token = self.best()
        start = time.perf_counter()
        for _ in range(said):
            self.decode([token])
            token = self.best()
        return time.perf_counter() - start

    def close(self):
        self.library.llama_free(self.context)
        self.library.llama_model_free(self.model)


def prepare(request):
    folder, layers = request["model"], request["layers"]
    if request["work"] == "speak":
        path = write_gguf(folder, layers)
        state["speaker"] = LlamaCpp(path, request["context"] + request["said"] + 8, state["threads"])
        return "llama.cpp, Q4_0"
    times = {}
    for way in ("sdpa", "eager"):
        model = load_transformers(folder, layers, way)
        read(model, request["read"])
        times[way] = read(model, request["read"])
        del model
    way = min(times, key=times.get)
    state["reader"] = load_transformers(folder, layers, way)
    return f"transformers, {way}"


def answer(request):
    call = request["call"]
    if call == "open":
        state["threads"] = request["threads"]
        torch.set_num_threads(request["threads"])
        names = ("torch", "transformers", "llama-cpp-python")
        return {
            "versions": {name: version(name) for name in names},
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        }
    if call == "prepare":
        return {"way": prepare(request)}
    if call == "run":
        if request["work"] == "speak":
            return {"seconds": state["speaker"].speak(request["context"], request["said"])}
        return {"seconds": read(state["reader"], request["read"])}
    if "speaker" in state:
        state.pop("speaker").close()
    state.pop("reader", None)
    return {}


for line in sys.stdin:
    try:
        reply = answer(json.loads(line))
    except Exception as error:
        reply = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(reply), flush=True)
