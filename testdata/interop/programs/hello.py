"""A client written with one of several libraries for Python:

    hello.py LIBRARY URL

It sends a text and a binary message, waits for their echoes and closes."""

import asyncio
import ssl
import sys

BINARY = bytes(range(16))


def websockets(url, messages):
    import websockets

    async def talk():
        async with websockets.connect(url) as ws:
            for message in messages:
                await ws.send(message)
                yield await ws.recv()

    return talk()


def aiohttp(url, messages):
    import aiohttp

    async def talk():
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url) as ws:
                for message in messages:
                    await (ws.send_str if isinstance(message, str) else ws.send_bytes)(message)
                    yield (await ws.receive()).data

    return talk()


def websocket_client(url, messages):
    import websocket

    ws = websocket.create_connection(url)
    for message in messages:
        ws.send(message, websocket.ABNF.OPCODE_TEXT if isinstance(message, str) else websocket.ABNF.OPCODE_BINARY)
        yield ws.recv()
    ws.close(1000)


def tornado(url, messages):
    from tornado.websocket import websocket_connect

    async def talk():
        ws = await websocket_connect(url)
        for message in messages:
            await ws.write_message(message, binary=isinstance(message, bytes))
            yield await ws.read_message()
        ws.close(1000)
        assert await ws.read_message() is None

    return talk()


def wsproto(url, messages):
    import socket
    from urllib.parse import urlsplit

    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request, TextMessage

    at = urlsplit(url)
    sock = socket.create_connection((at.hostname, at.port))
    if at.scheme == "wss":
        sock = ssl.create_default_context().wrap_socket(sock, server_hostname=at.hostname)
    ws = WSConnection(ConnectionType.CLIENT)

    def ask(event):
        """Sends an event and returns the next that comes."""
        sock.sendall(ws.send(event))
        while True:
            for answer in ws.events():
                return answer
            ws.receive_data(sock.recv(4096) or None)

    assert isinstance(ask(Request(host=at.netloc, target=at.path)), AcceptConnection)
    for message in messages:
        kind = TextMessage if isinstance(message, str) else BytesMessage
        answer = ask(kind(data=message))
        assert isinstance(answer, kind), answer
        yield type(message)(answer.data)
    answer = ask(CloseConnection(code=1000))
    assert isinstance(answer, CloseConnection) and answer.code == 1000, answer
    sock.close()


def trio(url, messages):
    import trio
    import trio_websocket

    echoes = []

    async def talk():
        async with trio_websocket.open_websocket_url(url) as ws:
            for message in messages:
                await ws.send_message(message)
                echoes.append(await ws.get_message())

    trio.run(talk)
    return echoes


def ws4py(url, messages):
    from ws4py.client.threadedclient import WebSocketClient

    echoes = []

    class Client(WebSocketClient):
        def opened(self):
            self.send(messages[0])

        def received_message(self, message):
            echoes.append(message.data if message.is_binary else str(message))
            if len(echoes) < len(messages):
                self.send(messages[len(echoes)], binary=True)
            else:
                self.close(1000)

    ws = Client(url)
    ws.connect()
    ws.run_forever()
    return echoes


def autobahn(url, messages):
    from urllib.parse import urlsplit

    from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol

    echoes = []
    loop = asyncio.new_event_loop()
    ended = loop.create_future()

    class Client(WebSocketClientProtocol):
        def onOpen(self):
            self.sendMessage(messages[0].encode())

        def onMessage(self, payload, isBinary):
            echoes.append(payload if isBinary else payload.decode())
            if len(echoes) < len(messages):
                self.sendMessage(messages[len(echoes)], isBinary=True)
            else:
                self.sendClose(1000)

        def onClose(self, wasClean, code, reason):
            ended.set_result((wasClean, code, reason))

    factory = WebSocketClientFactory(url, loop=loop)
    factory.protocol = Client
    at = urlsplit(url)
    loop.run_until_complete(loop.create_connection(factory, at.hostname, at.port, ssl=at.scheme == "wss"))
    end = loop.run_until_complete(ended)
    assert end[:2] == (True, 1000), end
    return echoes


def qt(url, messages):
    from PyQt5.QtCore import QCoreApplication, QUrl
    from PyQt5.QtWebSockets import QWebSocket

    app = QCoreApplication([])
    ws = QWebSocket()
    echoes = []

    def send():
        message = messages[len(echoes)]
        ws.sendTextMessage(message) if isinstance(message, str) else ws.sendBinaryMessage(message)

    def received(message):
        echoes.append(message if isinstance(message, str) else bytes(message))
        ws.close() if len(echoes) == len(messages) else send()

    ws.connected.connect(send)
    ws.textMessageReceived.connect(received)
    ws.binaryMessageReceived.connect(received)
    ws.error.connect(lambda _: (print(ws.errorString(), file=sys.stderr), app.exit(1)))
    ws.disconnected.connect(lambda: app.exit(0))
    ws.open(QUrl(url))
    if app.exec() != 0:
        raise ConnectionError(ws.errorString())
    return echoes


def libsoup(url, messages):
    import gi

    gi.require_version("Soup", "3.0")
    from gi.repository import GLib, Soup

    loop = GLib.MainLoop()
    echoes = []
    errors = []

    def send(ws):
        message = messages[len(echoes)]
        if isinstance(message, str):
            ws.send_text(message)
        else:
            ws.send_message(Soup.WebsocketDataType.BINARY, GLib.Bytes.new(message))

    def received(ws, kind, data):
        echoes.append(data.get_data().decode() if kind == Soup.WebsocketDataType.TEXT else data.get_data())
        ws.close(1000, None) if len(echoes) == len(messages) else send(ws)

    def connected(session, result):
        try:
            ws = session.websocket_connect_finish(result)
        except GLib.Error as e:
            errors.append(e)
            return loop.quit()
        session.ws = ws
        ws.connect("message", received)
        ws.connect("closed", lambda _: loop.quit())
        send(ws)

    session = Soup.Session()
    session.websocket_connect_async(Soup.Message.new("GET", url), None, None, GLib.PRIORITY_DEFAULT, None, connected)
    loop.run()
    if errors:
        raise errors[0]
    return echoes


def webkit(url, messages):
    import json
    import os
    import subprocess

    # Xvfb says which display it is when it is ready.
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-nolisten", "tcp"], pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    os.environ["DISPLAY"] = ":" + os.read(read, 20).decode().strip()
    os.environ.update(GDK_BACKEND="x11", WEBKIT_DISABLE_COMPOSITING_MODE="1", WEBKIT_DISABLE_DMABUF_RENDERER="1")
    try:
        import gi

        gi.require_version("Gtk", "3.0")
        gi.require_version("WebKit2", "4.1")
        from gi.repository import Gtk, WebKit2

        said = []

        def titled(view, _):
            if title := view.get_title():
                said.append(json.loads(title))
                Gtk.main_quit()

        view = WebKit2.WebView()
        view.connect("notify::title", titled)
        with open(os.path.join(os.path.dirname(__file__), "page.html")) as page:
            view.load_html(page.read().replace("location.hash.slice(1)", json.dumps(url)), url.replace("ws", "http", 1))
        Gtk.main()
        text, binary = said[0]
        return [text, bytes(binary)]
    finally:
        server.terminate()


async def collect(generator):
    return [message async for message in generator]


def main(library, url):
    messages = ["hello from " + library, BINARY]
    if library == "webkit":
        messages[0] = "hello from a page"
    echoes = globals()[library](url, messages)
    if hasattr(echoes, "__aiter__"):
        echoes = asyncio.run(collect(echoes))
    echoes = list(echoes)
    if echoes != messages:
        sys.exit(f"got {echoes!r}, sent {messages!r}")


main(*sys.argv[1:])
