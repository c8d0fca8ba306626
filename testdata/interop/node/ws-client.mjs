import { randomFillSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'
import WebSocket from 'ws'
import { Queue, runJobs, talk, throughTunnel } from './peer.mjs'

runJobs(async (job, diary) => {
  const options = {
    perMessageDeflate: job.deflate,
    generateMask (key) {
      randomFillSync(key)
      diary.mask(key)
    }
  }
  if (job.ca) options.ca = readFileSync(job.ca)
  const { host, hostname } = new URL(job.url)
  if (job.proxy && job.tunnel) {
    const socket = await throughTunnel(job.proxy, host)
    options.createConnection = () => job.ca ? tls.connect({ socket, servername: hostname, ca: options.ca }) : socket
  } else if (job.proxy) {
    const [proxyHost, proxyPort] = job.proxy.split(':')
    options.createConnection = () => net.connect(proxyPort, proxyHost)
    options.finishRequest = request => {
      request.path = job.url.replace(/^ws/, 'http')
      request.end()
    }
  }

  const ws = new WebSocket(job.url, options)
  const events = new Queue()
  ws.on('open', () => events.put('open'))
  ws.on('message', (p, binary) => events.put({ type: binary ? 'binary' : 'text', p }))
  ws.on('ping', p => {
    diary.control('got', 'ping', p)
    diary.control('sent', 'pong', p)
  })
  ws.on('pong', p => diary.control('got', 'pong', p))
  ws.on('error', error => events.put(error))
  const closed = new Promise(resolve => ws.on('close', (code, reason) => {
    diary.close('got', code, reason)
    events.put(new Error(`closed ${code} ${reason}`))
    resolve()
  }))

  await events.get() // open
  await talk(job, diary, (type, p) => {
    if (type === 'ping') ws.ping(p)
    else ws.send(p, { binary: type === 'binary' })
  }, () => events.get())
  diary.close('sent', 1000, 'bye')
  ws.close(1000, 'bye')
  await closed
})
