"""diffusers on CPU as a process that stays loaded: one JSON request a line on stdin, one JSON answer a line on stdout.

{"call": "open", "folder": ..., "threads": N}                      -> versions
{"call": "prepare", "work": W, "inputs": FILE, ...}                -> {"way": the fastest way of doing it, by measurement}
{"call": "run", "work": W, "inputs": FILE, "output": FILE?, ...}   -> {"seconds": ...}
{"call": "close"}                                                  -> frees the models
W: unet-tap, unet-pair, unet-whole, vae, text, extract; vision, with "model": the folder of a CLIPVisionModel. Tensors travel in safetensors files.
"""

import json
import os
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import safetensors
import torch
import transformers
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.torch import load_file, save_file

for library in (diffusers, transformers):
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()

TAP = "up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_q"
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


class Stop(Exception):
    """Raised by the hook: nothing after the tap is computed."""


class Parts:
    """The pipeline's parts, each loaded when something first needs it."""

    def __init__(self, folder):
        self.folder = folder
        self.held = {}
        self.layouts = {}
        self.empty = None

    def load(self, name, kind, **options):
        if name not in self.held:
            part = kind.from_pretrained(self.folder, subfolder=name, **options)
            self.held[name] = part.eval() if isinstance(part, torch.nn.Module) else part
        return self.held[name]

    @property
    def unet(self):
        return self.load("unet", diffusers.UNet2DConditionModel, low_cpu_mem_usage=True)

    @property
    def vae(self):
        return self.load("vae", diffusers.AutoencoderKL, low_cpu_mem_usage=True)

    @property
    def text_encoder(self):
        return self.load("text_encoder", transformers.CLIPTextModel)

    @property
    def tokenizer(self):
        return self.load("tokenizer", transformers.CLIPTokenizer)

    @property
    def scheduler(self):
        return self.load("scheduler", diffusers.DDPMScheduler)

    def vision(self, folder, way):
        if way not in self.held:
            self.held[way] = transformers.CLIPVisionModel.from_pretrained(folder, attn_implementation=way).eval()
        return self.held[way]

    def layout(self, name, layout):
        if self.layouts.get(name) != layout:
            getattr(self, name).to(memory_format=LAYOUTS[layout])
            self.layouts[name] = layout


def predict(parts, sample, timestep, text, tap):
    """The U-Net's prediction, or the queries at the tap as a grid; the rest of the network is then not run."""
    if not tap:
        return parts.unet(sample, timestep, text, return_dict=False)[0]
    found = []

    def stop(module, inputs, output):
        found.append(output)
        raise Stop

    hook = parts.unet.get_submodule(TAP).register_forward_hook(stop)
    try:
        parts.unet(sample, timestep, text)
    except Stop:
        pass
    finally:
        hook.remove()
    tokens = found[0]
    side = int(tokens.shape[1] ** 0.5)
    return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, side, side)


def pair(parts, sample, timestep, texts, way):
    """The tap for two texts: both in one batch, or one after the other."""
    if way == "batch":
        return predict(parts, sample.expand(2, -1, -1, -1), timestep, texts, True)
    return torch.cat([predict(parts, sample, timestep, text[None], True) for text in texts])


def encode_text(parts, prompt):
    tokens = parts.tokenizer(
        prompt, padding="max_length", max_length=parts.tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    return parts.text_encoder(tokens.input_ids)[0]


def preprocess(image):
    return VaeImageProcessor(vae_scale_factor=8).preprocess(Image.open(image).convert("RGB"), height=512, width=512)


def extract(parts, image, prompt, out, way):
    """Image file to features file, guidance 4, timestep 50. The empty prompt's states are kept between calls."""
    latent = parts.vae.encode(preprocess(image)).latent_dist.mode() * parts.vae.config.scaling_factor
    noise = torch.randn(latent.shape, generator=torch.Generator("cpu").manual_seed(0))
    timestep = torch.tensor([50])
    sample = parts.scheduler.add_noise(latent, noise, timestep)
    if parts.empty is None:
        parts.empty = encode_text(parts, "")
    texts = torch.cat([parts.empty, encode_text(parts, prompt)])
    u, c = pair(parts, sample, timestep, texts, way).split(1)
    features = (u + 4 * (c - u)).contiguous()
    save_file({"features": features}, out)
    return {"features": features}


def work(parts, request, way):
    name = request["work"]
    layout, _, mode = way.partition(", ")
    if name in ("text", "extract"):
        if name == "text":
            return {"states": encode_text(parts, request["prompt"])}
        vae, unet, mode = way.split(", ")
        parts.layout("vae", vae)
        parts.layout("unet", unet)
        return extract(parts, request["image"], request["prompt"], request["features"], mode)
    given = request["tensors"]
    if name == "vision":
        found = parts.vision(request["model"], way)(given["pixels"], output_hidden_states=True)
        return {"states": found.hidden_states[-2]}
    if name == "vae":
        parts.layout("vae", layout)
        posterior = parts.vae.encode(given["pixels"].contiguous(memory_format=LAYOUTS[layout])).latent_dist
        return {"mean": posterior.mean, "logvar": posterior.logvar}
    parts.layout("unet", layout)
    sample = given["sample"].contiguous(memory_format=LAYOUTS[layout])
    timestep = request["timestep"]
    if name == "unet-pair":
        both = pair(parts, sample, timestep, given["texts"], mode)
        return {"unconditional": both[:1], "conditional": both[1:]}
    return {"output": predict(parts, sample, timestep, given["texts"][:1], name == "unet-tap")}


def timed(parts, request, way):
    start = time.perf_counter()
    result = work(parts, request, way)
    return time.perf_counter() - start, result


def prepare(parts, request, chosen):
    """Chooses the fastest way of doing a work; that of `extract` follows from its parts."""
    name = request["work"]
    if name in chosen:
        return
    if name == "text":
        ways = ["default"]
    elif name == "vision":
        ways = ["sdpa", "eager"]
    elif name == "unet-pair":
        ways = [f"{layout}, {mode}" for layout in LAYOUTS for mode in ("batch", "two passes")]
    elif name == "extract":
        config = parts.unet.config
        latent = torch.randn(1, config.in_channels, config.sample_size, config.sample_size)
        tensors = {
            "pixels": preprocess(request["image"]),
            "sample": latent,
            "texts": torch.randn(2, parts.tokenizer.model_max_length, config.cross_attention_dim),
        }
        for part in ("vae", "unet-pair"):
            prepare(parts, {"work": part, "tensors": tensors, "timestep": 50}, chosen)
        ways = [f"{chosen['vae']}, {chosen['unet-pair']}"]
    else:
        ways = list(LAYOUTS)
    runs = 2 if len(ways) > 1 else 1
    best = {way: min(timed(parts, request, way)[0] for _ in range(runs)) for way in ways}
    chosen[name] = min(best, key=best.get)


def answer(state, request):
    call = request["call"]
    if call == "open":
        torch.set_num_threads(request["threads"])
        state["parts"] = Parts(request["folder"])
        state["chosen"] = {}
        return {
            "versions": {
                "python": sys.version.split()[0],
                "torch": torch.__version__,
                "diffusers": diffusers.__version__,
                "transformers": transformers.__version__,
                "safetensors": safetensors.__version__,
            },
            "threads": torch.get_num_threads(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        }
    if call == "close":
        state["parts"] = Parts(state["parts"].folder)
        return {}
    if "inputs" in request:
        request["tensors"] = load_file(request["inputs"])
    parts, chosen, name = state["parts"], state["chosen"], request["work"]
    if call == "prepare":
        prepare(parts, request, chosen)
        return {"way": chosen[name]}
    seconds, result = timed(parts, request, chosen[name])
    if "output" in request:
        save_file({key: value.contiguous() for key, value in result.items()}, request["output"])
    return {"seconds": seconds}


def main():
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print is no answer
    state = {}
    with torch.inference_mode():
        for line in sys.stdin:
            try:
                reply = answer(state, json.loads(line))
            except Exception as error:  # the session goes on, and the bench says what failed
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), file=answers, flush=True)


main()
