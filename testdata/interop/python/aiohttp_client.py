import asyncio

import aiohttp
from aiohttp import WSMsgType

import peer


async def run(job, diary):
    async with aiohttp.ClientSession() as session:
        ws = await session.ws_connect(
            job["url"],
            proxy=f"http://{job['proxy']}" if job["proxy"] else None,
            ssl=peer.trust(job) or True,
            compress=15 if job["deflate"] else 0,
            max_msg_size=0,
            autoping=False,
        )

        async def send(kind, data):
            if kind == "ping":
                await ws.ping(data)
            elif kind == "text":
                await ws.send_str(data)
            else:
                await ws.send_bytes(data)

        async def receive():
            while True:
                msg = await ws.receive()
                if msg.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    return msg.data
                if msg.type == WSMsgType.PONG:
                    diary.control("got", "pong", msg.data)
                elif msg.type == WSMsgType.PING:
                    diary.control("got", "ping", msg.data)
                    diary.control("sent", "pong", msg.data)
                    await ws.pong(msg.data)
                else:
                    raise ConnectionError(str(msg))

        await peer.talk(job, diary, send, receive)
        diary.close("sent", 1000, "bye")
        await ws.close(code=1000, message=b"bye")


for job, diary in peer.jobs():
    try:
        asyncio.run(run(job, diary))
        diary.done()
    except Exception as e:
        diary.done(e)
