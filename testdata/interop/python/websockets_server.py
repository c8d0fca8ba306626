import asyncio
import sys

import websockets

import peer


async def echo(ws, path):
    diary = peer.Diary(peer.job_id(path))
    try:
        async for data in ws:
            diary.message("got", data)
            diary.message("sent", data)
            await ws.send(data)
        diary.close("got", ws.close_rcvd.code, ws.close_rcvd.reason)
        diary.done()
    except Exception as e:
        diary.done(e)


async def main():
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
        host, port = server.sockets[0].getsockname()
        peer.put({"ready": f"{host}:{port}"})
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
