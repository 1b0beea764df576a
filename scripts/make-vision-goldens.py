"""Makes test/golden/vision-more: vision encoders that the other goldens do not hold (DINOv2 with registers and a gated
feed-forward, SigLIP at other sizes, features of several layers) and image processors of each kind, run by transformers;
and test/golden/fusion: cross-attention, transformer layers and resampling by torch. Offline, seeded, seconds.

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
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
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


if __name__ == "__main__":
    made = {f.__name__.replace("_", "-"): f for f in [vision_more, fusion]}
    for wanted in sys.argv[1:] or made:
        made[wanted]()
