"""Makes test/golden/conversations: what LLaVA 1.5's training makes of conversations (its functions of conversation.py,
mm_utils.py and train.py, copied in substance; Apache-2.0), and what transformers makes of chat templates in Jinja.
Needs tokenizers 0.23, transformers 5 and jinja2; offline.

python scripts/make-conversation-goldens.py   (after scripts/make-tokenizer-goldens.py)
"""

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers.utils.chat_template_utils import render_jinja_template

GOLDEN = Path(__file__).resolve().parent.parent / "test" / "golden"
IGNORE, IMAGE = -100, -200
tokenizer = Tokenizer.from_file(str(GOLDEN / "tokenizer-own" / "llama.json"))

# 1. LLaVA

POLITE = ("A chat between a curious {0} and an artificial intelligence assistant. "
          "The assistant gives helpful, detailed, and polite answers to the {0}'s questions.")
HELPFUL = ("You are a helpful language and vision assistant. You are able to understand the visual content that the user provides, "
           "and assist the user with a variety of tasks using natural language.")
STYLES = {
    "vicuna_v1": ("TWO", POLITE.format("user"), ("USER", "ASSISTANT"), " ", "</s>"),
    "llava_v1": ("TWO", POLITE.format("human"), ("USER", "ASSISTANT"), " ", "</s>"),
    "llava_v0": ("SINGLE", POLITE.format("human"), ("Human", "Assistant"), "###", None),
    "llava_llama_2": ("LLAMA_2", HELPFUL, ("USER", "ASSISTANT"), "<s>", "</s>"),
    "mistral_instruct": ("LLAMA_2", "", ("USER", "ASSISTANT"), "", "</s>"),
}


def get_prompt(name, messages):
    style, system, roles, sep, sep2 = STYLES[name]
    messages = [(roles[i % 2], one) for i, one in enumerate(messages)]
    if style == "LLAMA_2":
        ret = ""
        for i, (_, message) in enumerate(messages):
            if not message:
                continue
            if i == 0 and system:
                message = f"<<SYS>>\n{system}\n<</SYS>>\n\n" + message
            ret += sep + f"[INST] {message} [/INST]" if i % 2 == 0 else " " + message + " " + sep2
        return ret.lstrip(sep)
    seps = [sep, sep2 or sep]
    ret = system + sep
    for i, (role, message) in enumerate(messages):
        ret += f"{role}: {message}{seps[i % 2]}" if message else f"{role}:"
    return ret


def encode(text):
    return tokenizer.encode(text).ids


def tokenizer_image_token(prompt):
    chunks = [encode(chunk) for chunk in prompt.split("<image>")]
    ids, offset = [], 0
    if chunks and chunks[0] and chunks[0][0] == 1:
        offset = 1
        ids.append(chunks[0][0])
    separated = [part for pair in zip(chunks, [[IMAGE] * (offset + 1)] * len(chunks)) for part in pair][:-1]
    for part in separated:
        ids.extend(part[offset:])
    return ids


def preprocess_multimodal(values):
    out = []
    for value in values:
        if "<image>" in value:
            value = value.replace("<image>", "").strip()
            value = ("<image>\n" + value).strip()
        out.append(value)
    return out


def preprocess_rounds(name, values, has_image):
    """preprocess_v1 and preprocess_llama_2, with a tokenizer of the legacy behaviour and no limit of length."""
    style, _, roles, sep, sep2 = STYLES[name]
    conversation = get_prompt(name, values)
    count = tokenizer_image_token if has_image else encode
    ids = count(conversation)
    target = list(ids)
    sep = sep + roles[1] + ": " if style == "TWO" else "[/INST] "
    cur = 1
    target[:cur] = [IGNORE] * cur
    for part in conversation.split(sep2):
        if part == "":
            break
        parts = part.split(sep)
        if len(parts) != 2:
            break
        parts[0] += sep
        whole, instruction = len(count(part)), len(count(parts[0])) - 2
        target[cur : cur + instruction] = [IGNORE] * instruction
        cur += whole
    target[cur:] = [IGNORE] * len(target[cur:])
    if cur != len(ids):
        target = [IGNORE] * len(ids)
    return ids, target


def preprocess_plain(values):
    conversation = "<image>" + values[1] + "\n"
    ids = tokenizer_image_token(conversation)
    masked = len(tokenizer_image_token("<image>"))
    return ids, [IGNORE] * masked + ids[masked:]


CONVERSATIONS = [
    ["<image>\nWhat is this?", "A red dog in the park."],
    ["What is <image> this?", "A cat."],
    ["Is the dog left of the cat?\n<image>", "Yes.", "And the horse?", "It is behind the house.", "Why?", "I can't say."],
    ["Tell me about bicycles.", "They have 2 wheels.\n\nTwo of them!", "Thanks", "You're welcome."],
    ["<image>\n", " leading space"],
    ["<image>\nünïcode 犬?", "🦄 naïve\n"],
    ["say ASSISTANT: twice", "a ASSISTANT: b", "ok", "yes"],
    ["what does </s> mean?", "the end"],
    ["what is <s>?", "the <s>start</s>"],
    ["a ###", "b"],
]


def llava():
    for values in CONVERSATIONS:
        moved = preprocess_multimodal(values)
        has_image = any("<image>" in value for value in values)
        case = {"turns": values, "moved": moved, "prompts": {}, "asked": {}, "labels": {}}
        for name in STYLES:
            case["prompts"][name] = get_prompt(name, moved)
            case["asked"][name] = get_prompt(name, [*moved[:-1], None])
            if STYLES[name][0] != "SINGLE":
                case["labels"][name] = preprocess_rounds(name, moved, has_image)
        if has_image and len(values) == 2:
            case["labels"]["plain"] = preprocess_plain(moved)
        yield case


# 2. LLaVA's order of an epoch


def split_to_even_chunks(indices, lengths, num_chunks):
    if len(indices) % num_chunks != 0:
        return [indices[i::num_chunks] for i in range(num_chunks)]
    per_chunk = len(indices) // num_chunks
    chunks, chunks_lengths = [[] for _ in range(num_chunks)], [0 for _ in range(num_chunks)]
    for index in indices:
        shortest = chunks_lengths.index(min(chunks_lengths))
        chunks[shortest].append(index)
        chunks_lengths[shortest] += lengths[index]
        if len(chunks[shortest]) == per_chunk:
            chunks_lengths[shortest] = float("inf")
    return chunks


def length_grouped(lengths, batch_size, world_size):
    indices = torch.randperm(len(lengths))
    size = world_size * batch_size
    megabatches = [indices[i : i + size].tolist() for i in range(0, len(lengths), size)]
    megabatches = [sorted(one, key=lambda i: lengths[i], reverse=True) for one in megabatches]
    return [i for one in megabatches for batch in split_to_even_chunks(one, lengths, world_size) for i in batch]


def modality_length_grouped(lengths, batch_size, world_size):
    if all(one > 0 for one in lengths):
        return length_grouped(lengths, batch_size, world_size)
    mm_indices, mm_lengths = zip(*[(i, one) for i, one in enumerate(lengths) if one > 0])
    lang_indices, lang_lengths = zip(*[(i, -one) for i, one in enumerate(lengths) if one < 0])
    mm = [mm_indices[i] for i in length_grouped(mm_lengths, batch_size, world_size)]
    lang = [lang_indices[i] for i in length_grouped(lang_lengths, batch_size, world_size)]
    size = world_size * batch_size
    mm, lang = ([one[i : i + size] for i in range(0, len(one), size)] for one in (mm, lang))
    megabatches = mm[:-1] + lang[:-1]
    megabatches = [megabatches[i] for i in torch.randperm(len(megabatches))]
    return [i for one in [*megabatches, sorted(mm[-1] + lang[-1])] for i in one]


def orders():
    draw = random.Random(5)
    for seed, (count, text, batch, world) in enumerate([(50, 0.2, 4, 2), (33, 0, 3, 2), (7, 0.5, 4, 1), (64, 0.4, 4, 4)]):
        lengths = [draw.randint(1, 60) * (-1 if draw.random() < text else 1) for _ in range(count)]
        torch.manual_seed(seed)
        order = modality_length_grouped(lengths, batch, world)
        yield {"seed": seed, "lengths": lengths, "batchSize": batch, "parts": world, "order": order}


# 3. Jinja

CHATML = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
          "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
          "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
          "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
PARTS = """{% for message in messages %}
{% if message['role'] != 'system' %}
{{ message['role'].upper() + ': ' }}
{%- endif %}
{# Pictures first #}
{%- for content in message['content'] | selectattr('type', 'equalto', 'image') %}
{{- '<image>\n' }}
{%- endfor %}
{%- for content in message['content'] | selectattr('type', 'equalto', 'text') %}
{{- content['text'] + (eos_token if message['role'] == 'assistant' else ' ') }}
{%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- 'ASSISTANT:' }}
{%- endif %}"""
VICUNA = ("{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] + ' ' %}"
          "{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}{{ bos_token + system }}{% for message in rest %}"
          "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
          "{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] | trim + ' ' }}"
          "{% else %}{{ 'ASSISTANT: ' + message['content'] | trim + eos_token }}{% endif %}{% endfor %}"
          "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")


def jinja():
    system = {"role": "system", "text": "Be brief."}
    for name, source in {"chatml": CHATML, "parts": PARTS, "vicuna": VICUNA}.items():
        for values in CONVERSATIONS[:4]:
            for begin in [[], [system]]:
                for count in [len(values), len(values) - 1]:
                    moved = preprocess_multimodal(values)[:count]
                    turns = begin + [{"role": ["user", "assistant"][i % 2], "text": text} for i, text in enumerate(moved)]
                    yield {"name": name, "turns": turns, "text": render(name, source, turns)}


def render(name, source, turns):
    def content(text):
        if name != "parts":
            return text
        images = [{"type": "image"}] * text.count("<image>")
        return [*images, {"type": "text", "text": text.replace("<image>\n", "")}]

    messages = [{"role": turn["role"], "content": content(turn["text"])} for turn in turns]
    [text], _ = render_jinja_template([messages], chat_template=source, add_generation_prompt=turns[-1]["role"] != "assistant",
                                      bos_token="<s>", eos_token="</s>")
    return text


def main():
    folder = GOLDEN / "conversations"
    folder.mkdir(exist_ok=True)
    cases = {"llava": list(llava()), "templates": {"chatml": CHATML, "parts": PARTS, "vicuna": VICUNA}, "jinja": list(jinja()), "orders": list(orders())}
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=None).replace('{"turns"', '\n{"turns"') + "\n")


main()
