import os

import websocket
from websocket import ABNF

import peer


def run(job, diary):
    ws = websocket.WebSocket(skip_utf8_validation=True, sslopt={"ca_certs": job["ca"]} if job["ca"] else {})

    def mask(n):
        key = os.urandom(n)
        diary.mask(key)
        return key

    ws.set_mask_key(mask)
    options = {}
    if job["proxy"]:
        host, port = peer.split(job["proxy"])
        # It would leave out the proxy for loopback targets.
        options = dict(http_proxy_host=host, http_proxy_port=port, proxy_type="http", http_no_proxy=["nowhere"])
    ws.connect(job["url"], **options)
    opcodes = {"text": ABNF.OPCODE_TEXT, "binary": ABNF.OPCODE_BINARY}
    for messages in job["rounds"]:
        echoes = 0
        for message in messages:
            data = peer.payload(message)
            if message["type"] == "ping":
                diary.control("sent", "ping", data)
                ws.ping(data)
            else:
                diary.message("sent", data)
                ws.send(data, opcodes[message["type"]])
                echoes += 1
        while echoes > 0:
            opcode, data = ws.recv_data(control_frame=True)
            if opcode == ABNF.OPCODE_PING:
                diary.control("got", "ping", data)
                diary.control("sent", "pong", data)
            elif opcode == ABNF.OPCODE_PONG:
                diary.control("got", "pong", data)
            elif opcode == ABNF.OPCODE_CLOSE:
                raise ConnectionError(f"closed {data!r}")
            else:
                diary.message("got", data.decode() if opcode == ABNF.OPCODE_TEXT else data)
                echoes -= 1
    diary.close("sent", 1000, "bye")
    ws.close(1000, b"bye")


for job, diary in peer.jobs():
    try:
        run(job, diary)
        diary.done()
    except Exception as e:
        diary.done(e)
