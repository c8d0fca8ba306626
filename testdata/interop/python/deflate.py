"""Compresses messages with zlib as permessage-deflate has it, with every window
and with and without context takeover. Writes a JSON line for each stream."""

import hashlib
import json
import random
import zlib

TAIL = b"\0\0\xff\xff"


def texts(seed):
    """Messages that refer back near and far, and some that can't be compressed."""
    r = random.Random(seed)
    words = [bytes(r.choices(b"etaoinshrdlu", k=r.randint(2, 9))) for _ in range(200)]
    yield b"Hello"
    yield b"Hello"
    yield b""
    yield b" ".join(r.choices(words, k=2000))
    yield r.randbytes(5000)
    yield b" ".join(r.choices(words, k=20))
    yield bytes(r.choices(b"ab", k=35000))  # more than a window
    yield b"x" * 70000


def stream(bits, takeover, level, strategy, seed):
    def new():
        return zlib.compressobj(level, zlib.DEFLATED, -bits, 8, strategy)

    compressor = new()
    for text in texts(seed):
        if not takeover:
            compressor = new()
        data = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(TAIL)
        yield {"sha256": hashlib.sha256(text).hexdigest(), "deflated": data[:-4].hex()}


for bits in range(9, 16):
    for takeover in (True, False):
        for level, strategy in ((1, zlib.Z_DEFAULT_STRATEGY), (6, zlib.Z_DEFAULT_STRATEGY), (9, zlib.Z_FILTERED),
                                (6, zlib.Z_HUFFMAN_ONLY), (6, zlib.Z_RLE), (6, zlib.Z_FIXED), (0, zlib.Z_DEFAULT_STRATEGY)):
            messages = list(stream(bits, takeover, level, strategy, bits * level))
            print(json.dumps({"bits": bits, "takeover": takeover, "level": level, "messages": messages}))
