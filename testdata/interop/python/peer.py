"""What the peers written in Python share: jobs come as JSON lines on stdin,
reports go as JSON lines to stdout. See peer_test.go."""

import hashlib
import json
import socket
import ssl
import sys
from urllib.parse import parse_qs, urlsplit


def put(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Diary:
    """Reports what a peer does in one job."""

    def __init__(self, id):
        self.id = id

    def message(self, did, data):
        kind = "text" if isinstance(data, str) else "binary"
        p = data.encode() if isinstance(data, str) else bytes(data)
        digest = hashlib.sha256(p).hexdigest()[:16]
        put({"id": self.id, "did": did, "type": kind, "len": len(p), "sum": digest})

    def control(self, did, kind, text):
        text = text if isinstance(text, str) else bytes(text).decode()
        put({"id": self.id, "did": did, "type": kind, "text": text})

    def close(self, did, code, reason):
        self.control(did, "close", f"{code} {reason}")

    def mask(self, key):
        put({"id": self.id, "did": "mask", "text": key.hex()})

    def done(self, error=None):
        put({"id": self.id, "did": "done", "error": repr(error) if error else ""})


def job_id(target):
    """The job that a server is asked for."""
    return parse_qs(urlsplit(target).query)["id"][0]


def payload(message):
    n = message["len"]
    if message["type"] == "text":
        return "é" * (n // 2) + "x" * (n % 2)
    return bytes((i * 7 + (i >> 8)) & 255 for i in range(n))


def jobs():
    for line in sys.stdin:
        job = json.loads(line)
        yield job, Diary(job["id"])


def split(authority):
    host, _, port = authority.rpartition(":")
    return host, int(port)


def trust(job):
    """How to speak TLS, or None."""
    return ssl.create_default_context(cafile=job["ca"]) if job["ca"] else None


def tunnel(proxy, authority):
    """A socket to authority through a proxy."""
    s = socket.create_connection(split(proxy))
    s.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        b = s.recv(1)
        if not b:
            raise ConnectionError(f"CONNECT: {head!r}")
        head += b
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ConnectionError(f"CONNECT: {head!r}")
    return s


async def talk(job, diary, send, receive):
    """What a client does, where things are awaited."""
    for n, messages in enumerate(job["rounds"]):
        echoes = 0
        for message in messages:
            data = payload(message)
            if message["type"] == "ping":
                diary.control("sent", "ping", data)
            else:
                diary.message("sent", data)
                echoes += 1
            await send(message["type"], data)
        if "echoes" in job:
            echoes = job["echoes"][n]
        for _ in range(echoes):
            diary.message("got", await receive())
