import asyncio
import sys

from aiohttp import WSMsgType, web

import peer


async def echo(request):
    diary = peer.Diary(request.query["id"])
    ws = web.WebSocketResponse(max_msg_size=0, autoping=False)
    await ws.prepare(request)
    while True:
        msg = await ws.receive()
        if msg.type == WSMsgType.TEXT:
            diary.message("got", msg.data)
            diary.message("sent", msg.data)
            await ws.send_str(msg.data)
        elif msg.type == WSMsgType.BINARY:
            diary.message("got", msg.data)
            diary.message("sent", msg.data)
            await ws.send_bytes(msg.data)
        elif msg.type == WSMsgType.PING:
            diary.control("got", "ping", msg.data)
            diary.control("sent", "pong", msg.data)
            await ws.pong(msg.data)
        elif msg.type == WSMsgType.CLOSE:
            diary.close("got", msg.data, msg.extra)
            diary.done()
            return ws
        else:
            diary.done(ws.exception() or str(msg))
            return ws


async def main():
    app = web.Application()
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    peer.put({"ready": f"{host}:{port}"})
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


asyncio.run(main())
