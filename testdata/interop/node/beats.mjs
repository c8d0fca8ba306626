// Applications with heartbeats, for recordings:
//
//	node beats.mjs server APP BEAT            prints where it listens, ends with stdin
//	node beats.mjs client APP URL BEAT WORD   exits with 0 if all went well
//
// BEAT is how many milliseconds there are between heartbeats, and WORD what the
// client says. Each has both sides wait for a while, in which heartbeats come; where
// the server says how often they do, a client waits the longer, the smaller BEAT is.
import { strict as assert } from 'node:assert'
import { EventEmitter, once } from 'node:events'
import http from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import WebSocket, { WebSocketServer } from 'ws'
import { serve } from './peer.mjs'

const long = 500 // ms

const apps = {
  // Phoenix's client, with as much of a server as it takes.
  phoenix: {
    server (server) {
      new WebSocketServer({ server }).on('connection', ws => {
        ws.on('message', async data => {
          const [joinRef, ref, topic, event, payload] = JSON.parse(data)
          const send = (...message) => ws.send(JSON.stringify(message))
          const reply = response => send(joinRef, ref, topic, 'phx_reply', { status: 'ok', response })
          switch (event) {
            case 'ask':
              await pause(payload.after)
              reply({ answer: `${payload.word}!` })
              send(null, null, topic, 'asked', payload)
              break
            case 'phx_leave':
              reply({})
              send(joinRef, joinRef, topic, 'phx_close', {})
              break
            default: // phx_join, heartbeat
              reply({})
          }
        })
      })
    },
    async client (url, beat, word) {
      const { Socket } = await import('phoenix')
      const socket = new Socket(url + '/socket', { transport: WebSocket, heartbeatIntervalMs: beat, reconnectAfterMs: () => 60000 })
      const failed = new Promise((resolve, reject) => socket.onError(() => reject(new Error('connection failed'))))
      failed.catch(() => {})
      socket.connect()
      const channel = socket.channel('room:1', { as: 'Ada' })
      const seen = new EventEmitter()
      channel.on('asked', payload => seen.emit('asked', payload))
      const wait = push => Promise.race([failed, new Promise((resolve, reject) => push
        .receive('ok', resolve).receive('error', reject).receive('timeout', () => reject(new Error('timeout'))))])
      const ask = async (word, after) => {
        const asked = once(seen, 'asked')
        assert.deepEqual(await wait(channel.push('ask', { word, after })), { answer: `${word}!` })
        assert.equal((await asked)[0].word, word)
      }
      await wait(channel.join())
      await ask(word, 0)
      await ask('later', long)
      await pause(long)
      await ask('last', 0)
      await wait(channel.leave())
      await new Promise(resolve => socket.disconnect(resolve))
    }
  },

  trpc: {
    async server (server, beat) {
      const { initTRPC } = await import('@trpc/server')
      const { applyWSSHandler } = await import('@trpc/server/adapters/ws')
      const t = initTRPC.create()
      const router = t.router({
        ask: t.procedure.input(input => input).query(async ({ input: { word, after } }) => {
          await pause(after)
          return `${word}!`
        }),
        count: t.procedure.subscription(async function * () { for (const n of ['one', 'two']) yield n })
      })
      applyWSSHandler({ wss: new WebSocketServer({ server }), router, keepAlive: { enabled: true, pingMs: beat, pongWaitMs: 5000 } })
    },
    async client (url, beat, word) {
      const { createTRPCClient, createWSClient, wsLink } = await import('@trpc/client')
      const ws = createWSClient({ url: url + '/trpc', WebSocket, retryDelayMs: () => 60000, keepAlive: { enabled: true, intervalMs: beat, pongTimeoutMs: 5000 } })
      const client = createTRPCClient({ links: [wsLink({ client: ws })] })
      const ask = async (word, after) => assert.equal(await client.ask.query({ word, after }), `${word}!`)
      await ask(word, 0)
      await ask('later', long)
      await pause(long)
      const got = []
      await new Promise((resolve, reject) => client.count.subscribe(undefined, {
        onData: n => got.push(n), onComplete: resolve, onError: reject
      }))
      assert.deepEqual(got, ['one', 'two'])
      await ws.close()
    }
  },

  // Two clients of one URL. BEAT is the order in which they come: 0 for one after the
  // other, 1 for both at once, and 2 for both at once with the second ahead.
  chat: {
    server (server) {
      const wss = new WebSocketServer({ server })
      wss.on('connection', ws => ws.on('message', data => {
        if (/ is here$/.test(data)) ws.send('Welcome')
        for (const other of wss.clients) if (other !== ws) other.send(String(data))
      }))
    },
    async client (url, order, word) {
      const enter = (name, answers) => {
        const ws = new WebSocket(url + '/room')
        ws.on('open', () => ws.send(`${name} is here`))
        const welcome = new Promise(resolve => ws.once('message', resolve))
        ws.on('message', data => {
          if (String(data) === 'Welcome') return
          for (const answer of answers[data] ?? [`${name} got ${data}`]) answer ? ws.send(answer) : ws.close(1000)
        })
        return { welcome, closed: once(ws, 'close').then(([code]) => assert.equal(code, 1000)) }
      }
      const ada = () => enter('Ada', { 'Bob is here': [`${word}, Bob`], 'Hi, Ada': ['Bye', ''] })
      const bob = () => enter('Bob', { 'Ada is here': [], [`${word}, Bob`]: ['Hi, Ada'], Bye: [''] })
      const list = []
      if (order === 2) list.push(bob())
      list.push(ada())
      if (order === 0) await list[0].welcome
      if (order !== 2) list.push(bob())
      await Promise.all(list.map(client => client.closed))
    }
  },

  // CometD's client begins over WebSocket.
  cometd: {
    server: bayeux,
    async client (url, beat, word) {
      (await import('cometd-nodejs-client')).adapt() // which makes a window
      const { CometD } = await import('cometd')
      const closed = new Promise(resolve => {
        window.WebSocket = class extends WebSocket {
          constructor (...args) { super(...args).on('close', resolve) }
          close (code, reason) { if (reason !== 'Disconnect') super.close(code, reason) } // which side closes first is chance
        }
      })
      const client = new CometD()
      client.configure({ url: url.replace('ws:', 'http:') + '/faye', logLevel: 'error' })
      const wait = start => new Promise((resolve, reject) => start(m => m.successful ? resolve(m) : reject(new Error(JSON.stringify(m)))))
      await wait(f => client.handshake(f))
      assert.equal(client.getTransport().type, 'websocket')
      const seen = new EventEmitter()
      await wait(f => client.subscribe('/room', m => seen.emit('asked', m.data), f))
      const ask = async (word, after) => {
        const asked = once(seen, 'asked')
        await wait(f => client.publish('/room', { word, after }, f))
        assert.equal((await asked)[0].word, word)
      }
      await ask(word, 0)
      await ask('later', long)
      await pause(600 * long / beat)
      await ask('last', 0)
      await wait(f => client.disconnect(f))
      await closed
    }
  },

  // Faye's client begins over HTTP.
  faye: {
    server: bayeux,
    async client (url, beat, word) {
      const faye = (await import('faye')).default
      const client = new faye.Client(url.replace('ws:', 'http:') + '/faye', { retry: 60 })
      client.addExtension({ // or it gives up an answer that takes a fifth longer than it should
        incoming (message, done) {
          if (message.advice) message.advice.timeout = 60000
          done(message)
        }
      })
      const seen = new EventEmitter()
      await client.subscribe('/room', data => seen.emit('asked', data))
      const ask = async (word, after) => {
        const asked = once(seen, 'asked')
        await client.publish('/room', { word, after })
        assert.equal((await asked)[0].word, word)
      }
      await ask(word, 0)
      await ask('later', 100)
      await pause(600 * long / beat)
      await ask('last', 0)
      await client.disconnect()
    }
  }
}

// bayeux is Faye's server, which holds a /meta/connect back for as long as a
// heartbeat takes.
async function bayeux (server, beat) {
  const faye = (await import('faye')).default
  const node = new faye.NodeAdapter({ mount: '/faye', timeout: beat / 1000 })
  node.addExtension({
    incoming (message, done) {
      if (message.data?.after) setTimeout(done, message.data.after, message)
      else done(message)
    },
    outgoing (message, done) { // Faye's client goes on by HTTP if this comes before its WebSocket opens
      if (message.channel === '/meta/handshake') setTimeout(done, 100, message)
      else done(message)
    }
  })
  node.attach(server)
}

const [role, name, ...args] = process.argv.slice(2)
if (role === 'server') {
  const server = http.createServer()
  await apps[name].server(server, Number(args[0]))
  server.listen(0, '127.0.0.1', () => serve(server.address()))
} else {
  setTimeout(() => { console.error('takes too long'); process.exit(1) }, 20000).unref()
  const [url, beat, word] = args
  await apps[name].client(url, Number(beat), word).catch(err => { console.error(String(err)); process.exit(1) })
  process.exit() // whatever timers there are
}
