"""Makes test/golden/captions: CIDEr, BLEU and ROUGE-L of captions, by pycocoevalcap 1.2 (without its Java parts: the
captions are small letters without punctuation). Needs numpy; offline, seeded.

python scripts/make-caption-goldens.py
"""

import inspect
import json
import random
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider import cider_scorer
from pycocoevalcap.rouge.rouge import Rouge

WORDS = "a red blue dog cat chair to the left of right in park room two three and with hat is facing away".split()


def plain_scorer():
    """CIDEr as first published: pycocoevalcap's scorer with its clipping and its penalty on length taken out."""
    source = inspect.getsource(cider_scorer)
    clipped = "min(vec_hyp[n][ngram], vec_ref[n][ngram]) * vec_ref[n][ngram]"
    penalty = "val[n] *= np.e**(-(delta**2)/(2*self.sigma**2))"
    assert clipped in source and penalty in source
    scope = {}
    exec(source.replace(clipped, "vec_hyp[n][ngram] * vec_ref[n][ngram]").replace(penalty, "pass"), scope)
    return scope["CiderScorer"]()


def score(scorer, pairs):
    for pair in pairs:
        scorer += (pair["caption"], pair["references"])
    total, each = scorer.compute_score()
    return {"score": float(total), "each": [float(one) for one in each]}


def sentence(draw, low=3, high=14):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(low, high)))


def changed(draw, text):
    words = text.split()
    for _ in range(draw.randint(0, 4)):
        at = draw.randrange(len(words))
        words[at : at + 1] = draw.choice([[], [draw.choice(WORDS)], [words[at], words[at]]])
        words = words or ["dog"]
    return " ".join(words)


def main():
    cases = []
    for seed in range(4):
        draw = random.Random(seed)
        pairs = []
        for _ in range(12):
            truth = sentence(draw)
            pairs.append({"caption": changed(draw, truth), "references": [changed(draw, truth) for _ in range(draw.randint(1, 5))]})
        truths = {i: pair["references"] for i, pair in enumerate(pairs)}
        said = {i: [pair["caption"]] for i, pair in enumerate(pairs)}
        rouge, rouges = Rouge().compute_score(truths, said)
        cases.append({
            "pairs": pairs,
            "ciderD": score(cider_scorer.CiderScorer(), pairs),
            "cider": score(plain_scorer(), pairs),
            "bleu": Bleu(4).compute_score(truths, said, verbose=0)[0],
            "rougeL": {"score": float(rouge), "each": [float(one) for one in rouges]},
        })
    folder = Path(__file__).resolve().parent.parent / "test" / "golden" / "captions"
    folder.mkdir(exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases, separators=(",", ":")).replace('{"pairs"', '\n{"pairs"') + "\n")


main()
