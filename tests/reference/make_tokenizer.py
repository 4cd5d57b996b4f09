"""Lines of every script and what `tokenizers` makes of them: writes
tests/data/tokenizer/{lines.txt, uncased.txt, other.txt}.

    pip install tokenizers==0.23.3 xxhash
    python make_tokenizer.py MEDQUAD_FOLDER SCIFACT_FOLDER

lines.txt holds a text a line (only a line feed ends one); uncased.txt the XXH3 of each line's ids
(32-bit, little-endian, [CLS] and [SEP] included) under bert-base-uncased; other.txt the XXH3 of all
ids of 64 lines together under other settings of the normaliser. Real lines are cut from MedQuAD
(CC BY 4.0) and SciFact's abstracts (ODC-By 1.0); all others are generated here.
"""
import json
import os
import random
import struct
import sys
import unicodedata

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "..", "data", "tokenizer")
VOCABULARY = os.path.join(HERE, "..", "..", "configs", "vocab", "bert-base-uncased-vocab.txt")
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SETTINGS = {  # clean_text, handle_chinese_chars, strip_accents, lowercase
    "cased": (True, True, False, False),
    "accents": (True, False, False, True),
    "raw": (False, True, True, True),
}
BLOCK = 64

SENTENCES = """
Où est l'hôpital Saint-Étienne ? Ça dépend de l'œuvre, naïve élève.
Der Fußgänger überquerte die Straße; Größe, Öl, Übermut, Ärger.
¿Dónde está el niño? ¡Qué pingüino más extraño!
Příliš žluťoučký kůň úpěl ďábelské ódy.
Zażółć gęślą jaźń, łódź i źdźbło.
Αυτό είναι ένα μικρό κείμενο· ΟΔΥΣΣΕΎΣ, ὁ ἄνθρωπος.
Съешь ещё этих мягких французских булок, да выпей же чаю.
Їжак та ґава їдуть до Європи.
הַיֶּלֶד קוֹרֵא סֵפֶר בַּגַּן.
هٰذَا كِتَابٌ جَدِيدٌ، أليس كذلك؟
یہ ایک چھوٹا جملہ ہے۔
यह एक छोटा सा वाक्य है।
এটি একটি ছোট বাক্য।
இது ஒரு சிறிய வாக்கியம்.
ఇది ఒక చిన్న వాక్యం.
ಇದು ಒಂದು ಚಿಕ್ಕ ವಾಕ್ಯ.
ഇതൊരു ചെറിയ വാക്യമാണ്.
මෙය කෙටි වාක්‍යයකි.
นี่คือประโยคสั้นๆ ที่ไม่มีช่องว่าง
ນີ້ແມ່ນປະໂຫຍກສັ້ນໆ
ဒါက စာကြောင်းတိုတစ်ခုပါ။
នេះជាប្រយោគខ្លី។
这是一个简短的句子，没有空格。
這是一個簡短的句子。
これは短い文です。カタカナとｶﾀｶﾅ。
이것은 짧은 문장입니다.
ეს არის მოკლე წინადადება. ᲔᲡ ᲐᲠᲘᲡ
Սա կարճ նախադասություն է։
ይህ አጭር ዓረፍተ ነገር ነው።
ᐃᓄᒃᑎᑐᑦ ᏣᎳᎩ ꮳꮃꭹ ᚠᚢᚦ ᚛ᚑᚌᚐᚋ᚜
Bu İstanbul'da kısa bir cümledir: IĞDIR, ığdır, İİİ.
Đây là một câu ngắn. Tiếng Việt có dấu: ắằẳẵặ ĂẮẰ.
ﬁne ﬂuﬀy ligatures ŉ ǰ ẖ ß ẞ Å Å K Ω ſ
x² + y³ ≤ ½·π; 10 µg/mL ± 5 ‰; α₁ → β₂, Δt ≈ −3 °C
""".strip().split("\n")

ASSIGNED = [c for c in range(0x110000)
            if unicodedata.category(chr(c)) not in ("Cn", "Cs") and c != 10]
SMALL = [c for c in ASSIGNED if not (0x3400 <= c < 0xA000 or 0xAC00 <= c < 0xD7A4 or c >= 0x20000
                                     or 0xE000 <= c < 0xF900 or 0x17000 <= c < 0x18D00)]
MARKS = [c for c in ASSIGNED if unicodedata.category(chr(c)) in ("Mn", "Mc", "Me")]
MOVING = [c for c in MARKS if unicodedata.combining(chr(c))]
SPACES = [9, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, 0x2000, 0x2003, 0x2009, 0x200A, 0x2028, 0x2029,
          0x202F, 0x205F, 0x3000]
CONTROLS = [0, 1, 7, 8, 27, 31, 127, 0x80, 0x9F, 0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x200F,
            0x202A, 0x202E, 0x2060, 0x2066, 0xFEFF, 0xFFF9, 0xFFFD, 0xE000, 0xF8FF, 0xE0001,
            0x10FFFD]


def some(codes, most, least=1):
    return "".join(chr(random.choice(codes)) for _ in range(random.randint(least, most)))


def word():
    return random.choice(WORDS)


def real_lines(folder, count, width):
    with open(os.path.join(folder, "corpus.jsonl")) as corpus:
        texts = [json.loads(line)["text"] for line in corpus]
    other = [text for text in texts if not text.isascii()]
    for i in range(count):
        text = random.choice(other if i % 2 else texts)
        at = random.randrange(max(1, len(text) - width))
        if i % 2:  # around a character that is not ASCII
            at = max(0, next(k for k, c in enumerate(text) if ord(c) > 127) - width // 2)
        yield text[at:at + random.randint(width // 2, width)]


def script_lines():
    chunks = {}
    for code in SMALL:
        chunks.setdefault(code // 32, []).append(code)
    for codes in chunks.values():
        yield word() + " " + some(codes, 14, 6) + " " + some(codes, 5) + word() + some(codes, 5)


def ideograph_lines():
    for _ in range(450):
        start = random.choice([0x3400, 0x4E00, 0x4E00, 0x4E00, 0xF900, 0x20000, 0x2A700, 0x2B740,
                               0x2B820, 0x2B920, 0x2F800, 0xAC00, 0x3040, 0x30A0, 0x1100, 0xFF00,
                               0x30000])
        codes = range(start, start + random.choice([32, 256, 1024]))
        yield some(codes, 8) + word() + some(codes, 8) + random.choice(["", "。", "、", " "])


def mark_lines():
    for i in range(1600):
        base = random.choice(["e", "A", "ɣ", "か", "ب", "한", "क", word()])
        marks = some(MOVING if i % 2 else MARKS, 9)
        yield word() + " " + base + marks + some(MOVING, 4) + word() + random.choice(["\u0301", ""])


def emoji_lines():
    joined = ["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪", "1️⃣", "❤️", "🧑🏿‍🚀", "☺︎", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "😀"]
    for _ in range(400):
        yield word() + random.choice(["", " "]) + "".join(
            random.choice(joined) for _ in range(random.randint(1, 3))) + some(
                range(0x1F300, 0x1FA00), 4) + word()


def control_lines():
    for _ in range(500):
        yield "".join(random.choice([word, lambda: some(SPACES, 2), lambda: some(CONTROLS, 3)])()
                      for _ in range(random.randint(3, 9)))


def long_word_lines():
    for length in list(range(95, 106)) * 12:
        letters = random.choice(["a", "ab1", "é", "e\u0301", "한", "ﷺx", "привет", "İi", "𝒳y"])
        text = (letters * length)[:length]
        yield word() + " " + text + random.choice(["", " end", ".", "\u0301", "\u200b", "語"])


def special_lines():
    parts = SPECIALS + ["[", "]", "[sep]", "[SEP", "SEP]", "[unused1]", "[[", "]]", "##ing", " ",
                        "[M\u200dASK]", "[ＭASK]", "\u0301", "é", "\u302e"]
    for _ in range(600):
        yield "".join(random.choice(parts + [word()]) for _ in range(random.randint(1, 6)))


def symbol_lines():
    for _ in range(700):
        text = "".join(random.choice([word(), some(range(33, 127), 6), str(random.random())])
                       for _ in range(random.randint(2, 4)))
        yield random.choice(["https://example.org/", "", "e-mail: ", "$"]) + text


def mixed_lines():
    for i in range(1500):
        yield some(ASSIGNED if i % 3 == 0 else SMALL, 9) + word() + some(SMALL, 9)


def vocabulary_lines():
    pieces = [piece.removeprefix("##") for piece in WORDS + PIECES]
    for _ in range(2200):
        text = "".join(random.choice(pieces) + random.choice(["", "", " "])
                       for _ in range(random.randint(2, 7)))
        if random.random() < 0.3:
            text = text.upper()
        if random.random() < 0.3:
            text = "".join(c + random.choice(["", "", "\u0301", "\u0327"]) for c in text[:40])
        yield unicodedata.normalize("NFC", text) if random.random() < 0.5 else text


def reference(clean, chinese, accents, lower):
    with open(VOCABULARY) as file:
        vocabulary = {token: i for i, token in enumerate(file.read().split("\n")[:-1])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


def ids(tokenizer, line):
    found = tokenizer.encode(line).ids
    return struct.pack(f"<{len(found)}i", *found)


def write_answers(lines):
    import xxhash  # check_tokenizer.py, which takes its lines from here, does without
    tokenizer = reference(True, True, True, True)
    with open(os.path.join(OUT, "uncased.txt"), "w") as out:
        for line in lines:
            out.write(xxhash.xxh3_64_hexdigest(ids(tokenizer, line)) + "\n")
    with open(os.path.join(OUT, "other.txt"), "w") as out:
        for name, setting in SETTINGS.items():
            tokenizer = reference(*setting)
            for first in range(0, len(lines), BLOCK):
                joined = b"".join(ids(tokenizer, line) for line in lines[first:first + BLOCK])
                out.write(f"{name} {first} {xxhash.xxh3_64_hexdigest(joined)}\n")


with open(VOCABULARY) as vocabulary_file:
    TOKENS = [token for token in vocabulary_file.read().split("\n") if token]
WORDS = [token for token in TOKENS if token.isalpha()]
PIECES = [token for token in TOKENS if token.startswith("##")]

KINDS = (script_lines, ideograph_lines, mark_lines, emoji_lines, control_lines, long_word_lines,
         special_lines, symbol_lines, mixed_lines, vocabulary_lines)

if __name__ == "__main__":
    random.seed(20260101)
    lines = list(SENTENCES) + [""]
    lines += real_lines(sys.argv[1], 900, 110)
    lines += real_lines(sys.argv[2], 900, 110)
    for kind in KINDS:
        lines += kind()
    lines = [line.replace("\n", " ") for line in lines]
    with open(os.path.join(OUT, "lines.txt"), "w", newline="") as out:
        out.write("\n".join(lines) + "\n")
    write_answers(lines)
