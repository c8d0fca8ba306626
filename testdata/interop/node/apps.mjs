// Applications, with the HTTP before their WebSockets, heartbeats and values that are
// made up anew in each run, for recordings:
//
//	node apps.mjs server APP       prints where it listens, ends with stdin
//	node apps.mjs client APP URL   exits with 0 if all went well
import { strict as assert } from 'node:assert'
import { randomBytes, randomUUID } from 'node:crypto'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import WebSocket, { createWebSocketStream, WebSocketServer } from 'ws'
import { Queue, serve } from './peer.mjs'

// Long enough for some heartbeats.
const pause = 700
const beat = 200

const apps = {
  signalr: {
    server: hub,
    client: url => callHub(url)
  },

  'signalr-msgpack': {
    server: hub,
    async client (url) {
      const { MessagePackHubProtocol } = await import('@microsoft/signalr-protocol-msgpack')
      await callHub(url, new MessagePackHubProtocol())
    }
  },

  // By polling first, and then upgraded: while messages go both ways.
  'socket.io': {
    server: rooms,
    client: url => callRooms(url)
  },

  'socket.io-polling': {
    server: rooms,
    client: url => callRooms(url, { transports: ['polling'] })
  },

  // With ids that the client makes up.
  'graphql-ws': {
    async server (server) {
      const { GraphQLObjectType, GraphQLSchema, GraphQLString } = await import('graphql')
      const { useServer } = await import('graphql-ws/use/ws')
      const schema = new GraphQLSchema({
        query: new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString, resolve: () => 'world' } } }),
        subscription: new GraphQLObjectType({
          name: 'Subscription',
          fields: {
            count: {
              type: GraphQLString,
              async * subscribe () {
                for (const n of ['one', 'two', 'three']) {
                  await sleep(beat)
                  yield { count: n }
                }
              }
            }
          }
        })
      })
      useServer({ schema }, new WebSocketServer({ server, path: '/graphql' }), beat)
    },
    async client (url) {
      const { createClient } = await import('graphql-ws')
      const client = createClient({
        url: url + '/graphql', webSocketImpl: WebSocket, lazy: false, retryAttempts: 0, keepAlive: beat, generateID: randomUUID
      })
      const run = async query => {
        const got = []
        for await (const { data } of client.iterate({ query })) got.push(data)
        return JSON.stringify(got)
      }
      const [counted, answer] = await Promise.all([run('subscription { count }'), run('{ hello }')])
      assert.equal(answer, '[{"hello":"world"}]')
      assert.equal(counted, '[{"count":"one"},{"count":"two"},{"count":"three"}]')
      await client.dispose()
    }
  },

  // QoS 1 and 2 both ways, under packet ids that begin anywhere.
  mqtt: {
    async server (server) {
      const { Aedes } = await import('aedes')
      const broker = await Aedes.createBroker()
      new WebSocketServer({ server, handleProtocols: () => 'mqtt' })
        .on('connection', ws => {
          ws.terminate = () => {} // at DISCONNECT: whether the client's Close was read before is chance
          broker.handle(createWebSocketStream(ws))
        })
    },
    async client (url) {
      const { connectAsync } = (await import('mqtt')).default
      const client = await connectAsync(url, { clientId: 'Ada', keepalive: 1, reconnectPeriod: 0 })
      const got = new Queue()
      client.on('message', (topic, payload, { qos }) => got.put(`${topic} ${payload} ${qos}`))
      await client.subscribeAsync('greetings', { qos: 2 })
      for (const qos of [1, 2]) {
        await client.publishAsync('greetings', 'hello', { qos })
        assert.equal(await got.get(), `greetings hello ${qos}`)
      }
      await sleep(2 * pause)
      await client.publishAsync('greetings', 'bye', { qos: 2 })
      assert.equal(await got.get(), 'greetings bye 2')
      await client.endAsync()
    }
  },

  sockjs: {
    async server (server) {
      const { default: sockjs } = await import('sockjs')
      const echo = sockjs.createServer({ heartbeat_delay: beat, log () {} })
      echo.on('connection', conn => {
        conn.on('data', text => conn.write(`${text}!`))
      })
      echo.installHandlers(server, { prefix: '/echo' })
    },
    async client (url) {
      const { default: SockJS } = await import('sockjs-client')
      const socket = new SockJS(url.replace('ws:', 'http:') + '/echo', null, { transports: ['websocket'] })
      const got = new Queue()
      const closed = new Promise(resolve => { socket.onclose = resolve })
      socket.onopen = () => got.put('open')
      socket.onmessage = ({ data }) => got.put(data)
      closed.then(({ code, reason }) => got.put(new Error(`closed: ${code} ${reason}`)))
      assert.equal(await got.get(), 'open')
      socket.send('hello')
      assert.equal(await got.get(), 'hello!')
      await sleep(pause)
      socket.send('"quoted"')
      assert.equal(await got.get(), '"quoted"!')
      socket.close()
      assert.equal((await closed).code, 1000)
    }
  }
}

async function rooms (server) {
  const { Server } = await import('socket.io')
  const io = new Server(server, { pingInterval: beat, pingTimeout: 5000 })
  io.on('connection', socket => {
    socket.emit('hello', { to: socket.id })
    socket.on('add', (a, b, answer) => answer(a + b))
    socket.on('wait', async answer => {
      await sleep(pause)
      socket.emit('waited', pause)
      answer('done')
    })
  })
  io.of('/files').on('connection', socket => {
    socket.on('reverse', (bytes, answer) => answer(Buffer.from(bytes).reverse()))
  })
}

async function callRooms (url, options) {
  const { io } = await import('socket.io-client')
  const origin = url.replace('ws:', 'http:')
  const socket = io(origin, { reconnection: false, ...options })
  const hello = new Queue()
  const waited = new Queue()
  socket.on('hello', value => hello.put(value))
  socket.on('waited', value => waited.put(value))
  socket.on('connect_error', error => hello.put(error))
  assert.equal((await hello.get()).to, socket.id)
  assert.equal(await socket.timeout(5000).emitWithAck('add', 1, 2), 3)
  const files = socket.io.socket('/files')
  const reversed = await files.timeout(5000).emitWithAck('reverse', Buffer.from([1, 2, 3]))
  assert.deepEqual([...reversed], [3, 2, 1])
  if (!options && socket.io.engine.transport.name !== 'websocket') await new Promise(resolve => socket.io.engine.once('upgrade', resolve))
  assert.equal(await socket.timeout(5000).emitWithAck('wait'), 'done')
  assert.equal(await waited.get(), pause)
  assert.equal(await socket.timeout(5000).emitWithAck('add', 'a', 'b'), 'ab')
  files.disconnect()
  socket.disconnect()
}

// A hub for SignalR's client: it greets, counts in a stream and answers late, with a
// heartbeat. Connections are negotiated for.
async function hub (server) {
  const { decode, encode } = await import('@msgpack/msgpack')
  const tokens = new Set()
  server.on('request', (req, res) => {
    req.resume()
    if (req.method !== 'POST' || !req.url.startsWith('/hub/negotiate?')) return res.writeHead(404).end()
    const token = randomBytes(16).toString('base64url')
    tokens.add(token)
    res.writeHead(200, { 'Content-Type': 'application/json' })
    res.end(JSON.stringify({
      negotiateVersion: 1,
      connectionId: randomBytes(16).toString('base64url'),
      connectionToken: token,
      availableTransports: [{ transport: 'WebSockets', transferFormats: ['Text', 'Binary'] }]
    }))
  })
  const wss = new WebSocketServer({ noServer: true })
  server.on('upgrade', (req, socket, head) => {
    if (!tokens.delete(new URL(req.url, 'http://x').searchParams.get('id'))) return socket.end('HTTP/1.1 404 Not Found\r\n\r\n')
    wss.handleUpgrade(req, socket, head, ws => wss.emit('connection', ws))
  })

  const end = '\x1e'
  const types = { json: jsonRecords, messagepack: packed }
  function jsonRecords (data) {
    return String(data).split(end).slice(0, -1).map(text => {
      const { type, invocationId, target, arguments: args } = JSON.parse(text)
      return { type, id: invocationId, target, args }
    })
  }
  function packed (data) {
    const list = []
    while (data.length > 0) {
      let length = 0
      let i = 0
      do length |= (data[i] & 0x7f) << (7 * i)
      while (data[i++] & 0x80)
      const [type,, id, target, args] = decode(data.subarray(i, i + length))
      list.push({ type, id, target, args })
      data = data.subarray(i + length)
    }
    return list
  }
  // write returns a message with records, [type, …] as they are in MessagePack.
  const writers = {
    json: records => records.map(([type,, id, ...rest]) => {
      const record = { type }
      if (id != null) record.invocationId = id
      if (type === 1) Object.assign(record, { target: rest[0], arguments: rest[1] })
      if (type === 2) record.item = rest[0]
      if (type === 3 && rest[0] === 3) record.result = rest[1]
      return JSON.stringify(record) + end
    }).join(''),
    messagepack: records => Buffer.concat(records.flatMap(record => {
      const body = encode(record)
      assert(body.length < 0x80)
      return [Buffer.from([body.length]), body]
    }))
  }
  wss.on('connection', ws => {
    let protocol
    const send = (...records) => { if (ws.readyState === WebSocket.OPEN) ws.send(writers[protocol](records)) }
    const beats = setInterval(() => { if (protocol) send([6]) }, beat)
    ws.on('close', () => clearInterval(beats))
    ws.on('message', async data => {
      if (!protocol) {
        ({ protocol } = JSON.parse(String(data).slice(0, -1)))
        return ws.send('{}' + end)
      }
      for (const { type, id, target, args } of types[protocol](data)) {
        switch (`${type} ${target}`) {
          case '1 greet':
            send([1, {}, null, 'news', [`${args[0]} calls ${target}`]], [3, {}, id, 3, `Hello, ${args[0]}.`])
            break
          case '1 wait':
            await sleep(pause)
            send([3, {}, id, 2])
            break
          case '4 count':
            for (let i = 1; i <= args[0]; i++) {
              send([2, {}, id, i])
              await sleep(50)
            }
            send([3, {}, id, 2])
        }
      }
    })
  })
}

async function callHub (url, protocol) {
  const signalR = await import('@microsoft/signalr')
  const builder = new signalR.HubConnectionBuilder().withUrl(url.replace('ws:', 'http:') + '/hub').configureLogging(signalR.LogLevel.None)
  if (protocol) builder.withHubProtocol(protocol)
  const connection = builder.build()
  connection.keepAliveIntervalInMilliseconds = beat
  const news = new Queue()
  connection.on('news', text => news.put(text))
  await connection.start()
  assert.equal(await connection.invoke('greet', 'Ada'), 'Hello, Ada.')
  assert.equal(await news.get(), 'Ada calls greet')
  const counted = []
  const waited = connection.invoke('wait')
  await new Promise((resolve, reject) => connection.stream('count', 3).subscribe({ next: n => counted.push(n), complete: resolve, error: reject }))
  assert.deepEqual(counted, [1, 2, 3])
  await waited
  assert.equal(await connection.invoke('greet', 'Eva'), 'Hello, Eva.')
  await connection.stop()
}

const [role, name, url] = process.argv.slice(2)
if (role === 'server') {
  const server = http.createServer()
  await apps[name].server(server)
  server.listen(0, '127.0.0.1', () => serve(server.address()))
} else {
  const limit = setTimeout(() => { console.error('takes too long'); process.exit(1) }, 20000)
  await apps[name].client(url)
  clearTimeout(limit)
}
