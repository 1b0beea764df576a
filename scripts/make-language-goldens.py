"""Golden numbers of language models beside the contract's: rotary scalings, and small networks read far beyond them.

    python scripts/make-language-goldens.py    # with torch and transformers 5.23

Writes test/golden/llama/rope-more.json, and test/golden/mistral and test/golden/llama-dynamic with what they say.
"""

import json
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

golden = Path(__file__).parent.parent / "test" / "golden"

# Rotary positions of heads of 8 numbers, 64 positions
longrope = {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.6], "long_factor": [1.5, 2.0, 3.0, 4.5]}
llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
trained = "original_max_position_embeddings"
cases = [
    ("longrope within", {"rope_scaling": {**longrope, trained: 32}}, 20),
    ("longrope beyond", {"rope_scaling": {**longrope, trained: 32}}, 60),
    ("longrope, its factor", {"rope_scaling": {**longrope, trained: 32, "factor": 8.0}}, 60),
    ("longrope, its attention factor", {"rope_scaling": {**longrope, trained: 32, "attention_factor": 1.5}}, 60),
    ("longrope, trained length beside it", {"rope_scaling": longrope, trained: 16}, 20),
    ("llama3, trained length beside it", {"rope_scaling": {**llama3, trained: 48}, trained: 16}, 60),
    ("llama3 without a trained length", {"rope_scaling": llama3}, 60),
    ("yarn, trained length beside it", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, trained: 48}, trained: 16}, 60),
    ("yarn without a factor", {"rope_scaling": {"rope_type": "yarn", "factor": None, trained: 16}}, 60),
]
rows = []
for name, config, length in cases:
    # transformers moves fields of the config that it is given: ours stays as it is.
    own = LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=64, **json.loads(json.dumps(config)))
    positions = torch.tensor([[0, 1, 2, 17, length - 1]])
    cos, sin = LlamaRotaryEmbedding(own)(torch.zeros(1), positions)
    rows.append({"name": name, "config": config, "length": length, "cos": cos[0, :, :4].tolist(), "sin": sin[0, :, :4].tolist()})
(golden / "llama" / "rope-more.json").write_text(json.dumps(rows) + "\n")

# Networks
small = dict(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
networks = {
    "mistral": (MistralConfig(**small, num_key_value_heads=2, max_position_embeddings=128, sliding_window=64), 40, 8),
    "llama-dynamic": (
        LlamaConfig(**small, max_position_embeddings=64, rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}),
        300,
        4,
    ),
}
for name, (config, length, more) in networks.items():
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.2)
        ids = torch.randint(3, 96, (1, length))
        logits = model(ids).logits[0, -1]
        said = model.generate(ids, max_new_tokens=more, do_sample=False, eos_token_id=None, pad_token_id=0)[0, length:]
    folder = golden / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    case = {"ids": ids[0].tolist(), "logits": logits.tolist(), "said": said.tolist()}
    (folder / "case.json").write_text(json.dumps(case) + "\n")
