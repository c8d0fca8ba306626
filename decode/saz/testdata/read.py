"""Prints what is in a .saz, read without anything of wstrace: of each session its heads
and bodies, its times and flags, and its frames."""
import re
import sys
import xml.etree.ElementTree
import zipfile
import zlib


def message(name, data):
    head, end, body = data.partition(b"\r\n\r\n")
    if not end or not re.match(rb"HTTP/|[A-Z]+ ", head):
        return
    yield "%s %s" % (name, (head + end).hex())
    if re.search(rb"(?i)^transfer-encoding: *chunked\r?$", head, re.M):
        whole, body = body, b""
        while whole:
            size, _, whole = whole.partition(b"\r\n")
            n = int(size, 16)
            body, whole = body + whole[:n], whole[n + 2 :]
    if body:
        yield "%s body %s" % (name, body.hex())


def meta(data):
    root = xml.etree.ElementTree.fromstring(data)
    bits = int(root.get("BitFlags"), 16)
    flags = {f.get("N"): f.get("V") for f in root.find("SessionFlags")}
    yield "tls=%d websocket=%d client=%s:%s began=%s" % (
        bits & 1, bits >> 18 & 1, flags.get("x-clientip", ""), flags.get("x-clientport", ""),
        root.find("SessionTimers").get("ClientBeginRequest"))


def records(data):
    assert data.startswith(b"\r\n")
    at = 2
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
    return "head=%s fin=%d rsv=%d op=%d masked=%d key=%s len=%d crc=%08x" % (
        b[:at].hex(), b[0] >> 7, b[0] >> 4 & 7, b[0] & 15, masked, key.hex(), n, zlib.crc32(payload))


with zipfile.ZipFile(sys.argv[1]) as z:
    assert z.testzip() is None
    names = z.namelist()
    assert len(names) == len(set(names))
    assert names[0] == "[Content_Types].xml", names[0]
    for n in sorted({int(m[1]) for m in (re.match(r"raw/(\d+)_c\.txt$", n) for n in names) if m}):
        base = "raw/%06d_" % n
        lines = [*meta(z.read(base + "m.xml")), *message("request", z.read(base + "c.txt")), *message("response", z.read(base + "s.txt"))]
        if base + "w.txt" in names:
            for i, (side, head, b) in enumerate(records(z.read(base + "w.txt"))):
                assert int(head[b"ID"]) == i
                if text := frame(b):
                    lines.append("%s bits=%s %s %s" % (side, head[b"BitFlags"].decode(), head[b"DoneRead"].decode(), text))
        for line in lines:
            print(n, line)
