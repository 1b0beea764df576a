"""Makes test/golden/embedded: what diffusers and transformers compute with the models of assets/micro, for every folder
that is there: pipelines (predicted noise, the tap U-L1-R1-B0-Cross-Q, a drawing), CLIPs (embeddings, logits, patches) and the
vision-language model (its answers and how likely they are: encoders and language model by those libraries, the projector by
torch); and assets/micro/self-test.json: guided features of one scene, which `diffsight doctor` computes again. To be run again
when the models or the scenes change. Needs torch, diffusers 0.42.1, transformers 5, safetensors and Pillow.

Tolerance of a tensor: max(16 d, 3e-5 rms, 1e-7), with d the largest difference between fp32 and fp64.

python scripts/make-embedded-goldens.py
"""

import copy
import json
from pathlib import Path

import diffusers
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import (
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPModel,
    CLIPTokenizer,
)

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


ASKED = [
    (0, "Which way is the rabbit facing? left or right?"),
    (0, "is the ball to the left of the rabbit?"),
    (1, "how many stools are there?"),
]


def embedded(model):
    """The folder that "embedded:sd" stands for."""
    return MICRO / model.removeprefix("embedded:")


def guided_features(sd, image, question):
    """f_u + s (f_c - f_u) of a residual block's output, folded: [tokens, channels]."""
    pipe = open_pipeline(embedded(sd["model"]))
    level, repeat = (int(part[1:]) for part in sd["tap"].split("-")[1:3])
    assert sd["tap"] == f"U-L{level}-R{repeat}-Res-Out"
    side = pipe.unet.config.sample_size
    pixels = VaeImageProcessor(vae_scale_factor=1).preprocess(image, *image.size[::-1])
    latent = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
    alpha = DDIMScheduler.from_config(pipe.scheduler.config).alphas_cumprod[sd["timestep"]].double()
    noise = torch.randn((1, 4, side, side), generator=torch.Generator().manual_seed(0))
    noisy = (alpha.sqrt() * latent.double() + (1 - alpha).sqrt() * noise.double()).float()
    seen = []
    block = pipe.unet.up_blocks[level].resnets[repeat]
    hook = block.register_forward_hook(lambda _, __, out: seen.append(out))
    for text in ("", question.split("?")[0] + "?"):
        tokens = pipe.tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        pipe.unet(noisy, torch.tensor([sd["timestep"]]), pipe.text_encoder(tokens).last_hidden_state)
    hook.remove()
    guidance = sd["conditioning"]["inference"]["guidance"]
    features = seen[0] + guidance * (seen[1] - seen[0])
    return F.pixel_unshuffle(features, sd["fold"]).flatten(2)[0].T


def clip_patches(clip, image):
    folder = embedded(clip["model"])
    model = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).eval()
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(image, return_tensors="pt").pixel_values
    return model.vision_model(pixels, output_hidden_states=True).hidden_states[clip["layer"]][0, 1:]


def speaker_case(folder):
    description = json.loads((folder / "diffsight.json").read_text())
    weights = {key: value.float() for key, value in load_file(folder / "model.safetensors").items()}
    language = AutoModelForCausalLM.from_pretrained(folder / "llm", torch_dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / "llm")
    encoders = description["encoders"]
    (fusion,) = description["fusion"]
    assert fusion["type"] == "channel-concat" and fusion["encoders"] == ["clip", "sd"]

    def rows(image, question):
        seen = [clip_patches(encoders["clip"], image), guided_features(encoders["sd"], image, question)]
        tokens = []
        for name, one in zip(("clip", "sd"), seen):
            norm = f"fusion.normalisation.{name}.layer_norm"
            tokens.append(F.layer_norm(one, one.shape[-1:], weights[f"{norm}.weight"], weights[f"{norm}.bias"]))
        x = torch.cat(tokens, -1)
        x = F.linear(x, weights["model.mm_projector.0.weight"], weights["model.mm_projector.0.bias"])
        return F.linear(F.gelu(x), weights["model.mm_projector.2.weight"], weights["model.mm_projector.2.bias"])

    for i, (scene, question) in enumerate(ASKED):
        image = Image.open(IMAGES[scene]).convert("RGB")
        turn = {"role": "user", "content": f"<image>\n{question}"}
        prompt = tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
        before, after = (tokenizer(part).input_ids for part in prompt.split("<image>"))
        embed = language.get_input_embeddings()
        parts = [embed(torch.tensor(before)), rows(image, question), embed(torch.tensor(after[1:]))]
        given = torch.cat(parts)[None]

        made = language.generate(inputs_embeds=given, max_new_tokens=12, do_sample=False)[0]
        assert made[-1] == tokenizer.eos_token_id
        text = tokenizer.decode(made, skip_special_tokens=True).strip()

        def run(language):
            whole = torch.cat([given, language.get_input_embeddings()(made[:-1])[None]], 1)
            logits = language(inputs_embeds=whole.to(next(language.parameters()).dtype)).logits[0]
            told = logits[-len(made) :].log_softmax(-1).gather(1, made[:, None])
            return {"log_probability": told.sum()[None]}

        name = f"{folder.name}-{i}"
        outputs = outputs_of(name, run, language)
        args = {"folder": folder.name, "image": IMAGES[scene].name, "question": question}
        args |= {"ids": [*before, None, *after[1:]], "answer": text}
        cases.append({"name": name, "what": "speaker", "args": args, "inputs": {}, "outputs": outputs})


self_test(MICRO / "sd")
for folder in sorted(MICRO.iterdir()):
    if (folder / "model_index.json").exists():
        pipeline_case(folder)
    elif (folder / "preprocessor_config.json").exists():
        clip_case(folder)
    elif (folder / "diffsight.json").exists():
        speaker_case(folder)
OUT.mkdir(parents=True, exist_ok=True)
save_file(tensors, OUT / "cases.safetensors")
(OUT / "cases.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
print(f"{len(cases)} cases, {len(tensors)} tensors: {', '.join(case['name'] for case in cases)}")
