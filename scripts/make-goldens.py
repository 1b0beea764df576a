"""Makes test/golden/{pipeline-sdxl,pipeline-v,pipeline-layouts,unet-switches}: tiny networks with random weights, run by
diffusers. Needs torch, diffusers 0.42.1, transformers 5, safetensors and Pillow; offline, seeded, some minutes.

Tolerance of a tensor: max(16 d, 3e-5 rms, 1e-7), with d the largest difference between fp32 and fp64.

python scripts/make-goldens.py [NAME ...]
"""

import copy
import json
import math
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.models import embeddings
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

torch.set_num_threads(1)
torch.set_grad_enabled(False)
GOLDEN = Path(__file__).resolve().parent.parent / "test" / "golden"
TOKENIZER = GOLDEN / "pipeline-sd21" / "tokenizer"
SAMPLERS = {
    "ddim": DDIMScheduler,
    "pndm": PNDMScheduler,
    "euler": EulerDiscreteScheduler,
    "dpm++": DPMSolverMultistepScheduler,
}

# Weights and precision


def randomize(module, seed, half=True):
    """Weights of about unit gain, so that every one of them is noticed; rounded to what f16 (and bf16) holds."""
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        r = torch.randn(p.shape, generator=g)
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.1 * r
        elif p.ndim == 1:
            value = 0.1 * r
        elif "embedding.weight" in name:
            value = 0.5 * r
        else:
            value = r / math.sqrt(p[0].numel())
        value = value.half().float() if half else value.bfloat16().half().float()
        p.copy_(value)
    return module.eval()


_single = embeddings.get_timestep_embedding


def _double(timesteps, embedding_dim, flip_sin_to_cos=False, downscale_freq_shift=1, scale=1, max_period=10000):
    half = embedding_dim // 2
    exponent = -math.log(max_period) * torch.arange(half, dtype=torch.float64) / (half - downscale_freq_shift)
    angle = scale * timesteps[:, None].double() * torch.exp(exponent)[None]
    parts = [torch.cos(angle), torch.sin(angle)] if flip_sin_to_cos else [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, dim=-1)


def both(run, *modules):
    """run(*modules) in fp32, and in fp64 with sinusoids in fp64: name -> (f32, f64)."""
    single = run(*modules)
    embeddings.get_timestep_embedding = _double
    try:
        double = run(*[doubled(m) for m in modules])
    finally:
        embeddings.get_timestep_embedding = _single
    return {name: (value, double[name]) for name, value in single.items()}


def doubled(module):
    if hasattr(module, "components"):
        parts = {
            name: copy.deepcopy(part).double() if isinstance(part, torch.nn.Module) else copy.deepcopy(part)
            for name, part in module.components.items()
        }
        return quiet(type(module)(**parts, **EXTRA.get(type(module), {})))
    return copy.deepcopy(module).double()


EXTRA = {
    StableDiffusionPipeline: {"requires_safety_checker": False},
    StableDiffusionXLPipeline: {"add_watermarker": False},
}


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


# Files


class Cases:
    def __init__(self, folder):
        self.path = GOLDEN / folder
        self.folder = folder
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        self.cases = []
        self.tensors = {}

    def add(self, name, what, args, outputs=None, inputs=None):
        case = {"name": name, "what": what, "args": args, "inputs": {}, "outputs": {}}
        for key, value in (inputs or {}).items():
            tensor = f"{name}/input/{key}"
            self.tensors[tensor] = value.contiguous()
            case["inputs"][key] = {"tensor": tensor, "shape": list(value.shape), "dtype": str(value.dtype)[6:]}
        for key, (single, double) in (outputs or {}).items():
            tensor = f"{name}/output/{key}"
            d = (single.double() - double.double()).abs().max().item()
            rms = single.double().square().mean().sqrt().item()
            self.tensors[tensor] = single.float().contiguous()
            case["outputs"][key] = {
                "tensor": tensor,
                "shape": list(single.shape),
                "dtype": "float32",
                "std": float(f"{single.std().item():.4g}") if single.numel() > 1 else 0,
                "atol": float(f"{max(16 * d, 3e-5 * rms, 1e-7):.3g}"),
                "fp32_vs_fp64": float(f"{d:.3g}"),
            }
        self.cases.append(case)

    def save(self):
        save_file(self.tensors, self.path / "cases.safetensors")
        head = {"folder": self.folder, "files": ["cases.safetensors"]}
        lines = ",\n".join(f"  {json.dumps(case)}" for case in self.cases)
        text = json.dumps(head, indent=1)[:-2] + f',\n "cases": [\n{lines}\n ]\n}}\n'
        (self.path / "cases.json").write_text(text)
        total = sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())
        print(f"{self.folder}: {len(self.cases)} cases, {total / 1000:.0f} kB")


def picture(path, width, height, seed):
    g = np.random.default_rng(seed)
    image = Image.new("RGB", (width, height), tuple(int(v) for v in g.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        x, y = int(g.integers(0, width)), int(g.integers(0, height))
        r = int(g.integers(4, 24))
        draw.ellipse([x - r, y - r, x + r, y + r], fill=tuple(int(v) for v in g.integers(0, 255, 3)))
    path.parent.mkdir(exist_ok=True)
    image.save(path)


def tokenizers(folder, names):
    for name, pad in names.items():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        for file in ["vocab.json", "merges.txt"]:
            shutil.copyfile(TOKENIZER / file, target / file)
        for file in ["tokenizer_config.json", "special_tokens_map.json"]:
            config = json.loads((TOKENIZER / file).read_text())
            config["pad_token"] = pad
            (target / file).write_text(json.dumps(config, indent=1) + "\n")
    return [CLIPTokenizer.from_pretrained(folder / name) for name in names]


# Taps


def tap_names(unet):
    """module path -> long tap id."""
    names = {}

    def vit(path, module, prefix):
        names[path] = f"{prefix}-vit-out"
        for k, _ in enumerate(module.transformer_blocks):
            block = f"{path}.transformer_blocks.{k}"
            names[block] = f"{prefix}-vit-block{k}-out"
            for attn, kind in [("attn1", "self"), ("attn2", "cross")]:
                for letter in "qkv":
                    names[f"{block}.{attn}.to_{letter}"] = f"{prefix}-vit-block{k}-{kind}-{letter}"
            names[f"{block}.ff.net.0"] = f"{prefix}-vit-block{k}-ffn-inner"

    for stage, blocks in [("down", unet.down_blocks), ("up", unet.up_blocks)]:
        for i, block in enumerate(blocks):
            for j, _ in enumerate(block.resnets):
                names[f"{stage}_blocks.{i}.resnets.{j}"] = f"{stage}-level{i}-repeat{j}-res-out"
            for j, module in enumerate(getattr(block, "attentions", [])):
                vit(f"{stage}_blocks.{i}.attentions.{j}", module, f"{stage}-level{i}-repeat{j}")
    for j, _ in enumerate(unet.mid_block.resnets):
        names[f"mid_block.resnets.{j}"] = f"mid-repeat{j}-res-out"
    vit("mid_block.attentions.0", unet.mid_block.attentions[0], "mid")
    return names


def run_unet(unet, sample, t, states, added=None):
    """-> every tap as the golden README lays it out, with cross scores."""
    names = tap_names(unet)
    seen, grids, hooks = {}, {}, []
    modules = dict(unet.named_modules())
    for path, name in names.items():
        def hook(module, args, output, name=name):
            seen[name] = output[0] if isinstance(output, tuple) else output
        hooks.append(modules[path].register_forward_hook(hook))
        if path.split(".")[-2] == "attentions":
            def grid(module, args, name=name):
                grids[name.removesuffix("-vit-out")] = args[0].shape[2:]
            hooks.append(modules[path].register_forward_pre_hook(grid))
    dtype = next(unet.parameters()).dtype
    kwargs = {} if added is None else {"added_cond_kwargs": {k: v.to(dtype) for k, v in added.items()}}
    out = unet(sample.to(dtype), torch.as_tensor(t), states.to(dtype), **kwargs).sample
    for hook in hooks:
        hook.remove()
    result = {}
    for path, name in names.items():
        value = seen[name]
        if path.endswith(".to_k") and "attn2" in path:
            block = modules[path.removesuffix(".to_k")]
            q, k = (
                v.unflatten(2, (block.heads, -1)).transpose(1, 2) for v in (seen[name[:-1] + "q"], value)
            )
            result[name.replace("cross-k", "cross-score")] = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if value.ndim == 3:
            height, width = grids[name.split("-vit-")[0]]
            if value.shape[1] == height * width and "cross-k" not in name and "cross-v" not in name:
                value = value.transpose(1, 2).unflatten(2, (height, width))
        result[name] = value
    result["unet-out"] = out
    return result


# Pipelines


def text_states(pipe, prompt):
    if isinstance(pipe, StableDiffusionXLPipeline):
        states, _, pooled, _ = pipe.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
        return states, pooled
    return pipe.encode_prompt(prompt, "cpu", 1, False)[0], None


def noisy(pipe, image, size, t, seed, vae="mean"):
    width, height = size
    dtype = pipe.unet.dtype
    pixels = pipe.image_processor.preprocess(image, height, width).to(dtype)
    g = torch.Generator().manual_seed(seed)
    encoded = pipe.vae.encode(pixels)
    if not hasattr(encoded, "latent_dist"):
        latent = encoded.latents
    elif vae == "sample":
        mean, std = encoded.latent_dist.mean, encoded.latent_dist.std
        latent = mean + std * torch.randn(mean.shape, generator=g).to(dtype)
    else:
        latent = encoded.latent_dist.mode()
    latent = latent * pipe.vae.config.scaling_factor
    noise = torch.randn(latent.shape, generator=g).to(dtype)
    schedule = DDPMScheduler.from_config(pipe.scheduler.config)
    return schedule.add_noise(latent, noise, torch.tensor([t]))


def look(pipe, image, prompt, size, t, seed, vae="mean"):
    states, pooled = text_states(pipe, prompt)
    added = None
    if pooled is not None:
        width, height = size
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[height, width, 0, 0, height, width]])}
    return run_unet(pipe.unet, noisy(pipe, image, size, t, seed, vae), t, states, added)


def features(cases, name, pipe, image, prompt, taps, *, size, t, seed, vae="mean", guidance=None, ensemble=1):
    source = Image.open(cases.path / "images" / image).convert("RGB")

    def run(pipe):
        def mean(text):
            draws = [look(pipe, source, text, size, t, seed + k, vae) for k in range(ensemble)]
            return {tap: torch.stack([draw[tap] for draw in draws]).mean(0) for tap in taps}

        c = mean(prompt)
        u = mean("") if guidance is not None else None
        out = {}
        for tap in taps:
            if u is None:
                out[f"{tap}.c"] = c[tap]
            else:
                out[f"{tap}.u"] = u[tap]
                out[f"{tap}.s"] = u[tap] + guidance * (c[tap] - u[tap])
        return out

    args = {"image": image, "prompt": prompt, "timestep": t, "seed": seed, "size": list(size), "vae": vae, "ensemble": ensemble}
    if guidance is not None:
        args["guidance"] = guidance
    cases.add(name, "image + prompt -> features", args, both(run, pipe))


def scores(cases, name, pipe, image, prompts, *, size, timesteps, seed, trials=1, padding=True, pooling="keys"):
    source = Image.open(cases.path / "images" / image).convert("RGB")

    def run(pipe):
        rows = []
        for prompt in prompts:
            ids = pipe.tokenizer(prompt, truncation=True, max_length=77).input_ids
            of_time = []
            for i, t in enumerate(timesteps):
                of_trial = []
                for k in range(trials):
                    seen = look(pipe, source, prompt, size, t, seed + i + k * len(timesteps))
                    layers = [value for key, value in seen.items() if key.endswith("cross-score")]
                    if not padding:
                        layers = [value[..., : len(ids)] for value in layers]
                    dim = -1 if pooling == "keys" else -2
                    of_trial.append(torch.stack([v.logsumexp(dim).mean() for v in layers]).mean())
                of_time.append(torch.stack(of_trial).mean())
            rows.append(torch.stack(of_time).mean())
        return {"score": torch.stack(rows)}

    args = {
        "image": image, "prompts": prompts, "timesteps": timesteps, "seed": seed, "size": list(size),
        "trials": trials, "padding": padding, "pooling": pooling,
    }
    cases.add(name, "image + prompts -> alignment scores", args, both(run, pipe))


def words(cases, name, pipe, image, prompt, wanted, *, size, timesteps, seed):
    """wanted: label -> the positions of its tokens."""
    source = Image.open(cases.path / "images" / image).convert("RGB")
    width, height = (side // pipe.vae_scale_factor for side in size)

    def run(pipe):
        times = []
        for t in timesteps:
            seen = look(pipe, source, prompt, size, t, seed)
            maps = []
            for key, value in seen.items():
                if not key.endswith("cross-score"):
                    continue
                grid = seen[key.replace("cross-score", "cross-q")].shape[2:]
                tokens = value.softmax(-1).mean(1).transpose(1, 2).unflatten(2, grid)
                wide = F.interpolate(tokens, (height, width), mode="bicubic", align_corners=False)
                maps.append(wide.clamp(min=0)[0])
            times.append(torch.stack(maps).mean(0))
        tokens = torch.stack(times).mean(0)
        return {label: tokens[at].mean(0) for label, at in wanted.items()}

    args = {"image": image, "prompt": prompt, "timesteps": timesteps, "seed": seed, "size": list(size), "words": wanted}
    cases.add(name, "image + prompt -> word maps", args, both(run, pipe))


def generated(cases, name, pipe, prompt, *, size, seed, steps, cfg, scheduler=None, negative=None):
    width, height = size

    def run(pipe):
        own = pipe.scheduler
        if scheduler:
            pipe.scheduler = SAMPLERS[scheduler].from_config(own.config)
        factor = pipe.vae_scale_factor
        shape = (1, pipe.unet.config.in_channels, height // factor, width // factor)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        result = pipe(
            prompt, negative_prompt=negative, height=height, width=width, num_inference_steps=steps,
            guidance_scale=cfg, latents=noise.to(pipe.unet.dtype), output_type="latent",
        )
        pipe.scheduler = own
        latent = result.images
        if cases.cases[-1]["what"] == "text -> image":
            return {"latent": latent}  # decoding is seen once
        return {"latent": latent, "decoded": pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample}

    args = {"prompt": prompt, "negative": negative, "steps": steps, "cfg": cfg, "seed": seed, "size": list(size)}
    if scheduler:
        args["scheduler"] = scheduler
    cases.add(name, "text -> image", args, both(run, pipe))


def vae_of(seed, **more):
    config = {
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
        "block_out_channels": [4, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4,
    }
    return randomize(AutoencoderKL(**{**config, **more}), seed)


def text_config(**more):
    return CLIPTextConfig(**{
        "vocab_size": 600, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, **more,
    })


def save_half(pipe, path):
    copy_of = type(pipe)(
        **{
            name: copy.deepcopy(part).half() if isinstance(part, torch.nn.Module) else part
            for name, part in pipe.components.items()
            if not name.startswith("tokenizer")
        },
        **{name: pipe.components[name] for name in pipe.components if name.startswith("tokenizer")},
        **EXTRA[type(pipe)],
    )
    kept = {}
    for name in ["tokenizer", "tokenizer_2"]:
        if (path / name).exists():
            kept[name] = {f.name: f.read_bytes() for f in (path / name).iterdir()}
    copy_of.save_pretrained(path)
    # Read back, as values that a file holds count as chosen, and defaults do not
    pipe.scheduler = type(pipe.scheduler).from_pretrained(path, subfolder="scheduler")
    for name, files in kept.items():
        shutil.rmtree(path / name)
        (path / name).mkdir()
        for file, data in files.items():
            (path / name / file).write_bytes(data)


def pipeline_sdxl():
    cases = Cases("pipeline-sdxl")
    tokenizer, tokenizer_2 = tokenizers(cases.path, {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"})
    unet = UNet2DConditionModel(
        sample_size=16, block_out_channels=(8, 16, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=[1, 2, 3], attention_head_dim=[1, 2, 4], use_linear_projection=True,
        cross_attention_dim=36, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=12 + 6 * 8,
    )
    pipe = quiet(StableDiffusionXLPipeline(
        vae=vae_of(1, scaling_factor=0.13025, force_upcast=True),
        text_encoder=randomize(CLIPTextModel(text_config()), 2),
        text_encoder_2=randomize(CLIPTextModelWithProjection(text_config(
            hidden_size=20, num_hidden_layers=3, hidden_act="gelu", projection_dim=12,
            eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
        )), 3),
        tokenizer=tokenizer, tokenizer_2=tokenizer_2, unet=randomize(unet, 4),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="leading",
            steps_offset=1, prediction_type="epsilon", interpolation_type="linear",
        ),
        add_watermarker=False,
    ))
    save_half(pipe, cases.path)
    picture(cases.path / "images" / "a.png", 90, 70, 1)
    size = (96, 64)
    taps = [
        "up-level0-repeat1-vit-block2-cross-q", "down-level2-repeat0-vit-block1-cross-k", "mid-vit-block2-self-v",
        "up-level1-repeat1-vit-out", "up-level1-repeat0-vit-block1-cross-score", "up-level2-repeat1-res-out",
        "mid-vit-block0-ffn-inner", "unet-out",
    ]
    prompt = "a photo of two dogs!"
    plain = [tap for tap in taps if "score" not in tap]
    features(cases, "features0", pipe, "a.png", prompt, plain, size=size, t=50, seed=3, guidance=4.0)
    features(cases, "features1", pipe, "a.png", prompt, taps, size=(72, 88), t=999, seed=4, vae="sample")
    ids = tokenizer(prompt).input_ids
    words(cases, "words0", pipe, "a.png", prompt, {"start": [0], "end": [len(ids) - 1]}, size=size, timesteps=[50, 400], seed=3)
    scores(cases, "scores0", pipe, "a.png", [prompt, "a cat"], size=size, timesteps=[189, 789], seed=5)
    base = dict(size=size, seed=11, steps=6)
    generated(cases, "generate-zeros", pipe, prompt, cfg=5.0, **base)
    generated(cases, "generate-empty", pipe, prompt, cfg=5.0, negative="", **base)
    generated(cases, "generate-negative", pipe, prompt, cfg=5.0, negative="red sky", scheduler="dpm++", **base)
    generated(cases, "generate-unguided", pipe, prompt, cfg=1.0, scheduler="ddim", **base)
    cases.save()


def pipeline_v():
    cases = Cases("pipeline-v")
    (tokenizer,) = tokenizers(cases.path, {"tokenizer": "!"})
    unet = UNet2DConditionModel(
        sample_size=12, block_out_channels=(8, 8, 16), layers_per_block=1, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=[1, 2, 4], use_linear_projection=True, cross_attention_dim=16, upcast_attention=True,
    )
    pipe = quiet(StableDiffusionPipeline(
        vae=vae_of(21, scaling_factor=0.3, shift_factor=0.25, layers_per_block=2),
        text_encoder=randomize(CLIPTextModel(text_config(hidden_act="gelu")), 22),
        tokenizer=tokenizer, unet=randomize(unet, 23),
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
            set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction",
        ),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ))
    save_half(pipe, cases.path)
    picture(cases.path / "images" / "a.png", 60, 80, 2)
    odd = (72, 88)
    taps = ["up-level1-repeat1-vit-block0-cross-q", "up-level2-repeat1-vit-out", "up-level0-repeat1-res-out", "unet-out"]
    prompt = "a red dog, on a red sofa"
    features(cases, "features-odd", pipe, "a.png", prompt, taps, size=odd, t=50, seed=0, guidance=-1.5)
    features(cases, "features-first", pipe, "a.png", prompt, taps, size=(40, 104), t=0, seed=1, vae="sample")
    features(cases, "features-last", pipe, "a.png", prompt, taps, size=(104, 40), t=999, seed=2**40 + 7)
    features(cases, "features-ensemble", pipe, "a.png", prompt, taps[:1], size=(64, 64), t=300, seed=5, vae="sample", guidance=2.0, ensemble=3)
    features(cases, "features-long", pipe, "a.png", "one red dog " * 40, taps[:1], size=(64, 64), t=50, seed=0)
    for name in SAMPLERS:
        generated(cases, f"generate-{name}", pipe, prompt, size=odd, seed=6, steps=8, cfg=3.0, scheduler=name, negative="blue" if name == "euler" else None)
    generated(cases, "generate-unguided", pipe, prompt, size=(104, 40), seed=2**33 + 1, steps=3, cfg=1.0)

    # Words: split in several tokens, repeated, with punctuation
    prompt = "Xylophone-players, red and RED; isn't it?"
    pieces = ["xylophone", "-", "players", ",", "red", "and", "red", ";", "isn", "'t", "it", "?"]
    at, position = [], 1
    for piece in pieces:
        count = len(tokenizer(piece).input_ids) - 2
        at.append(list(range(position, position + count)))
        position += count
    assert position + 1 == len(tokenizer(prompt).input_ids), (position, tokenizer.tokenize(prompt))
    wanted = {
        "xylophone": at[0], "players": at[2], "red": at[4], "red#2": at[6], "red and red": at[4] + at[5] + at[6],
        "it": at[10], "start": [0], "end": [position], "padding": list(range(position + 1, 77)),
    }
    words(cases, "words-split", pipe, "a.png", prompt, wanted, size=odd, timesteps=[50, 301, 777], seed=8)
    common = dict(size=(64, 64), timesteps=[189, 989], seed=9)
    prompts = [prompt, "a dog", "", "one red dog " * 40]
    scores(cases, "scores-unpadded", pipe, "a.png", prompts, padding=False, **common)
    scores(cases, "scores-positions", pipe, "a.png", prompts, pooling="positions", **common)
    scores(cases, "scores-both", pipe, "a.png", prompts, pooling="positions", padding=False, **common)
    scores(cases, "scores-trials", pipe, "a.png", prompts[:2], trials=3, **common)

    # The tiny autoencoder in the same pipeline; the checkpoint lies in vae-tiny
    from diffusers import AutoencoderTiny

    whole = pipe.vae
    pipe.vae = AutoencoderTiny.from_pretrained(GOLDEN / "vae-tiny").float().eval()
    features(cases, "tiny-features", pipe, "a.png", "a dog", taps[:2], size=odd, t=50, seed=0)
    features(cases, "tiny-sample", pipe, "a.png", "a dog", taps[:1], size=(64, 64), t=50, seed=0, vae="sample")
    generated(cases, "tiny-generate", pipe, "a dog", size=(64, 64), seed=6, steps=3, cfg=2.0)
    pipe.vae = whole
    cases.save()


# StableDiffusionPipeline overrules what such files of 2022 leave out: steps_offset 1, no clipping.
OUTDATED = {
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.2.4", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}


def pipeline_layouts():
    """One set of numbers that f16 and bf16 hold exactly, in every layout of files."""
    cases = Cases("pipeline-layouts")
    (tokenizer,) = tokenizers(cases.path, {"tokenizer": "!"})
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(4, 4), layers_per_block=1, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, cross_attention_dim=8,
    )
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[4, 4], norm_num_groups=2, latent_channels=4,
    )
    text = CLIPTextModel(text_config(hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2))
    pipe = quiet(StableDiffusionPipeline(
        vae=randomize(vae, 31, half=False), text_encoder=randomize(text, 32, half=False), tokenizer=tokenizer,
        unet=randomize(unet, 33, half=False),
        scheduler=DDIMScheduler.from_config(OUTDATED),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ))
    parts = {"unet": pipe.unet, "vae": pipe.vae, "text_encoder": pipe.text_encoder}
    scratch = cases.path / "scratch"
    pipe.save_pretrained(scratch)
    shutil.copyfile(scratch / "model_index.json", cases.path / "model_index.json")
    (cases.path / "scheduler").mkdir()
    (cases.path / "scheduler" / "scheduler_config.json").write_text(json.dumps(OUTDATED, indent=1) + "\n")
    for name, part in parts.items():
        transformers = name == "text_encoder"
        base = "model" if transformers else "diffusion_pytorch_model"
        (cases.path / name).mkdir()
        shutil.copyfile(scratch / name / "config.json", cases.path / name / "config.json")
        # Half precision in a variant's files, as `save_pretrained(variant="fp16")` writes them
        copy.deepcopy(part).half().save_pretrained(cases.path / "fp16" / name, variant="fp16")
        copy.deepcopy(part).bfloat16().save_pretrained(cases.path / "bf16" / name)
        # Pickles and shards; transformers 5 writes no pickles any more, so that one is torch.save as it did it
        if transformers:
            (cases.path / "bin" / name).mkdir(parents=True)
            torch.save(part.state_dict(), cases.path / "bin" / name / "pytorch_model.bin")
            part.save_pretrained(cases.path / "sharded" / name, max_shard_size="12KB")
        else:
            part.save_pretrained(cases.path / "bin" / name, safe_serialization=False)
            part.save_pretrained(cases.path / "sharded" / name, max_shard_size="12KB")
        if name == "unet":
            part.save_pretrained(cases.path / "sharded-bin" / name, max_shard_size="12KB", safe_serialization=False)
            copy.deepcopy(part).half().save_pretrained(
                cases.path / "sharded-fp16" / name, max_shard_size="12KB", variant="fp16"
            )
        for config in cases.path.glob(f"*/{name}/config.json"):
            config.unlink()
    shutil.rmtree(scratch)
    picture(cases.path / "images" / "a.png", 24, 20, 3)
    taps = ["up-level1-repeat1-vit-block0-cross-q", "unet-out"]
    features(cases, "features", pipe, "a.png", "a dog", taps, size=(24, 16), t=50, seed=0)
    generated(cases, "generate", pipe, "a dog", size=(24, 16), seed=1, steps=4, cfg=3.0)
    cases.save()


SWITCHES = {
    # Everything about time, norms and convolutions
    "time-and-norms": dict(
        block_out_channels=(8, 12), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=1, cross_attention_dim=8,
        resnet_time_scale_shift="scale_shift", center_input_sample=True, freq_shift=1, flip_sin_to_cos=False,
        conv_in_kernel=5, conv_out_kernel=1, act_fn="gelu", norm_num_groups=2, norm_eps=1e-3, attention_head_dim=2,
        time_embedding_dim=20, in_channels=3, out_channels=5,
    ),
    # Lists of every kind
    "lists": dict(
        block_out_channels=(8, 12, 12),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=[1, 2, 1],
        transformer_layers_per_block=[[2], 1, [1]], reverse_transformer_layers_per_block=[[1, 2], 1, [2, 1]],
        attention_head_dim=[2, 1, 3], cross_attention_dim=[8, 5, 8], only_cross_attention=[False, True, True],
        norm_num_groups=4, use_linear_projection=True,
    ),
    # What some kinds of blocks ignore
    "scales": dict(
        block_out_channels=(8, 12), down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"), layers_per_block=1, cross_attention_dim=8,
        only_cross_attention=True, mid_block_only_cross_attention=True, resnet_skip_time_act=True,
        resnet_out_scale_factor=2.0, mid_block_scale_factor=1.5, downsample_padding=0, norm_num_groups=4,
        attention_head_dim=4, act_fn="relu",
    ),
    # Sizes beside the time
    "sizes": dict(
        block_out_channels=(8, 12), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), layers_per_block=1, cross_attention_dim=8,
        transformer_layers_per_block=[1, 2], attention_head_dim=3, norm_num_groups=4, act_fn="gelu",
        addition_embed_type="text_time", addition_time_embed_dim=6, projection_class_embeddings_input_dim=4 + 36,
        flip_sin_to_cos=False, freq_shift=1,
    ),
}


def unet_switches():
    cases = Cases("unet-switches")
    for seed, (name, config) in enumerate(SWITCHES.items()):
        unet = randomize(UNet2DConditionModel(sample_size=8, **config), 40 + seed)
        copy.deepcopy(unet).half().save_pretrained(cases.path / name)
        g = torch.Generator().manual_seed(50 + seed)
        for i, (size, t) in enumerate([((8, 12), 501), ((7, 9), 0)]):
            sample = torch.randn((1, config.get("in_channels", 4), *size), generator=g)
            states = torch.randn((1, 5, 8), generator=g)
            inputs = {"sample": sample, "encoder_hidden_states": states, "timesteps": torch.tensor([t])}
            added = None
            if "addition_embed_type" in config:
                added = {"text_embeds": torch.randn((1, 4), generator=g), "time_ids": torch.tensor([[64.0, 96, 0, 0, 64, 96]])}
                inputs.update(added)
            outputs = both(lambda unet: run_unet(unet, sample, t, states, added), unet)
            kept = r"unet-out" if i else r"unet-out|.*(res-out|vit-out|self-q|self-k|cross-v|cross-score)"
            outputs = {tap: value for tap, value in outputs.items() if re.fullmatch(kept, tap)}
            cases.add(f"{name}{i}", "one forward pass", {"checkpoint": name}, outputs, inputs)
    cases.save()


if __name__ == "__main__":
    made = {f.__name__.replace("_", "-"): f for f in [pipeline_sdxl, pipeline_v, pipeline_layouts, unet_switches]}
    for wanted in sys.argv[1:] or made:
        made[wanted]()
