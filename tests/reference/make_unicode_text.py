"""What Hugging Face's `tokenizers` sees in each code point: writes
tests/data/tokenizer/code_points.txt and prints the tables of io/unicode_text.c.

    pip install tokenizers==0.23.3 xxhash        (and Debian's libutf8proc2 2.8)
    python make_unicode_text.py

The fixture has a line for each run of 1,024 code points and each of four settings of the BERT
normaliser: the XXH3 of what the text "a" + character + "b" turns into, code point after code
point. A word break is a line feed, and so is the end of a code point's text. The tables list where
utf8proc (Unicode 15) and the crates inside `tokenizers` (Unicode 8, 9 and 17) differ.
"""
import ctypes
import os

import xxhash
from tokenizers import normalizers, pre_tokenizers

FIXTURE = os.path.join(os.path.dirname(__file__), "..", "data", "tokenizer", "code_points.txt")
SETTINGS = {  # clean_text, handle_chinese_chars, strip_accents, lowercase
    "uncased": (True, True, True, True),
    "cased": (True, True, False, False),
    "accents": (True, False, False, True),
    "raw": (False, False, True, False),
}
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
RUN = 1024
pre_tokenizer = pre_tokenizers.BertPreTokenizer()


def normalizer(clean, chinese, accents, lower):
    return normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese,
                                      strip_accents=accents, lowercase=lower)


def write_fixture():
    with open(FIXTURE, "w") as out:
        out.write("# XXH3 of what 1,024 code points turn into; made by make_unicode_text.py\n")
        for name, setting in SETTINGS.items():
            model = normalizer(*setting)
            for first in range(0, 0x110000, RUN):
                texts = []
                for code in range(first, first + RUN):
                    if 0xD800 <= code < 0xE000:
                        continue
                    words = pre_tokenizer.pre_tokenize_str(
                        model.normalize_str("a" + chr(code) + "b"))
                    texts.append("\n".join(word for word, _ in words) + "\n")
                digest = xxhash.xxh3_64_hexdigest("".join(texts).encode())
                out.write(f"{name} {first:06x} {digest}\n")


class Property(ctypes.Structure):
    _fields_ = [("category", ctypes.c_int16), ("combining_class", ctypes.c_int16)]


utf8proc = ctypes.CDLL("libutf8proc.so.2")
utf8proc.utf8proc_get_property.restype = ctypes.POINTER(Property)
utf8proc.utf8proc_tolower.restype = ctypes.c_int32
CATEGORIES = ("CN LU LL LT LM LO MN MC ME ND NL NO PC PD PS PE PI PF PO SM SC SK SO ZS ZL ZP "
              "CC CF CS CO").split()
ASCII_PUNCTUATION = set(range(33, 48)) | set(range(58, 65)) | set(range(91, 97)) | set(
    range(123, 127))


def ours(code):
    name = CATEGORIES[utf8proc.utf8proc_category(code)]
    if code in ASCII_PUNCTUATION or name[0] == "P":
        return "PUNCTUATION"
    return {"MN": "MARK", "CC": "OTHER", "CF": "OTHER", "CO": "OTHER"}.get(name, "LETTER")


clean = normalizer(True, False, False, False)
strip = normalizer(False, False, True, False)
lower = normalizer(False, False, False, True)
nfd = normalizers.NFD()


def theirs(code):
    text = chr(code)
    if clean.normalize_str(text) == "":
        return "OTHER"
    if nfd.normalize_str(text) == text and strip.normalize_str(text) == "":
        return "MARK"
    if len(pre_tokenizer.pre_tokenize_str("a" + text + "b")) == 3:
        return "PUNCTUATION"
    return "LETTER"


def is_starter(code):
    """Combining class 0: nothing with another class moves over it."""
    high, low = "\u0345", "\u0334"  # classes 240 and 1
    text = chr(code)
    return (nfd.normalize_str("a" + high + text) == "a" + high + text
            and (text == low or nfd.normalize_str("a" + text + low) == "a" + text + low))


def ranges(rows):
    result = []
    for code, value in rows:
        if result and result[-1][1] == code - 1 and result[-1][2] == value:
            result[-1][1] = code
        else:
            result.append([code, code, value])
    return result


def print_tables():
    classes, cases = [], []
    for code in CODES:
        if code in (0, 0xFFFD, 9, 10, 13):
            continue
        want, have = theirs(code), ours(code)
        moved = nfd.normalize_str(chr(code)) != chr(code)
        ccc = utf8proc.utf8proc_get_property(code).contents.combining_class
        if not moved and want == "LETTER" and ccc != 0 and is_starter(code):
            classes.append((code, "STARTER"))
        elif want != have and not (moved and have == "MARK"):
            classes.append((code, want))
        lowered = lower.normalize_str(chr(code))
        if len(lowered) == 1 and ord(lowered) != utf8proc.utf8proc_tolower(code):
            cases.append((code, ord(lowered) - code))
    for first, last, value in ranges(classes):
        print(f"{{{first:#x}, {last:#x}, CLASS_{value}}},")
    for first, last, value in ranges(cases):
        print(f"{{{first:#x}, {last:#x}, {value}}},")


if __name__ == "__main__":
    write_fixture()
    print_tables()
