"""Whether widebatch accepts the safetensors files that the reference, written in Rust, accepts.

Makes mutants of small files, which know the format: valid changes first (order, sizes, names,
blanks), then up to three that break a rule, or bytes. Both readers must agree on each, and where
they accept it on names, dtypes, shapes and bytes. widebatch may be stricter where STRICTER says so
and why; what the reference refuses, it must refuse. 5,000 mutants, with WB_TEST_LONG=1 100,000;
WB_TEST_SEED repeats a run. Exits with 77 where the package safetensors is not.
Usage: python check_safetensors.py VERDICTS [KEEP]   (KEEP: a folder for files that disagree)
"""
import collections
import json
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import time

try:
    import safetensors
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

VERDICTS = sys.argv[1]
KEEP = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
MUTANTS = 100_000 if os.environ.get("WB_TEST_LONG") == "1" else 5_000
SEED = int(os.environ.get("WB_TEST_SEED") or time.time_ns() % 10**9)
BATCH = 1_000
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64,
        "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64}

# ---- JSON as it will be written: an object is a list of pairs (keys may repeat), an array a Python
# list in a tuple, everything else bytes that go out as they are.


class Object(list):
    pass


class Array(list):
    pass


def quoted(text):
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")


def number(value):
    return str(value).encode()


def written(node, gap):
    if isinstance(node, Object):
        inner = b",".join(gap() + key + gap() + b":" + gap() + written(value, gap) + gap()
                          for key, value in node)
        return b"{" + (inner or gap()) + b"}"
    if isinstance(node, Array):
        return b"[" + (b",".join(gap() + written(value, gap) + gap() for value in node) or gap()) + b"]"
    return node


def places(node, found):
    """Every (container, index) below a node; of a pair, the value's."""
    for i, child in enumerate(node):
        found.append((node, i))
        value = child[1] if isinstance(node, Object) else child
        if isinstance(value, (Object, Array)):
            places(value, found)
    return found


def get(place):
    node, i = place
    return node[i][1] if isinstance(node, Object) else node[i]


def put(place, value):
    node, i = place
    node[i] = [node[i][0], value] if isinstance(node, Object) else value


# ---- A valid file

SHAPES = [[], [1], [3], [2, 3], [4, 1, 2], [0], [5, 0, 2], [1] * 8, [2] * 4, [16]]
NAMES = ["weight", "bias", "encoder.layer.0.weight", "a", "", " ", "é", "中文", "😀", "\u007f", "\"\\/",
         "tab\t", "__metadata", "dtype", "x" * 300, "\ufeff", "\ud7ff\ue000"]


def bytes_of(dtype, shape):
    count = 1
    for extent in shape:
        count *= extent
    return None if count * BITS[dtype] % 8 else count * BITS[dtype] // 8


def valid(draw):
    """The header as a tree, and the bytes behind it."""
    tensors, end = [], 0
    for name in draw.sample(NAMES, draw.choice([0, 1, 1, 2, 2, 3, 5])):
        dtype, shape = draw.choice(list(BITS)), list(draw.choice(SHAPES))
        size = bytes_of(dtype, shape)
        if size is None:
            dtype, size = "F32", bytes_of("F32", shape)
        members = [[b'"dtype"', quoted(dtype)], [b'"shape"', Array(map(number, shape))],
                   [b'"data_offsets"', Array([number(end), number(end + size)])]]
        if draw.random() < 0.3:
            draw.shuffle(members)
        tensors.append([quoted(name), Object(members)])
        end += size
    if draw.random() < 0.4:
        draw.shuffle(tensors)
    header = Object(tensors)
    if draw.random() < 0.4:
        texts = Object([quoted(f"k{i}"), quoted(draw.choice(NAMES))] for i in range(draw.randint(0, 3)))
        header.insert(draw.randint(0, len(header)), [b'"__metadata__"', texts])
    return header, draw.randbytes(end)


# ---- Changes of the tree. Each takes the draw, the header and the data, and returns the data.

NUMBERS = [b"-1", b"-0", b"0", b"00", b"01", b"+1", b"1.0", b"1.5", b"1e0", b"1E2", b"0e0", b"-1e-1",
           b"1e400", b"1e-400", b".5", b"5.", b"0x10", b"NaN", b"Infinity", b"255", b"65536",
           b"2147483648", b"4294967296", b"4294967297", b"4611686018427387904",
           b"9223372036854775807", b"9223372036854775808", b"18446744073709551615",
           b"18446744073709551616", b"18446744073709551620", b"1" + b"0" * 40, b'"1"', b"null", b"true",
           b"[1]", b"{}", b"", b"1 2"]
VALUES = [b"null", b"true", b"false", b"0", b"1", b"-1", b'""', b'"F32"', b'"x"', b"[]", b"{}", b"[0]",
          b"[0,0]", b"[0,4]", b'{"a":1}', b'{"F32":null}', b'{"F32":[]}', b'["F32",[0],[0,0]]',
          b'["F32",[1],[0,4]]', b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}', b"nul", b"'x'"]
KEYS = [b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b'"Dtype"', b'"dtypes"', b'"extra"',
        b'"\\u0064type"', b'"__metadata\\u005f_"', b'"\\u0000"', b'"a\\u0000b"', b'"\\ud83d\\ude00"',
        b'"\\ud83d"', b'"\\ude00"', b'"\\ud83dx"', b'"\\uD83D\\u0041"', b'"\xff"', b'"\xc0\x80"',
        b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b'"\xe2\x82"', b'"\x00"', b'"\x1f"', b'"\x7f"', b'"\n"',
        b'"\\x41"', b'"\\u12"', b'"\\/"', b'"\\b\\f\\n\\r\\t"', b"dtype", b"1", b"null", b'"', b""]
DTYPES = ["f32", "F32 ", "F128", "", "I4", "F8", "float32", "BOOLEAN", "U1", "\u0000", *BITS]


def pick(draw, header, accept):
    found = [place for place in places(header, []) if accept(place)]
    return draw.choice(found) if found else None


def is_number(place):
    return isinstance(get(place), bytes) and get(place)[:1].isdigit()


def in_object(place):
    return isinstance(place[0], Object)


def change_number(draw, header, data):
    place = pick(draw, header, is_number)
    if place:
        old = get(place)
        same = [b"-" + old, b"0" + old, old + b".0", old + b"e0", b" " + old, b"\"" + old + b"\""]
        near = [number(int(old) + d) for d in (-8, -4, -1, 1, 4, 8)] if old.isdigit() else []
        put(place, draw.choice(NUMBERS + 3 * same + 3 * near))
    return data


def change_dtype(draw, header, data):
    place = pick(draw, header, lambda p: in_object(p) and p[0][p[1]][0] == b'"dtype"')
    if place:
        put(place, quoted(draw.choice(DTYPES)))
    return data


def change_value(draw, header, data):
    place = pick(draw, header, lambda p: True)
    if place:
        put(place, draw.choice(VALUES))
    return data


def change_key(draw, header, data):
    place = pick(draw, header, in_object)
    if place:
        place[0][place[1]] = [draw.choice(KEYS), get(place)]
    return data


def escaped(draw, key):
    """The same key, one of its letters as \\uXXXX."""
    at = draw.randrange(1, max(2, len(key) - 1))
    letter = key[at:at + 1]
    return key[:at] + b"\\u%04x" % letter[0] + key[at + 1:] if letter.isalpha() else key


def repeat_key(draw, header, data):
    place = pick(draw, header, in_object)
    if place:
        key, value = place[0][place[1]]
        key = escaped(draw, key) if draw.random() < 0.5 else key
        value = value if draw.random() < 0.7 else draw.choice(VALUES)
        place[0].insert(draw.randint(0, len(place[0])), [key, value])
    return data


def escape_key(draw, header, data):
    place = pick(draw, header, in_object)
    if place:
        place[0][place[1]] = [escaped(draw, place[0][place[1]][0]), get(place)]
    return data


def remove(draw, header, data):
    place = pick(draw, header, lambda p: True)
    if place:
        del place[0][place[1]]
    return data


def add_element(draw, header, data):
    place = pick(draw, header, lambda p: isinstance(get(p), Array))
    if place:
        for _ in range(draw.choice([1, 1, 2, 7, 9])):
            get(place).insert(draw.randint(0, len(get(place))), draw.choice([b"1", b"1", b"1", b"0", b"2"]))
    return data


def add_member(draw, header, data):
    objects = [header] + [get(p) for p in places(header, []) if isinstance(get(p), Object)]
    depth = draw.choice([1, 2, 60, 124, 125, 126, 127, 130, 2050])
    nested = draw.choice([b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth])
    to = draw.choice(objects)
    to.insert(draw.randint(0, len(to)), [draw.choice([b'"extra"', b'"note"', *KEYS]),
                                        draw.choice([nested, *NUMBERS, *VALUES])])
    return data


def offsets_of(header):
    return [value for key, tensor in header if isinstance(tensor, Object)
            for key, value in tensor if key == b'"data_offsets"' and isinstance(value, Array)]


def swap_ranges(draw, header, data):
    ranges = offsets_of(header)
    if len(ranges) > 1:
        a, b = draw.sample(ranges, 2)
        a[:], b[:] = list(b), list(a)
    return data


def move_ranges(draw, header, data):
    """All from one on by some bytes: a hole, an overlap, or bytes at the end."""
    by = draw.choice([-8, -4, -1, 1, 4, 8, 2**32, 2**63])
    ranges = [r for r in offsets_of(header) if len(r) == 2 and all(v.isdigit() for v in r)]
    if ranges:
        first = int(draw.choice(ranges)[0])
        for r in ranges:
            if int(r[0]) >= first:
                r[:] = [number(int(v) + by) for v in r]
    if abs(by) > 8 or draw.random() < 0.3:
        return data
    return data + draw.randbytes(by) if by > 0 else data[:by]


def share_range(draw, header, data):
    ranges = offsets_of(header)
    if len(ranges) > 1:
        a, b = draw.sample(ranges, 2)
        a[:] = list(b)
        ends = [int(r[1]) for r in ranges if len(r) == 2 and r[1].isdigit()]
        return data[:max(ends, default=0)] if draw.random() < 0.5 else data
    return data


def reverse_range(draw, header, data):
    ranges = offsets_of(header)
    if ranges:
        draw.choice(ranges).reverse()
    return data


def add_tensor(draw, header, data):
    """Behind all others: no elements, but extents that leave 63 or 64 bits; extents below 0 whose
    product is not; a last byte that is not filled."""
    shape, size = draw.choice(
        [([0, 2**63], 0), ([0, 2**64 - 1], 0), ([0, 2**64], 0), ([2**62, 2, 0], 0), ([2**62, 4, 0], 0),
         ([2**60, 0], 0), ([2**32, 2**32, 0], 0), ([2**63 - 1, 0], 0), ([0, 2**63 - 1], 0),
         ([2**31, 0, 2**31], 0), ([-1, -4], 4), ([-2, 2, -1], 4), ([-1, 0], 0), ([3], 1), ([3], 2), ([1], 0),
         ([1], 1), ([5], 3), ([2, 1], 1)])
    dtype = draw.choice(["F4", "F6_E2M3", "U8", *BITS])
    end = len(data)
    header.append([b'"added"', Object([[b'"dtype"', quoted(dtype)], [b'"shape"', Array(map(number, shape))],
                                       [b'"data_offsets"', Array([number(end), number(end + size)])]])])
    return data + draw.randbytes(size)


def change_metadata(draw, header, data):
    value = draw.choice([*VALUES, Object([[b'"a"', draw.choice(VALUES)]]),
                         Object([[b'"a"', b'"1"'], [b'"a"', b'"2"']]),
                         Object([[draw.choice(KEYS), quoted(draw.choice(NAMES))]])])
    header.insert(draw.randint(0, len(header)), [b'"__metadata__"', value])
    return data


def change_data(draw, header, data):
    return draw.choice([data[:-1], data[:-4], data + b"\0", data + b"1234", b"", data + data, data[1:]])


CHANGES = [change_number, change_number, change_dtype, change_value, change_key, repeat_key, escape_key,
           remove, add_element, add_member, swap_ranges, move_ranges, share_range, reverse_range,
           add_tensor, change_metadata, change_data]

# ---- Changes of bytes

BLANKS = [b" ", b"  ", b"\t", b"\n", b"\r\n"]
ODD = [b"\f", b"\v", b"\xc2\xa0", b"\0", b"//\n", b"\xef\xbb\xbf"]


def padded(draw, text):
    """Blanks around the header, mostly those that are allowed."""
    kind = draw.random()
    if kind < 0.5:
        return text + b" " * draw.choice([-len(text) % 8, draw.randint(0, 20)])
    if kind < 0.8:
        return text
    return draw.choice([b"", *BLANKS, *ODD]) * draw.randint(0, 1) + text + draw.choice([*BLANKS, *ODD, b"{}", b"}"])


def change_bytes(draw, text):
    at = draw.randrange(len(text) + 1)
    kind = draw.randrange(5)
    if kind == 0 and at < len(text):
        return text[:at] + bytes([text[at] ^ 1 << draw.randrange(8)]) + text[at + 1:]
    if kind == 1:
        return text[:at] + text[at + 1:]
    if kind == 2:
        return text[:at] + draw.choice([*BLANKS, *ODD, b",", b":", b'"', b"{", b"}", b"[", b"]", b"-", b"0",
                                        b"\\", draw.randbytes(1)]) + text[at:]
    if kind == 3:
        end = min(len(text), at + draw.randint(1, 20))
        return text[:end] + text[at:end] + text[end:]
    return text[:at]


def change_length(draw, length, file_bytes):
    return draw.choice([0, 1, 2, length - 1, length + 1, length + 8, file_bytes, file_bytes + 1, 100_000_000,
                        100_000_001, 2**32, 2**32 + length, 2**63, 2**63 + length, 2**64 - 1,
                        2**64 - 8, 2**64 - 8 + length]) % 2**64


def mutant(draw):
    header, data = valid(draw)
    for _ in range(draw.choice([0, 0, 1, 1, 1, 1, 1, 2, 3])):
        data = draw.choice(CHANGES)(draw, header, data)
    loose = draw.random() < 0.3
    gap = (lambda: draw.choice([b"", b"", *BLANKS])) if loose else (lambda: b"")
    text = padded(draw, written(header, gap))
    if draw.random() < 0.2:
        text = change_bytes(draw, text)
    length = len(text)
    if draw.random() < 0.06:
        length = change_length(draw, length, length + len(data))
    file = struct.pack("<Q", length) + text + data
    if draw.random() < 0.05:
        file = change_bytes(draw, file)
    return file[:draw.randint(0, len(file))] if draw.random() < 0.02 else file


# ---- Where widebatch is stricter: its message, the same fact as Python sees it, why.


def header_of(file):
    return file[8:8 + struct.unpack("<Q", file[:8])[0]]


def tree(file):
    """The header as lists of pairs, so that repeated keys are seen."""
    return json.loads(header_of(file), object_pairs_hook=lambda pairs: ("object", pairs))


def objects(node):
    if isinstance(node, tuple):
        yield [key for key, _ in node[1]]
    for child in [v for _, v in node[1]] if isinstance(node, tuple) else node if isinstance(node, list) else []:
        yield from objects(child)


def tensors(file):
    return [value for key, value in tree(file)[1] if key != "__metadata__"]


def members(file, name):
    return [value for tensor in tensors(file) if isinstance(tensor, tuple)
            for key, value in tensor[1] if key == name]


def outside_strings(file):
    return re.sub(rb'"(?:[^"\\]|\\.)*"', b"", header_of(file))


def leaves_63_bits(file):
    for shape in members(file, "shape"):
        product = max(BITS.values())
        for extent in shape:
            product *= extent
            if product >= 2**63:
                return True
    return any(int(digits) >= 2**63 for digits in re.findall(rb"\d+", outside_strings(file)))


STRICTER = [
    ("duplicate object key", lambda f: any(len(set(keys)) < len(keys) for keys in objects(tree(f))),
     "the format forbids keys that repeat: two readers could see two models"),
    ("the header begins with byte", lambda f: header_of(f)[:1] != b"{",
     "the format wants { as the first byte"),
    ("the header ends with byte", lambda f: header_of(f).rstrip(b" ")[-1:] in b"\t\r\n",
     "the format allows blanks only to pad"),
    ("__metadata__ must be an object", lambda f: dict(tree(f)[1])["__metadata__"] is None,
     "the format wants an object of strings, not null"),
    (r"must be an object", lambda f: any(isinstance(tensor, list) for tensor in tensors(f)),
     "the format wants an object; the reference also takes its members as an array"),
    (r'"dtype" is an object', lambda f: any(isinstance(dtype, tuple) for dtype in members(f, "dtype")),
     "the format wants a string; the reference also takes the object {\"F32\": null}"),
    (r"\\u0000 is not allowed|NUL byte in object key", lambda f: rb"\u0000" in header_of(f),
     "a name with NUL is another name to code written in C"),
    (r"has \d+ elements; 0 to 8", lambda f: any(len(shape) > 8 for shape in members(f, "shape")),
     "no weight of a model has more than 8 dimensions"),
    ("too big integer|too big negative integer|leaves? 63 bits", leaves_63_bits,
     "counts and offsets have 63 bits"),
    ("-0 at byte", lambda f: b"-0" in outside_strings(f),
     "-0 is no whole number; the reference lets it stand in members that it ignores"),
]


def reason(file, message):
    for pattern, holds, why in STRICTER:
        if re.search(pattern, message):
            return why if holds(file) else None
    return None


# ---- Both readers


def reference(file):
    """{name: (dtype, shape, bytes)}, or the reference's message."""
    try:
        return {name: (t["dtype"], list(t["shape"]), bytes(t["data"]))
                for name, t in safetensors.deserialize(file)}
    except safetensors.SafetensorError as refused:
        return str(refused)


def ours(file, line):
    if line.startswith(b"-"):
        return line[1:].decode(errors="replace")
    buffer = file[8 + struct.unpack("<Q", file[:8])[0]:]
    found = {}
    for word in line[1:].split():
        name, dtype, begin, end, shape = word.decode().split(":")
        found[bytes.fromhex(name).decode()] = (dtype, [int(n) for n in shape.split(",") if n],
                                               buffer[int(begin):int(end)])
    return found


def verdicts(files):
    done = subprocess.run([VERDICTS], input=b"".join(struct.pack("<Q", len(f)) + f for f in files),
                          capture_output=True)
    lines = done.stdout.split(b"\n")[:-1]
    if done.returncode != 0 or len(lines) != len(files):
        sys.exit(f"{VERDICTS}: code {done.returncode} after {len(lines)} of {len(files)} files "
                 f"(seed {SEED})\n{done.stderr.decode(errors='replace')}")
    return lines


def main():
    draw = random.Random(SEED)
    count, stricter, wrong = collections.Counter(), collections.Counter(), []
    for at in range(0, MUTANTS, BATCH):
        files = [mutant(draw) for _ in range(min(BATCH, MUTANTS - at))]
        for file, line in zip(files, verdicts(files)):
            theirs, mine = reference(file), ours(file, line)
            if isinstance(theirs, str) and isinstance(mine, str):
                count["refused"] += 1
            elif theirs == mine:
                count["accepted"] += 1
            elif isinstance(mine, str) and (why := reason(file, mine)):
                stricter[why] += 1
            else:
                wrong.append((file, theirs, mine))
    print(f"{MUTANTS} mutants, seed {SEED}, safetensors {safetensors.__version__}: {count['accepted']} "
          f"accepted by both, {count['refused']} refused by both, {sum(stricter.values())} refused by "
          f"widebatch alone, as it should, {len(wrong)} disagree")
    for why, times in stricter.most_common():
        print(f"{times:7} {why}")
    for i, (file, theirs, mine) in enumerate(wrong[:10]):
        print(f"disagree: {file!r:.300}\n  reference: {theirs!r:.200}\n  widebatch: {mine!r:.200}")
        if KEEP:
            KEEP.mkdir(parents=True, exist_ok=True)
            (KEEP / f"{SEED}-{i}.safetensors").write_bytes(file)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
