"""Prints the whole frames in a .saz, read without anything of wstrace."""
import re
import sys
import zipfile


def records(data):
    at = data.index(b"\r\n\r\n") if not data.startswith(b"\r\n") else -2
    at += 4
    while at < len(data):
        end = data.index(b"\r\n\r\n", at)
        head = dict(line.split(b": ", 1) for line in data[at:end].split(b"\r\n"))
        at = end + 4
        side = "client" if b"Request-Length" in head else "server"
        n = int(head[b"Request-Length" if side == "client" else b"Response-Length"])
        yield side, head, data[at : at + n]
        at += n
        assert data[at : at + 2] == b"\r\n", "no line end behind a frame"
        at += 2


def frame(b):
    if len(b) < 2:
        return None
    masked, n, at = b[1] >> 7, b[1] & 127, 2
    for short, size in ((126, 2), (127, 8)):
        if b[1] & 127 == short:
            n = int.from_bytes(b[at : at + size], "big")
            at += size
    key = b[at : at + 4] if masked else bytes(4)
    at += 4 * masked
    if len(b) != at + n:
        return None  # it is cut off
    payload = bytes(c ^ key[i % 4] for i, c in enumerate(b[at:]))
    return "fin=%d rsv=%d op=%d masked=%d key=%s len=%d %s" % (
        b[0] >> 7, b[0] >> 4 & 7, b[0] & 15, masked, key.hex(), n, payload.hex())


with zipfile.ZipFile(sys.argv[1]) as z:
    assert z.testzip() is None
    names = z.namelist()
    assert names[0] == "[Content_Types].xml", names[0]
    numbers = sorted(int(m[1]) for m in (re.match(r"raw/(\d+)_w\.txt$", n) for n in names) if m)
    for n in numbers:
        for side, head, b in records(z.read("raw/%06d_w.txt" % n)):
            text = frame(b)
            if text and len(b) <= 1 << 16:
                print(n, side, text, head[b"DoneRead"].decode())
