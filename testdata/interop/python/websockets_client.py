import asyncio
import socket
from urllib.parse import urlsplit

import websockets

import peer


async def run(job, diary):
    authority = urlsplit(job["url"]).netloc
    if job["proxy"]:
        sock = peer.tunnel(job["proxy"], authority)
    else:
        sock = socket.create_connection(peer.split(authority))
    pings = []
    async with websockets.connect(
        job["url"],
        sock=sock,
        ssl=peer.trust(job),
        server_hostname=urlsplit(job["url"]).hostname if job["ca"] else None,
        compression="deflate" if job["deflate"] else None,
        max_size=None,
        ping_interval=None,
    ) as ws:

        async def send(kind, data):
            if kind == "ping":
                pings.append((data, await ws.ping(data)))
            else:
                await ws.send(data)

        await peer.talk(job, diary, send, ws.recv)
        for data, pong in pings:
            await pong
            diary.control("got", "pong", data)
        diary.close("sent", 1000, "bye")
        await ws.close(1000, "bye")
    diary.close("got", ws.close_rcvd.code, ws.close_rcvd.reason)


for job, diary in peer.jobs():
    try:
        asyncio.run(run(job, diary))
        diary.done()
    except Exception as e:
        diary.done(e)
