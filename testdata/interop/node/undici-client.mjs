import diagnostics from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import { Agent, ping, ProxyAgent, WebSocket } from 'undici'
import { Queue, runJobs, talk } from './peer.mjs'

// Pongs are told on a channel of the process, which runs one job at a time.
let current
diagnostics.subscribe('undici:websocket:pong', ({ payload }) => current.control('got', 'pong', payload))

runJobs(async (job, diary) => {
  current = diary
  const options = {}
  const trust = job.ca && { ca: readFileSync(job.ca) }
  if (job.proxy) options.dispatcher = new ProxyAgent({ uri: `http://${job.proxy}`, proxyTunnel: job.tunnel, requestTls: trust })
  else if (trust) options.dispatcher = new Agent({ connect: trust })
  const ws = new WebSocket(job.url, options)
  ws.binaryType = 'arraybuffer'
  const events = new Queue()
  ws.onopen = () => events.put('open')
  ws.onmessage = ({ data }) => events.put({ type: typeof data === 'string' ? 'text' : 'binary', p: Buffer.from(data) })
  ws.onerror = ({ error }) => events.put(error ?? new Error('connection failed'))
  const closed = new Promise(resolve => {
    ws.onclose = ({ code, reason }) => {
      diary.close('got', code, reason)
      events.put(new Error(`closed ${code} ${reason}`))
      resolve()
    }
  })

  await events.get() // open
  await talk(job, diary, (type, p) => {
    if (type === 'ping') ping(ws, p)
    else ws.send(type === 'text' ? p.toString() : p)
  }, () => events.get())
  diary.close('sent', 1000, 'bye')
  ws.close(1000, 'bye')
  await closed
  await options.dispatcher?.close()
})
