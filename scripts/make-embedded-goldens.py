"""Makes test/golden/embedded: what diffusers and transformers compute with the models of assets/micro, for every folder
that is there: pipelines (predicted noise, the tap U-L1-R1-B0-Cross-Q, a drawing) and CLIPs (embeddings, logits, patches);
and assets/micro/self-test.json: guided features of one scene, which `diffsight doctor` computes again. To be run again
when the models or the scenes change. Needs torch, diffusers 0.42.1, transformers 5, safetensors and Pillow.

Tolerance of a tensor: max(16 d, 3e-5 rms, 1e-7), with d the largest difference between fp32 and fp64.

python scripts/make-embedded-goldens.py
"""

import copy
import json
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, CLIPModel, CLIPTokenizer

torch.set_num_threads(1)
torch.set_grad_enabled(False)
ROOT = Path(__file__).resolve().parent.parent
MICRO = ROOT / "assets" / "micro"
OUT = ROOT / "test" / "golden" / "embedded"
IMAGES = sorted((ROOT / "assets" / "scenes").glob("*.png"))[:2]
PROMPT = "a dog facing left in the park"
TEXTS = ["a dog in the park", "a chair in the room", "two cats in the street"]
TIMESTEP = 50
GUIDANCE = 4.0

tensors: dict[str, torch.Tensor] = {}
cases = []


def outputs_of(name, run, *modules):
    """run(modules) in fp32 and in fp64, as a case's outputs."""
    single = run(*modules)
    double = run(*(copy.deepcopy(module).double() for module in modules))
    found = {}
    for key, value in single.items():
        value = value.float().contiguous()
        rms = value.pow(2).mean().sqrt().item()
        d = (value.double() - double[key].double()).abs().max().item()
        tensor = f"{name}/output/{key}"
        tensors[tensor] = value
        found[key] = {
            "tensor": tensor,
            "shape": list(value.shape),
            "dtype": "float32",
            "atol": max(16 * d, 3e-5 * rms, 1e-7),
        }
    return found


def noisy_passes(pipe, image, prompt):
    """A function of the networks that runs the U-Net once on a noisy picture, and the noise that it takes."""
    side = pipe.unet.config.sample_size * 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    tokens = pipe.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
    pixels = VaeImageProcessor(vae_scale_factor=1).preprocess(Image.open(image).convert("RGB"), side, side)
    alphas = DDIMScheduler.from_config(pipe.scheduler.config).alphas_cumprod
    latent_dims = (1, 4, pipe.unet.config.sample_size, pipe.unet.config.sample_size)
    noise = torch.randn(latent_dims, generator=torch.Generator().manual_seed(0))

    def run(text_encoder, vae, unet):
        kind = next(unet.parameters()).dtype
        seen = {}
        tap = unet.up_blocks[1].attentions[1].transformer_blocks[0].attn2.to_q
        hook = tap.register_forward_hook(lambda _, __, out: seen.update(tap=out))
        states = text_encoder(tokens).last_hidden_state
        latent = vae.encode(pixels.to(kind)).latent_dist.mean * vae.config.scaling_factor
        alpha = alphas[TIMESTEP].double()
        noisy = (alpha.sqrt() * latent.double() + (1 - alpha).sqrt() * noise.double()).to(kind)
        predicted = unet(noisy, torch.tensor([TIMESTEP]), states).sample
        hook.remove()
        grid = seen["tap"][0].T
        across = int(grid.shape[1] ** 0.5)
        return {"noise_prediction": predicted, "tap": grid.reshape(1, -1, across, across)}

    return run, noise, tokens, side


def open_pipeline(folder):
    return StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)


def self_test(folder):
    """Guided features of the first scene with its caption, for users to compute again."""
    pipe = open_pipeline(folder)
    scene = json.loads((ROOT / "assets" / "scenes" / "scenes.json").read_text())[0]
    prompt = scene["captions"]["full"]
    found = []
    for text in ("", prompt):
        run, *_ = noisy_passes(pipe, ROOT / "assets" / "scenes" / scene["image"], text)
        found.append(run(pipe.text_encoder, pipe.vae, pipe.unet)["tap"].flatten())
    features = found[0] + GUIDANCE * (found[1] - found[0])
    rounded = lambda values: [round(value, 6) for value in values]
    test = {
        "image": scene["image"],
        "prompt": prompt,
        "tap": "U-L1-R1-B0-Cross-Q",
        "timestep": TIMESTEP,
        "guidance": GUIDANCE,
        "start": rounded(features[:8].tolist()),
        "mean": round(features.mean().item(), 6),
        "rms": round(features.pow(2).mean().sqrt().item(), 6),
        "from": f"diffusers {diffusers.__version__}, torch {torch.__version__.split('+')[0]}, f32",
    }
    (MICRO / "self-test.json").write_text(json.dumps(test, indent=1) + "\n")


def pipeline_case(folder):
    pipe = open_pipeline(folder)
    run, noise, tokens, side = noisy_passes(pipe, IMAGES[0], PROMPT)
    name = folder.name
    args = {"folder": name, "image": IMAGES[0].name, "prompt": PROMPT, "timestep": TIMESTEP, "ids": tokens[0].tolist()}
    outputs = outputs_of(name, run, pipe.text_encoder, pipe.vae, pipe.unet)
    drawn = pipe(
        PROMPT,
        num_inference_steps=10,
        guidance_scale=4.0,
        height=side,
        width=side,
        latents=noise * pipe.scheduler.init_noise_sigma,
        output_type="pt",
    ).images[0]
    tensor = f"{name}/output/drawing"
    tensors[tensor] = (drawn * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    outputs["drawing"] = {"tensor": tensor, "shape": list(tensors[tensor].shape), "dtype": "uint8", "atol": 1}
    cases.append({"name": name, "what": "pipeline", "args": args, "inputs": {}, "outputs": outputs})


def clip_case(folder):
    model = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    pictures = [Image.open(path).convert("RGB") for path in IMAGES]
    pixels = processor(pictures, return_tensors="pt").pixel_values
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt").input_ids

    def run(model):
        kind = next(model.parameters()).dtype
        out = model(input_ids=tokens, pixel_values=pixels.to(kind), output_hidden_states=True)
        return {
            "image_embeds": out.image_embeds,
            "logits_per_image": out.logits_per_image,
            "patches": out.vision_model_output.hidden_states[-2][:, 1:],
        }

    args = {
        "folder": folder.name,
        "images": [path.name for path in IMAGES],
        "texts": TEXTS,
        "ids": tokens.tolist(),
    }
    outputs = outputs_of(folder.name, run, model)
    cases.append({"name": folder.name, "what": "clip", "args": args, "inputs": {}, "outputs": outputs})


self_test(MICRO / "sd")
for folder in sorted(MICRO.iterdir()):
    if (folder / "model_index.json").exists():
        pipeline_case(folder)
    elif (folder / "preprocessor_config.json").exists():
        clip_case(folder)
OUT.mkdir(parents=True, exist_ok=True)
save_file(tensors, OUT / "cases.safetensors")
(OUT / "cases.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
print(f"{len(cases)} cases, {len(tensors)} tensors: {', '.join(case['name'] for case in cases)}")
