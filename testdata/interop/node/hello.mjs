// A client written with one of several libraries for Node, or with what Node, Deno and
// Bun have themselves:
//
//	node hello.mjs LIBRARY URL
//
// It sends a text and a binary message, waits for their echoes and closes.
import { strict as assert } from 'node:assert'
import { Queue } from './peer.mjs'

const libraries = {
  ws: async () => (await import('ws')).WebSocket,
  undici: async () => (await import('undici')).WebSocket,
  global: async () => globalThis.WebSocket,
  faye: async () => (await import('faye-websocket')).default.Client
}

const [library, url] = process.argv.slice(2)
const WebSocket = await libraries[library]()
const ws = new WebSocket(url)
ws.binaryType = 'arraybuffer'
const got = new Queue()
ws.onopen = () => got.put('open')
ws.onmessage = ({ data }) => got.put(data)
ws.onerror = ({ message, error }) => got.put(new Error(message ?? error))
const closed = new Promise(resolve => { ws.onclose = resolve })
closed.then(({ code, reason }) => got.put(new Error(`closed: ${code} ${reason}`)))

assert.equal(await got.get(), 'open')
for (const message of [`hello from ${library}`, Buffer.from([...Array(16).keys()])]) {
  ws.send(message)
  const echo = await got.get()
  if (typeof message === 'string') assert.equal(echo, message)
  else assert.deepEqual([...new Uint8Array(echo)], [...message])
}
ws.close(1000)
assert.equal((await closed).code, 1000)
