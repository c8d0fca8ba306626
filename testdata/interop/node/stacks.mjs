// Small conversations in protocols on top of WebSocket, for recordings:
//
//	node stacks.mjs server STACK       prints where it listens, ends with stdin
//	node stacks.mjs client STACK URL   exits with 0 if all went well
import { strict as assert } from 'node:assert'
import { once } from 'node:events'
import http from 'node:http'
import WebSocket, { createWebSocketStream, WebSocketServer } from 'ws'
import { Queue, serve } from './peer.mjs'

const stacks = {
  // The library itself, with compression and takeover.
  ws: {
    server (server) {
      const wss = new WebSocketServer({ server, perMessageDeflate: { threshold: 0 } })
      wss.on('connection', ws => {
        ws.send(JSON.stringify({ hello: 'who are you?' }))
        ws.on('message', data => {
          const { name } = JSON.parse(data)
          ws.send(JSON.stringify({ hello: name, again: name }))
          ws.send(Buffer.from(name))
        })
      })
    },
    async client (url) {
      const ws = new WebSocket(url, { perMessageDeflate: { threshold: 0 } })
      const got = new Queue()
      ws.on('message', data => got.put(String(data)))
      ws.on('error', err => got.put(err))
      assert.equal(await got.get(), '{"hello":"who are you?"}')
      for (const name of ['Ada', 'Ada Ada Ada']) {
        ws.send(JSON.stringify({ name }))
        assert.equal(JSON.parse(await got.get()).again, name)
        assert.equal(await got.get(), name)
      }
      ws.close(1000, 'enough')
      assert.equal((await once(ws, 'close'))[0], 1000)
    }
  },

  'socket.io': {
    async server (server) {
      const { Server } = await import('socket.io')
      new Server(server, { transports: ['websocket'] }).on('connection', socket => {
        socket.emit('hello', { to: socket.id })
        socket.on('add', (a, b, answer) => answer(a + b))
      })
    },
    async client (url) {
      const { io } = await import('socket.io-client')
      const socket = io(url.replace('ws', 'http'), { transports: ['websocket'], reconnection: false })
      const [{ to }] = await new Promise((resolve, reject) => {
        socket.on('hello', (...args) => resolve(args))
        socket.on('connect_error', reject)
      })
      assert.equal(to, socket.id)
      assert.equal(await socket.timeout(5000).emitWithAck('add', 1, 2), 3)
      assert.equal(await socket.timeout(5000).emitWithAck('add', 'a', 'b'), 'ab')
      socket.disconnect()
    }
  },

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
              async * subscribe () { for (const n of ['one', 'two', 'three']) yield { count: n } }
            }
          }
        })
      })
      useServer({ schema }, new WebSocketServer({ server, path: '/graphql' }))
    },
    async client (url) {
      const { createClient } = await import('graphql-ws')
      const client = createClient({ url: url + '/graphql', webSocketImpl: WebSocket, lazy: false, retryAttempts: 0 })
      const run = async query => {
        const got = []
        for await (const { data } of client.iterate({ query })) got.push(data)
        return JSON.stringify(got)
      }
      assert.equal(await run('{ hello }'), '[{"hello":"world"}]')
      assert.equal(await run('subscription { count }'), '[{"count":"one"},{"count":"two"},{"count":"three"}]')
      await client.dispose()
    }
  },

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
      const { connectAsync, UniqueMessageIdProvider } = (await import('mqtt')).default
      const client = await connectAsync(url, {
        clientId: 'Ada', reconnectPeriod: 0, messageIdProvider: new UniqueMessageIdProvider()
      })
      const got = once(client, 'message')
      await client.subscribeAsync('greetings', { qos: 0 })
      await client.publishAsync('greetings', 'hello', { qos: 1 })
      const [topic, payload] = await got
      assert.equal(`${topic} ${payload}`, 'greetings hello')
      await client.endAsync()
    }
  },

  // SignalR's client, with as much of a hub as it takes.
  signalr: {
    server (server) {
      const end = '\x1e'
      new WebSocketServer({ server }).on('connection', ws => {
        ws.on('message', data => {
          for (const text of String(data).split(end).slice(0, -1)) {
            const { protocol, type, invocationId, target, arguments: args } = JSON.parse(text)
            if (protocol) ws.send('{}' + end)
            if (type !== 1) continue
            const news = JSON.stringify({ type: 1, target: 'news', arguments: [`${args[0]} calls ${target}`] })
            const result = JSON.stringify({ type: 3, invocationId, result: `Hello, ${args[0]}.` })
            ws.send(news + end + result + end)
          }
        })
      })
    },
    async client (url) {
      const signalR = await import('@microsoft/signalr')
      const hub = new signalR.HubConnectionBuilder()
        .withUrl(url.replace('ws', 'http') + '/hub', { skipNegotiation: true, transport: signalR.HttpTransportType.WebSockets })
        .configureLogging(signalR.LogLevel.None).build()
      const news = new Queue()
      hub.on('news', text => news.put(text))
      await hub.start()
      assert.equal(await hub.invoke('greet', 'Ada'), 'Hello, Ada.')
      assert.equal(await news.get(), 'Ada calls greet')
      await hub.stop()
    }
  }
}

const [role, name, url] = process.argv.slice(2)
if (role === 'server') {
  const server = http.createServer()
  await stacks[name].server(server)
  server.listen(0, '127.0.0.1', () => serve(server.address()))
} else {
  const limit = setTimeout(() => { console.error('takes too long'); process.exit(1) }, 20000)
  await stacks[name].client(url)
  clearTimeout(limit)
}
