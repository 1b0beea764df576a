"""Training in torch on CPU as processes that stay loaded: one JSON request a line on stdin, one JSON answer a line on stdout.

{"call": "open", "threads": N}                        -> versions
{"call": "prepare", "work": W, "stage": STAGE}         -> {"way": the fastest way of doing it, by measurement}
{"call": "run", "work": W, "stage": STAGE, "steps": N} -> {"seconds": of one step}
{"call": "close"}                                      -> ends the processes
W: train-diffusion, train-clip, train-autoencoder, train-speaker; STAGE: a stage of a recipe.
Ways: one process with all threads, or a process a thread whose gradients are averaged; contiguous or channels last.
"""

import json
import os
import socket
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, LlamaConfig, LlamaForCausalLM

for library in (diffusers, transformers):
    library.utils.logging.set_verbosity_error()

WORDS = {"vocab_size": 400, "max_position_embeddings": 32, "eos_token_id": 399, "bos_token_id": 398, "pad_token_id": 399}


def diffusion(config, batch):
    nets = torch.nn.ModuleDict(
        {
            "unet": UNet2DConditionModel.from_config(config["unet"]),
            "text": CLIPTextModel(CLIPTextConfig(**{**config["textEncoder"], **WORDS})),
        }
    )
    size, channels = config["unet"]["sample_size"], config["unet"]["in_channels"]
    latent, noise = torch.randn(2, batch, channels, size, size)
    ids, steps = torch.zeros(batch, 32, dtype=torch.long), torch.randint(0, 1000, (batch,))

    def loss():
        states = nets["text"](input_ids=ids)[0]
        noisy = latent * 0.8 + noise * 0.6
        return F.mse_loss(nets["unet"](noisy, steps, states, return_dict=False)[0], noise)

    return nets, loss


def clip(config, batch):
    config = config["network"]
    text = {**config["text_config"], **WORDS}
    net = CLIPModel(CLIPConfig(text_config=text, vision_config=config["vision_config"], projection_dim=config["projection_dim"]))
    side = config["vision_config"]["image_size"]
    pixels, ids = torch.randn(batch, 3, side, side), torch.zeros(batch, 32, dtype=torch.long)
    targets = torch.eye(batch)

    def loss():
        out = net(input_ids=ids, pixel_values=pixels)
        return (F.cross_entropy(out.logits_per_text, targets) + F.cross_entropy(out.logits_per_image, targets)) / 2

    return net, loss


def autoencoder(config, batch):
    net = AutoencoderKL.from_config(config["network"])
    side = config.get("crop", config["network"]["sample_size"])
    pixels = torch.randn(batch, 3, side, side)

    def loss():
        posterior = net.encode(pixels).latent_dist
        drawn = net.decode(posterior.sample()).sample
        wrong = drawn - pixels
        edges = sum(wrong.diff(dim=axis).abs().mean() for axis in (2, 3))
        return 0.5 * wrong.abs().mean() + 4 * wrong.square().mean() + 0.25 * edges + 1e-4 * posterior.kl().mean()

    return net, loss


class CrossAttention(torch.nn.Module):
    """CLIP asks, diffusion answers: the fusion of that name, each input after a LayerNorm where the config says so."""

    def __init__(self, step, widths):
        super().__init__()
        self.names = step["queries"], step["context"]
        queries, context = (widths[name] for name in self.names)
        width = step.get("width", queries)
        self.heads, self.residual = step.get("heads", 8), step.get("residual", True)
        normed = step.get("normalisation") == "layer-norm"
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(n) if normed else torch.nn.Identity() for n in (queries, context))
        self.q, self.k, self.v = (torch.nn.Linear(n, width) for n in (queries, context, context))
        self.out = torch.nn.Linear(width, queries)
        self.width = queries

    def forward(self, streams):
        x, context = (norm(streams[name]) for norm, name in zip(self.norms, self.names))
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        told = F.scaled_dot_product_attention(split(self.q(x)), split(self.k(context)), split(self.v(context)))
        told = self.out(told.transpose(1, 2).flatten(2))
        return x + told if self.residual else told


class ChannelConcat(torch.nn.Module):
    """Streams of one grid side by side in their channels, each after a LayerNorm where the config says so."""

    def __init__(self, step, widths):
        super().__init__()
        self.names = step["encoders"]
        normed = step.get("normalisation") == "layer-norm"
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(widths[n]) if normed else torch.nn.Identity() for n in self.names)
        self.width = sum(widths[name] for name in self.names)

    def forward(self, streams):
        return torch.cat([norm(streams[name]) for norm, name in zip(self.norms, self.names)], -1)


FUSIONS = {"cross-attention": CrossAttention, "channel-concat": ChannelConcat}


def speaker(config, batch):
    """A LLaMA that reads a picture's rows between its texts; trained whole, or with the language model frozen."""
    sight, streams = config["sight"], config["streams"]
    fusions = sight["fusion"]
    (step,) = fusions if isinstance(fusions, list) else [fusions]
    language = LlamaForCausalLM(LlamaConfig(**config["network"]))
    fusion = FUSIONS[step["type"]](step, {name: stream["width"] for name, stream in streams.items()})
    hidden = config["network"]["hidden_size"]
    linear = torch.nn.Linear
    projector = torch.nn.Sequential(linear(fusion.width, hidden), torch.nn.GELU(), linear(hidden, hidden))
    nets = torch.nn.ModuleDict({"language": language, "fusion": fusion, "projector": projector})
    if config["phase"] == "stage1":
        language.requires_grad_(False)
    seen = {name: torch.randn(batch, stream["tokens"], stream["width"]) for name, stream in streams.items()}
    first = step["queries"] if "queries" in step else step["encoders"][0]
    pictures, length = streams[first]["tokens"], config["length"]
    ids = torch.zeros(batch, length, dtype=torch.long)
    labels = torch.zeros(batch, pictures + length - 1, dtype=torch.long)

    def loss():
        texts = language.get_input_embeddings()(ids)
        rows = torch.cat([texts[:, :4], projector(fusion(seen)), texts[:, 4:]], 1)
        logits = language(inputs_embeds=rows, use_cache=False).logits[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    return nets, loss


WORKS = {
    "train-diffusion": diffusion,
    "train-clip": clip,
    "train-autoencoder": autoencoder,
    "train-speaker": speaker,
}


def member(rank, world, threads, port, work, stage, layout, pipe):
    """One process: does the steps that it is told to, and says how long each took."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(rank)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    net, loss_of = WORKS[work](stage["config"], stage["batch"] // world)
    net.train().to(memory_format=layout)
    learnt = [p for p in net.parameters() if p.requires_grad]
    averages = [p.detach().clone() for p in learnt] if stage.get("ema") else []
    settings = stage["optimizer"]
    optimizer = torch.optim.AdamW(
        learnt, 1e-5, betas=settings["betas"], weight_decay=settings["weightDecay"], fused=True
    )
    while (steps := pipe.recv()) is not None:
        begin = time.perf_counter()
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of().backward()
            if world > 1:
                slopes = [p.grad for p in net.parameters() if p.grad is not None]
                flat = torch._utils._flatten_dense_tensors(slopes)
                dist.all_reduce(flat)
                flat /= world
                for slope, mean in zip(slopes, torch._utils._unflatten_dense_tensors(flat, slopes)):
                    slope.copy_(mean)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if averages:
                torch._foreach_lerp_(averages, [p.detach() for p in learnt], 0.01)
        pipe.send((time.perf_counter() - begin) / steps)


class Crew:
    """The processes of one way of doing the work."""

    def __init__(self, request, world, threads, layout):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        context = mp.get_context("spawn")
        self.pipes, self.processes = [], []
        for rank in range(world):
            own, other = context.Pipe()
            args = (rank, world, threads, port, request["work"], request["stage"], layout, other)
            process = context.Process(target=member, args=args, daemon=True)
            process.start()
            self.pipes.append(own)
            self.processes.append(process)

    def run(self, steps):
        for pipe in self.pipes:
            pipe.send(steps)
        return max(pipe.recv() for pipe in self.pipes)

    def end(self):
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join()


def ways(threads):
    for name, layout in (("contiguous", torch.contiguous_format), ("channels last", torch.channels_last)):
        yield f"1 process of {threads} threads, {name}", 1, threads, layout
        if threads > 1:
            yield f"{threads} processes of 1 thread, {name}", threads, 1, layout


def main():
    # What libraries print goes to stderr: stdout is for answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    threads, crew = 1, None
    for line in sys.stdin:
        request = json.loads(line)
        answer = {}
        try:
            if request["call"] == "open":
                threads = request["threads"]
                versions = {"python": sys.version.split()[0]}
                versions |= {one.__name__: one.__version__ for one in (torch, diffusers, transformers)}
                answer = {"versions": versions, "threads": threads, "capability": torch.backends.cpu.get_cpu_capability()}
            elif request["call"] == "prepare":
                tried = []
                for name, world, each, layout in ways(threads):
                    crew = Crew(request, world, each, layout)
                    crew.run(2)
                    tried.append((min(crew.run(2) for _ in range(3)), name, world, each, layout))
                    crew.end()
                _, way, *best = min(tried, key=lambda one: one[0])
                crew = Crew(request, *best)
                crew.run(2)
                answer = {"way": way}
            elif request["call"] == "run":
                answer = {"seconds": crew.run(request["steps"])}
            elif request["call"] == "close":
                crew.end()
                crew = None
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
    if crew:
        crew.end()


if __name__ == "__main__":
    main()
