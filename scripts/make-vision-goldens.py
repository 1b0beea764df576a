"""Makes test/golden/vision-more: vision encoders that the other goldens do not hold (DINOv2 with registers and a gated
feed-forward, SigLIP at other sizes, features of several layers) and image processors of each kind, run by transformers;
test/golden/fusion: cross-attention, transformer layers and resampling by torch; and test/golden/pipeline-llava: a whole
LlavaForConditionalGeneration with the tokenizer of test/golden/tokenizer-own. Offline, seeded, seconds.

Tolerance of a tensor: max(16 d, 3e-5 rms, 1e-7), with d the largest difference between fp32 and fp64.

python scripts/make-vision-goldens.py [NAME ...]
"""

import json
import sys
from importlib import import_module

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from tokenizers import AddedToken, Tokenizer
from transformers import (
    CLIPVisionConfig,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from safetensors.torch import save_file
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

goldens = import_module("make-goldens")
Cases, GOLDEN, both, randomize = goldens.Cases, goldens.GOLDEN, goldens.both, goldens.randomize


def normal(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# Encoders and processors


def run_vision(pixels, **options):
    def run(model):
        dtype = next(model.parameters()).dtype
        out = model(pixels.to(dtype), output_hidden_states=True, **options)
        states = {"hidden_states.1": out.hidden_states[1], "last_hidden_state": out.last_hidden_state}
        return {**states, "embeddings": out.hidden_states[0], "pooler_output": out.pooler_output}
    return run


def vision_more():
    cases = Cases("vision-more")
    dinov2 = randomize(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=40, patch_size=8,
        use_swiglu_ffn=True, num_register_tokens=3, attn_implementation="eager",
    )), 1)
    dinov2.half().save_pretrained(cases.path / "dinov2-registers")
    dinov2.float()
    for name, height, width in [("dinov2-same", 40, 40), ("dinov2-larger", 64, 48), ("dinov2-smaller", 16, 35)]:
        pixels = normal(2, 3, height, width, seed=height)
        outputs = both(run_vision(pixels), dinov2)
        cases.add(name, "Dinov2WithRegistersModel", {"folder": "dinov2-registers"}, outputs, {"pixel_values": pixels})
    siglip = randomize(SiglipVisionModel(SiglipVisionConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=35, patch_size=8,
        attn_implementation="eager",
    )), 2)
    siglip.half().save_pretrained(cases.path / "siglip")
    siglip.float()
    pixels = normal(1, 3, 24, 56, seed=5)
    outputs = both(run_vision(pixels, interpolate_pos_encoding=True), siglip)
    cases.add("siglip-wide", "SiglipVisionModel", {"folder": "siglip"}, outputs, {"pixel_values": pixels})
    processors = {
        "dinov2": (BitImageProcessorPil, {
            "size": {"shortest_edge": 48}, "crop_size": {"height": 42, "width": 42},
            "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225],
        }),
        "siglip": (SiglipImageProcessorPil, {"size": {"height": 40, "width": 40}}),
        "siglip-bilinear": (SiglipImageProcessorPil, {"size": {"height": 24, "width": 72}, "resample": 2}),
        "llava-pad": (LlavaImageProcessorPil, {
            "size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "do_pad": True,
        }),
    }
    for name, (kind, fields) in processors.items():
        config = {"image_processor_type": kind.__name__.removesuffix("Pil"), **fields}
        for file in ["gradient.png", "noise-tall.png", "grey16.png"]:
            image = Image.open(GOLDEN / "images" / "images" / file)
            image = ImageOps.exif_transpose(image).convert("RGB")
            pixels = kind(**fields)(image, return_tensors="np")["pixel_values"][0]
            pixels = torch.from_numpy(np.asarray(pixels))
            args = {"config": config, "image": file}
            cases.add(f"processor-{name}-{file}", kind.__name__, args, {"pixel_values": (pixels, pixels)})
    cases.save()


# Fusions


class Weights:
    """Parameters drawn as they are asked for, in one precision or the other."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn = {}
        self.double = False

    def __call__(self, name, *shape):
        key = f"fusion.{name}"
        if key not in self.drawn:
            scale = 1 / shape[-1] ** 0.5 if len(shape) > 1 else 0.3
            value = scale * torch.randn(shape, generator=self.generator)
            self.drawn[key] = 1 + value if "norm" in name and name.endswith("weight") else value
        return self.drawn[key].double() if self.double else self.drawn[key]

    def linear(self, x, name, out):
        return F.linear(x, self(f"{name}.weight", out, x.shape[-1]), self(f"{name}.bias", out))

    def norm(self, x, name):
        width = x.shape[-1]
        return F.layer_norm(x, (width,), self(f"{name}.weight", width), self(f"{name}.bias", width))

    def attend(self, x, context, name, width, heads, positions=False):
        """torch's own multi-head attention, its four matrices apart."""
        q, k, v = (self.linear(t, f"{name}{part}_proj", width) for t, part in [(x, "q"), (context, "k"), (context, "v")])
        if positions:
            k = k + self(f"{name}positions", context.shape[1], width)
        split = lambda t: t.unflatten(-1, (heads, width // heads)).transpose(1, 2)
        y = F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).flatten(2)
        return self.linear(y, f"{name}out_proj", x.shape[-1])


def onto(x, grid, to):
    """An axis at a time: area average where it shrinks, bilinear where it grows."""
    x = x[:, -grid[0] * grid[1]:]
    x = x.transpose(1, 2).unflatten(-1, grid)
    for axis in (0, 1):
        size = [to[0], x.shape[3]] if axis == 0 else [x.shape[2], to[1]]
        if list(x.shape[2:]) != size:
            x = F.interpolate(x, size, mode="area" if to[axis] < grid[axis] else "bilinear")
    return x.flatten(2).transpose(1, 2)


def unit(x):
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()


def fusion():
    cases = Cases("fusion")
    shapes = {"clip": (10, 12, (3, 3)), "sd": (16, 20, (4, 4)), "sd-c": (16, 20, (4, 4)), "wide": (10, 12, (2, 5)), "asked": (1, 6, None)}
    streams = {name: normal(2, tokens, width, seed=i) for i, (name, (tokens, width, _)) in enumerate(shapes.items())}

    def cross(w, s):
        return s["clip"] + w.attend(s["clip"], s["sd"], "", 24, 3)

    def bare(w, s):
        clip, sd = unit(s["clip"]), w.norm(s["sd"], "normalisation.sd.layer_norm")
        return w.attend(clip, sd, "", 12, 2, positions=True)

    def gated(w, s):
        clip = s["clip"]
        y = w.attend(w.norm(clip, "queries_norm"), w.norm(s["sd"], "context_norm"), "attention.", 12, 4)
        x = clip + torch.tanh(w("attention_gate")) * y
        y = w.linear(F.gelu(w.linear(w.norm(x, "feed_forward_norm"), "fc1", 24)), "fc2", 12)
        return x + torch.tanh(w("feed_forward_gate")) * y

    def small_transformer(w, s):
        own = lambda name: w.linear(s[name], f"adapters.{name}", 16) + w(f"kinds.{name}", 16)
        x = torch.cat([own("clip") + w("positions.clip", 10, 16), own("sd") + w("positions.sd", 16, 16)], 1)
        for i in range(2):
            h = w.norm(x, f"layers.{i}.norm1")
            x = x + w.attend(h, h, f"layers.{i}.attention.", 16, 4)
            x = x + w.linear(F.gelu(w.linear(w.norm(x, f"layers.{i}.norm2"), f"layers.{i}.fc1", 32)), f"layers.{i}.fc2", 16)
        return w.norm(x[:, :10], "norm")

    def class_token(w, s):
        x = (s["sd"] + s["sd-c"]) / 2
        x = w.linear(F.gelu(w.linear(x, "diffusion_projector.0", 14)), "diffusion_projector.2", 12)
        x = torch.cat([s["clip"][:, :1].expand(-1, 16, -1), x], -1)
        return w.linear(F.gelu(w.linear(x, "fusion_head.0", 14)), "fusion_head.2", 12)

    def ensemble(w, s):
        u, c = s["sd"], s["sd-c"]
        weights = torch.softmax(w.linear(s["asked"], "question", 3), -1)
        return sum(weights[..., i:i + 1] * unit(u + g * (c - u)) for i, g in enumerate([0, 1.5, 4]))

    def taps(w, s):
        weights = torch.softmax(w("logits", 3), 0)
        names = ["sd", "clip", "wide"]
        return sum(
            weights[i] * w.linear(onto(s[name], shapes[name][2], (3, 4)), f"adapters.{name}", 18)
            for i, name in enumerate(names)
        )

    def channels(w, s):
        return torch.cat([s["sd"], onto(s["clip"], (3, 3), (4, 4)), onto(s["wide"], (2, 5), (4, 4))], -1)

    def mixed(w, s):
        return 0.25 * onto(s["clip"], (3, 3), (2, 5)) + 0.75 * s["wide"]

    attention = {"queries": "clip", "context": "sd"}
    made = [
        ({"type": "cross-attention", **attention, "width": 24, "heads": 3}, cross),
        ({"type": "cross-attention", **attention, "heads": 2, "residual": False, "positions": "learned",
          "normalisation": {"clip": "l2", "sd": "layer-norm"}}, bare),
        ({"type": "gated-cross-attention", **attention, "heads": 4, "feedForward": 2}, gated),
        ({"type": "transformer", "encoders": ["clip", "sd"], "width": 16, "heads": 4, "feedForward": 2,
          "positions": "learned"}, small_transformer),
        ({"type": "class-token", "classToken": "clip", "diffusion": ["sd", "sd-c"], "hidden": 14}, class_token),
        ({"type": "guidance-ensemble", "unconditional": "sd", "conditional": "sd-c", "question": "asked",
          "guidances": [0, 1.5, 4]}, ensemble),
        ({"type": "pyramid", "encoders": ["sd", "clip", "wide"], "grid": [3, 4], "width": 18}, taps),
        ({"type": "channel-concat", "encoders": ["sd", "clip", "wide"]}, channels),
        ({"type": "additive", "encoders": ["clip", "wide"], "alpha": 0.25, "grid": [2, 5]}, mixed),
    ]
    shared = {name: {"tokens": t, "width": c, "grid": g} for name, (t, c, g) in shapes.items()}
    for i, (config, run) in enumerate(made):
        w = Weights(100 + i)
        single = run(w, streams)
        w.double = True
        double = run(w, {name: value.double() for name, value in streams.items()})
        args = {"config": config, "shapes": shared}
        taken = {name: streams[name].clone() for name in shapes if f'"{name}"' in json.dumps(config)}
        name = f"{config['type']}-{i}"
        cases.add(name, f"fusion.{run.__name__}", args, {"fused": (single, double)}, {**taken, **w.drawn})
    cases.save()


# LLaVA


SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)


def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def special(tokens):
    return {
        str(i): {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        for i, text in tokens.items()
    }


def published(key):
    """A tensor's name as files from before transformers 4.52 have it."""
    key = key.replace("model.language_model.", "language_model.model.").replace("lm_head", "language_model.lm_head")
    key = key.replace("model.vision_tower.", "vision_tower.").replace("model.multi_modal_projector", "multi_modal_projector")
    return key if ".vision_model." in key else key.replace("vision_tower.", "vision_tower.vision_model.")


def pipeline_llava():
    cases = Cases("pipeline-llava")
    tokenizer = Tokenizer.from_file(str(GOLDEN / "tokenizer-own" / "llama.json"))
    tokenizer.add_special_tokens([AddedToken("<pad>", special=True, normalized=False)])
    tokenizer.save(str(cases.path / "tokenizer.json"))
    image_token, pad = tokenizer.token_to_id("<image>"), tokenizer.token_to_id("<pad>")
    write(cases.path / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False,
        "added_tokens_decoder": special({0: "<unk>", 1: "<s>", 2: "</s>", image_token: "<image>", pad: "<pad>"}),
        "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "legacy": True,
        "clean_up_tokenization_spaces": False, "model_max_length": 2048, "tokenizer_class": "LlamaTokenizer",
    })
    model = LlavaForConditionalGeneration(LlavaConfig(
        text_config=LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=512, rms_norm_eps=1e-5, pad_token_id=pad,
        ),
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=28, patch_size=7,
            projection_dim=24,
        ),
        image_token_index=image_token, vision_feature_layer=-2, image_seq_length=16,
        attn_implementation="eager",
    ))
    model.generation_config.pad_token_id = pad
    model.generation_config.eos_token_id = None
    randomize(model, 13)
    model.model.language_model.embed_tokens.weight.mul_(3)
    model.lm_head.weight.mul_(4)
    text = {**model.config.text_config.to_dict(), "rope_theta": 10000.0, "bos_token_id": 1, "eos_token_id": 2}
    text = {key: value for key, value in text.items() if key not in ("rope_parameters", "dtype", "transformers_version")}
    vision = model.config.vision_config.to_dict()
    write(cases.path / "config.json", {
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "image_token_index": image_token,
        "image_seq_length": 16, "projector_hidden_act": "gelu", "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default", "torch_dtype": "float16", "text_config": text,
        "vision_config": {key: value for key, value in vision.items() if key not in ("dtype", "transformers_version")},
    })
    write(cases.path / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": pad})
    state = {published(key): value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, cases.path / "model.safetensors", metadata={"format": "pt"})
    write(cases.path / "preprocessor_config.json", {
        "image_processor_type": "CLIPImageProcessor", "processor_class": "LlavaProcessor", "do_center_crop": True,
        "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True, "resample": 3,
        "rescale_factor": 1 / 255, "crop_size": {"height": 28, "width": 28}, "size": {"shortest_edge": 28},
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    })
    for name, width, height, seed in [("q.png", 96, 64, 1), ("r.png", 50, 90, 2)]:
        goldens.picture(cases.path / "images" / name, width, height, seed)
    asked = [
        ("q.png", "crop", ["What is in the image?"]),
        ("r.png", "crop", ["Is the red dog left of the white cat?"]),
        ("q.png", "pad", ["How many dogs are there? Answer with a number."]),
        ("r.png", "pad", ["Which way is it facing?", "Left.", "Is it night?"]),
    ]
    margin = float("inf")
    for i, (file, fit, turns) in enumerate(asked):
        image = Image.open(cases.path / "images" / file).convert("RGB")
        sized = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
        processor = LlavaImageProcessorPil(**sized, do_pad=True) if fit == "pad" else CLIPImageProcessorPil(**sized)
        pixels = torch.from_numpy(np.stack(processor(image, return_tensors="np")["pixel_values"]))
        prompt = f"{SYSTEM} USER: <image>\n{turns[0]} ASSISTANT:"
        for answer, question in zip(turns[1::2], turns[2::2]):
            prompt += f" {answer}</s>USER: {question} ASSISTANT:"
        ids = tokenizer.encode(prompt).ids
        whole = [token for one in ids for token in ([one] * 16 if one == image_token else [one])]

        def run(model):
            dtype = next(model.parameters()).dtype
            given = torch.tensor([whole])
            out = model.generate(
                input_ids=given, attention_mask=torch.ones_like(given), pixel_values=pixels.to(dtype), max_new_tokens=12,
                min_new_tokens=12, do_sample=False, output_logits=True, return_dict_in_generate=True,
            )
            features = model.model.get_image_features(pixel_values=pixels.to(dtype)).pooler_output
            features = torch.stack(list(features)) if not torch.is_tensor(features) else features
            return {"new_logits": torch.stack(out.logits, 1), "image_features": features, "sequences": out.sequences}

        outputs = both(run, model)
        sequences = outputs.pop("sequences")[0]
        top = outputs["new_logits"][0].topk(2, -1).values
        margin = min(margin, (top[..., 0] - top[..., 1]).min().item())
        new = sequences[0, len(whole):].tolist()
        cases.add(f"case{i}", "image file + question -> greedy answer of 12 tokens", {
            "image": file, "fit": fit, "turns": turns, "prompt": prompt, "prompt_ids": ids, "new_token_ids": new,
            "text": tokenizer.decode(new),
        }, outputs, {"pixel_values": pixels})
    print(f"smallest margin {margin:.3f}")
    cases.save()


if __name__ == "__main__":
    made = {f.__name__.replace("_", "-"): f for f in [vision_more, fusion, pipeline_llava]}
    for wanted in sys.argv[1:] or made:
        made[wanted]()
