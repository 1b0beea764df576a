"""Makes test/golden/tokenizer-own: small vocabularies of our own, learnt from the sentences below, and what SentencePiece
and Hugging Face's tokenizers make of many texts with them; and what transformers makes of test/golden/tokenizer-world.
Needs sentencepiece 0.2, tokenizers 0.23 and transformers 5; offline, seeded.

node --conditions=source --import tsx scripts/make-word-vocabulary.ts
python scripts/make-tokenizer-goldens.py
"""

import io
import itertools
import json
import random
import re
import tempfile
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

GOLDEN = Path(__file__).resolve().parent.parent / "test" / "golden"
FOLDER = GOLDEN / "tokenizer-own"
WORLD = GOLDEN / "tokenizer-world"

# 1. Sentences to learn from

COLOURS = ["red", "green", "blue", "yellow", "black", "white"]
THINGS = ["dog", "cat", "chair", "table", "lamp", "car", "horse", "teddy bear", "snowman", "bicycle"]
PLACES = ["in the park", "on the beach", "in the room", "behind the house", "under the bridge", "near the river"]
FOREIGN = [
    "Der Hund läuft über die Straße und bellt.",
    "Le café est fermé, mais l'hôtel où je dors est ouvert.",
    "¿Dónde está la niña? Mañana iré al jardín.",
    "Привет, мир! Где собака и где кошка?",
    "Η γάτα κάθεται κάτω από το τραπέζι.",
    "犬は公園で走っています。猫は家にいます。",
    "你好，世界。狗在公园里跑步。",
    "한국어 문장도 하나 있습니다.",
    "الكلب في الحديقة والقط في البيت.",
    "ไม่มีช่องว่างในประโยคนี้",
]


def sentences():
    asks = ["Is the {0} {1} left of the {2} {3}?", "What is the {0} {1} doing {4}?", "The {0} {1} isn't {4}.",
            "I've seen 12 {1}s and 345 {3}s {4}; they're {0}!", "def {1}_{0}(x):\n    return x + {5}\n",
            "Describe the {0} {1} {4}, please: it's \"{2}\"."]
    draw = random.Random(1)
    for i in range(900):
        colours, things = draw.sample(COLOURS, 2), draw.sample(THINGS, 2)
        yield asks[i % len(asks)].format(colours[0], things[0], colours[1], things[1], draw.choice(PLACES), i)
    yield from FOREIGN * 12


# 2. Texts to encode

FIXED = [
    "", " ", "  ", "   ", "Hello", " Hello", "Hello world", "hello  world", "   leading", "trailing   ", "line\nbreak", "\n",
    "\n\n", "\ttab", "\r\n windows\r\n\r\n", "USER: <image>\nWhat is this? ASSISTANT:", "a</s>b", "<s>x", "<unk>", "</s>",
    "a </s> b</s></s>", "<image><image>", "tell <image> apart", "<sep>a<sep> b", "a<sep><sep>", "<|im_start|>user\nhi<|im_end|>\n",
    "<|im_start|> <|im_end|>", "<tool>x</tool>", "你好，世界", "日本語", "한국어", "Привет мир", "😀", "👍🏽", "🦄 rare", "café",
    "cafe\u0301", "ﬁne ½ ① Ａ", "İstanbul ΣΑΣ ſtraße", "1234567890", "3.14 + ²³ = ٣٤", "x = y + 2;", "def f(x):\n    return x\n",
    "▁underscore▁", " ▁ x", "\u200b", "\x00", "\x7f\x85", "\xa0nbsp\u3000wide", "\ufeffbom", "don't I'LL we'Ve it'S 'tis y'all'd it'ſ",
    "A" * 50, "the " * 40, "<0x0A>", "<0x41>", "aaaaabaaaab", "\u0301\u0301", "e\u0301\u0327", "tab\t\tspace  \n \n  end ",
    "«quoted» — dash… ‘x’", "🏳️‍🌈 flag", "שלום עולם", "नमस्ते दुनिया", "word\u0085next\u2028line", "a\u00adb", "ﷺ", "豈",
]


def texts():
    yield from FIXED
    draw = random.Random(2)
    parts = COLOURS + THINGS + ["▁", " ", "  ", "\n", "é", "e\u0301", "犬", "😀", "dog's", "12", ".", "?!", "<image>", "</s>", "ß",
                                "Где", "\t", "ｶﾞ", "\u00a0", "<sep>", "tail ", "'", "_", "x", "y", "ab", "<|im_end|>", "\U0001f984"]
    for _ in range(120):
        yield "".join(draw.choice(parts) for _ in range(draw.randint(1, 14)))


# 3. SentencePiece


def train_pieces(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(list(sentences())), model_writer=model, minloglevel=2,
                                             num_threads=1, hard_vocab_limit=False, **options)
    return model.getvalue()


def rules():
    """A small normalisation of our own: sequences of code points and what replaces them."""
    table = {"A": "a", "\ufb01": "fi", "e\u0301": "é", "\u3000": " ", "\t": " ", "\n": " ", "\u200b": "", "日本": "犬 "}
    lines = [" ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) for old, new in table.items()]
    path = Path(tempfile.mkdtemp()) / "rules.tsv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def section_ids(processor, names, text, legacy):
    """The ids that transformers' LlamaTokenizer (4.x, slow) gives: special tokens first, SentencePiece for the rest."""
    ids = []
    for part in re.split("(" + "|".join(map(re.escape, names)) + ")", text):
        if part in names:
            ids.append(processor.piece_to_id(part))
        elif part:
            is_first = not ids and text.startswith(part)
            ids += processor.encode(part) if legacy or is_first else encode_bare(processor, part)
    return ids


def encode_bare(processor, part):
    """Without the space that SentencePiece puts before a text: behind the unknown piece, which is then cut off."""
    # Of a message that is there twice, the later fields count: normalizer_spec { add_dummy_prefix: false }.
    bare = sentencepiece.SentencePieceProcessor(model_proto=processor.serialized_model_proto() + b"\x1a\x02\x18\x00")
    skipped = len(bare.encode("<unk>"))
    return bare.encode("<unk>" + part)[skipped:]


def pieces_case(name, proto, legacy=True):
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    names = [processor.id_to_piece(i) for i in range(processor.vocab_size()) if processor.is_control(i) or processor.is_unknown(i)]
    plain = [i for i in range(processor.vocab_size()) if not processor.is_control(i) and not processor.is_unknown(i)]
    encoded = [{"text": text, "ids": section_ids(processor, names, text, legacy)} for text in texts()]
    decoded = [{"ids": ids, "text": processor.decode(ids)} for ids in random_ids(plain)]
    return {"name": name, "config": {} if legacy else {"legacy": False}, "encoded": encoded, "decoded": decoded}


def random_ids(ids):
    draw = random.Random(3)
    return [[draw.choice(ids[:300] if n % 2 else ids) for _ in range(draw.randint(1, 12))] for n in range(40)]


# 4. tokenizer.json


def merges_of(proto):
    """The byte pairs of a SentencePiece model as a list of merges, in transformers' order."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto)
    vocabulary = {processor.id_to_piece(i): i for i in range(processor.vocab_size())}
    found = []
    for piece, number in vocabulary.items():
        if processor.is_control(number) or processor.is_byte(number) or processor.is_unknown(number):
            continue
        halves = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocabulary and piece[i:] in vocabulary]
        halves.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        found += [(processor.get_score(number), pair) for pair in halves]
    return vocabulary, [pair for _, pair in sorted(found, key=lambda one: -one[0])]


def llama(proto):
    vocabulary, merges = merges_of(proto)
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    made.add_special_tokens([AddedToken(one, normalized=False, special=True) for one in ["<unk>", "<s>", "</s>", "<image>"]])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return made


QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def qwen2():
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.pre_tokenizer = pre_tokenizers.Sequence([split(QWEN2), byte_level])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(sentences(), trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False))
    made.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]])
    made.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("</tool>", normalized=False, lstrip=True, rstrip=True),
                     AddedToken("dog", single_word=True, normalized=False), AddedToken("é", normalized=True)])
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def unigram():
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, unk_token="<unk>", special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)
    made.train_from_iterator(sentences(), trainer)
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return made


def variant(made, name, file, **parts):
    """A case of a tokenizer with other parts; `override` holds them as tokenizer.json does."""
    base = json.loads(made.to_str())
    other = Tokenizer.from_str(json.dumps({**base, **parts}))
    encoded = [{"text": text, "ids": other.encode(text).ids} for text in texts()]
    lists = random_ids([i for i in range(other.get_vocab_size())])
    decoded = [{"ids": ids, "text": other.decode(ids, skip_special_tokens=False),
                "plain": other.decode(ids, skip_special_tokens=True)} for ids in lists]
    return {"name": name, "file": file, "override": parts, "encoded": encoded, "decoded": decoded}


def part(builder):
    return json.loads(builder.__getstate__())


def world():
    """What transformers' AutoTokenizer makes of a word vocabulary that diffsight wrote."""
    made = AutoTokenizer.from_pretrained(WORLD)
    asked = ["Where is the dog?", "where is the dog ?", "USER: <image>\nis the red teddy left of a cat ? ASSISTANT: left</s>"]
    encoded = [{"text": text, "ids": made(text).input_ids} for text in [*asked, *texts()]]
    lists = random_ids(list(range(len(made))))
    decoded = [{"ids": ids, "text": made.decode(ids), "plain": made.decode(ids, skip_special_tokens=True)} for ids in lists]
    special = {name: getattr(made, f"{name}_token_id") for name in ["bos", "eos", "pad", "unk"]}
    return {"size": len(made), "special": special, "encoded": encoded, "decoded": decoded}


def write(path, content):
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    path.write_text(re.sub(r'(\{"(name|text|ids)")', r"\n\1", text) + "\n")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    common = {"character_coverage": 0.985, "unk_id": 0, "bos_id": 1, "eos_id": 2}
    pairs = train_pieces(model_type="bpe", vocab_size=640, byte_fallback=True, normalization_rule_name="identity",
                         remove_extra_whitespaces=False, **common)
    users = train_pieces(model_type="bpe", vocab_size=320, user_defined_symbols=["<sep>", "teddy", "  "], pad_id=3,
                         normalization_rule_tsv=rules(), **common)
    probable = train_pieces(model_type="unigram", vocab_size=420, **common)
    probable_bytes = train_pieces(model_type="unigram", vocab_size=640, byte_fallback=True, user_defined_symbols=["<sep>", "dog"],
                                  normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, **common)
    protos = {"pairs": pairs, "pairs-users": users, "unigram": probable, "unigram-bytes": probable_bytes}
    for name, proto in protos.items():
        (FOLDER / f"{name}.model").write_bytes(proto)
    pieces = [pieces_case(name, proto) for name, proto in protos.items()] + [pieces_case("pairs", pairs, legacy=False)]

    made = {"llama": llama(pairs), "qwen2": qwen2(), "unigram": unigram()}
    for name, one in made.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(json.loads(one.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    first = part(pre_tokenizers.Metaspace("▁", "first", False))
    qwen_model = json.loads(made["qwen2"].to_str())["model"]
    singles = part(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=True)]))
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    json_cases = [
        variant(made["llama"], "llama", "llama.json"),
        variant(made["llama"], "llama, space before the first part only", "llama.json", normalizer=None, pre_tokenizer=first),
        variant(made["qwen2"], "qwen2", "qwen2.json"),
        variant(made["qwen2"], "llama 3", "qwen2.json", normalizer=None,
                pre_tokenizer=part(pre_tokenizers.Sequence([split(LLAMA3), byte_level])), model={**qwen_model, "ignore_merges": True}),
        variant(made["qwen2"], "gpt-2", "qwen2.json", normalizer=None, pre_tokenizer=part(pre_tokenizers.ByteLevel(add_prefix_space=False))),
        variant(made["qwen2"], "single digits", "qwen2.json", normalizer=None, pre_tokenizer=singles),
        *(variant(made["qwen2"], f"split {behavior}{' inverted' * invert}", "qwen2.json", normalizer=None,
                  pre_tokenizer=part(pre_tokenizers.Sequence([split(r"\s|\d", behavior, invert), byte_level])))
          for behavior, invert in itertools.product(behaviors, [False, True])),
        variant(made["unigram"], "unigram", "unigram.json"),
        variant(made["unigram"], "normalizers", "unigram.json", normalizer=part(normalizers.Sequence([
            normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(), normalizers.Replace(Regex(r"\s+"), " ")]))),
    ]
    for case in json_cases[6:]:
        case["encoded"] = case["encoded"][: len(FIXED)]
        case["decoded"] = case["decoded"][:10]
    write(FOLDER / "cases.json", {"pieces": pieces, "json": json_cases})
    write(WORLD / "cases.json", world())


main()
