"""Golden of test/lora.test.ts: PEFT's LoRA on the tiny LLaMA of test/golden/projector-train.

python scripts/make-lora-golden.py   (needs torch, transformers, peft, safetensors)
Writes test/golden/lora: the adapter as PEFT saves it, and logits, loss, gradients and merged weights.
"""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

golden = Path(__file__).parent.parent / "test/golden"
out = golden / "lora"
torch.manual_seed(0)
torch.set_num_threads(1)

base = LlamaForCausalLM.from_pretrained(golden / "projector-train/llm", dtype=torch.float32, attn_implementation="eager")
targets = ["q_proj", "v_proj", "down_proj"]
config = LoraConfig(r=3, lora_alpha=5, lora_dropout=0.0, target_modules=targets, task_type="CAUSAL_LM")
model = get_peft_model(base, config)
with torch.no_grad():  # B starts at 0, which would show nothing
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.3)
model.eval()
model.save_pretrained(out)
(out / "README.md").unlink(missing_ok=True)
saved = json.loads((out / "adapter_config.json").read_text())
saved["base_model_name_or_path"] = "projector-train/llm"  # not where it lay
(out / "adapter_config.json").write_text(json.dumps(saved, indent=2, sort_keys=True) + "\n")

ids = torch.tensor([[1, 17, 42, 5, 60, 33, 2], [1, 9, 9, 12, 50, 3, 2]])
result = model(input_ids=ids, labels=ids)
result.loss.backward()
tensors = {"ids": ids, "logits": result.logits.detach(), "loss": result.loss.detach().reshape(1)}
for name, parameter in model.named_parameters():
    if parameter.grad is not None:
        key = name.replace("base_model.model.", "").replace(".default", "")
        tensors[f"gradient {key}"] = parameter.grad
merged = model.merge_and_unload()
for name, value in merged.state_dict().items():
    if any(f"{target}.weight" in name for target in targets):
        tensors[f"merged {name}"] = value
save_file({name: value.contiguous() for name, value in tensors.items()}, out / "cases.safetensors")
print(json.dumps({name: list(value.shape) for name, value in tensors.items()}, indent=1)[:400])
