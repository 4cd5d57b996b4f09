"""Whether widebatch makes the same ids of a text as Hugging Face's `tokenizers`.

Lines of every script, emoji, marks, controls, words of the vocabulary in pieces (make_tokenizer.py)
and MedQuAD's own, under normalisers of all settings and lengths drawn anew each time. 5,000 lines,
with WB_TEST_LONG=1 100,000; WB_TEST_SEED repeats a run. Exits with 77 where the package is not;
another version than make_tokenizer.py names may see another Unicode.
Usage: python check_tokenizer.py WIDEBATCH CONFIGS SCRATCH
"""
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "reference"))
try:
    import make_tokenizer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

PROGRAM, CONFIGS, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
LINES = 100_000 if os.environ.get("WB_TEST_LONG") == "1" else 5_000
SEED = int(os.environ.get("WB_TEST_SEED") or time.time_ns() % 10**9)
BATCH = 1_000


def medquad():
    """Questions and answers, whole."""
    with tarfile.open(CONFIGS / "data" / "medquad.tar.xz") as archive:
        for name in ("medquad/queries.jsonl", "medquad/corpus.jsonl"):
            for line in io.TextIOWrapper(archive.extractfile(name), encoding="utf-8", newline="\n"):
                yield json.loads(line)["text"]


def drawn_lines():
    """Without end; half of them MedQuAD's."""
    real = list(medquad())
    while True:
        drawn = [line for kind in make_tokenizer.KINDS for line in kind()]
        drawn += make_tokenizer.SENTENCES + random.sample(real, min(len(real), len(drawn)))
        random.shuffle(drawn)
        yield from (line.replace("\n", " ") for line in drawn)


def drawn_tokenizer():
    """A folder's tokenizer.json, and what it says."""
    setting = tuple(random.choice(choices) for choices in
                    ((True, False), (True, False), (None, True, False), (True, False)))
    tokenizer = make_tokenizer.reference(*setting)
    tokenizer.save(str(SCRATCH / "tokenizer.json"))
    return tokenizer, dict(zip(("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"), setting))


def ids_by_widebatch(lines, longest):
    text = "".join(line + "\n" for line in lines).encode()
    done = subprocess.run([PROGRAM, "tokenize", "--model", SCRATCH, "--max-tokens", str(longest)],
                          input=text, stdout=subprocess.PIPE, check=True)
    return [[int(word) for word in line.split()] for line in done.stdout.decode().splitlines()]


def main():
    print(f"seed: WB_TEST_SEED={SEED}")
    random.seed(SEED)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    lines, differ = drawn_lines(), 0
    for _ in range(0, LINES, BATCH):
        batch = [next(lines) for _ in range(BATCH)]
        tokenizer, setting = drawn_tokenizer()
        longest = random.choice((3, 16, 64, 512, 8192))
        tokenizer.enable_truncation(longest)
        ours = ids_by_widebatch(batch, longest)
        theirs = [found.ids for found in tokenizer.encode_batch(batch)]
        assert len(ours) == len(theirs)
        for line, a, b in zip(batch, ours, theirs):
            if a != b:
                differ += 1
                print(f"{setting}, {longest} tokens, {line!r}:\n  widebatch  {a}\n  tokenizers {b}")
    print(f"{LINES:,} lines, {differ} differ")
    return 1 if differ else 0


sys.exit(main())
