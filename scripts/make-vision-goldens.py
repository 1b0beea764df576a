"""Makes test/golden/vision-more: vision encoders that the other goldens do not hold (DINOv2 with registers and a gated
feed-forward, SigLIP at other sizes, features of several layers) and image processors of each kind, run by transformers;
and test/golden/fusion: cross-attention, transformer layers and resampling by torch. Offline, seeded, seconds.

Tolerance of a tensor: max(16 d, 3e-5 rms, 1e-7), with d the largest difference between fp32 and fp64.

python scripts/make-vision-goldens.py [NAME ...]
"""

import copy
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


if __name__ == "__main__":
    made = {f.__name__.replace("_", "-"): f for f in [vision_more]}
    for wanted in sys.argv[1:] or made:
        made[wanted]()
