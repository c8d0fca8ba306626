"""Says of the bytes that one side sent whether wsproto takes them, and which
messages it finds in them. Reads and writes JSON lines."""

import hashlib
import json
import sys

from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol, Opcode, ParseFailed


def verdict(case):
    from_server = case["side"] == "server"
    extensions = []
    if case["ext"]:
        extension = PerMessageDeflate()
        # Whoever reads the frames of a server is a client, and the other way round.
        if from_server:
            extension.finalize(case["ext"])
        else:
            extension.accept(case["ext"])
        extensions.append(extension)
    protocol = FrameProtocol(client=from_server, extensions=extensions)
    messages, message, error = [], b"", ""
    protocol.receive_bytes(bytes.fromhex(case["hex"]))
    try:
        for frame in protocol.received_frames():
            if frame.opcode not in (Opcode.TEXT, Opcode.BINARY):
                continue
            data = frame.payload
            message += data.encode() if isinstance(data, str) else bytes(data)
            if frame.message_finished:
                kind = "text" if frame.opcode is Opcode.TEXT else "bin"
                messages.append(kind + " " + hashlib.sha256(message).hexdigest())
                message = b""
    except ParseFailed as e:
        error = str(e) or "failed"
    except Exception as e:  # it should not, but does
        error = repr(e)
    return {"error": error, "messages": messages}


for line in sys.stdin:
    print(json.dumps(verdict(json.loads(line))))
