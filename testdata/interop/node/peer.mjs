// What the peers written for Node share: jobs come as JSON lines on stdin,
// reports go as JSON lines to stdout. See peer_test.go.
import { createHash } from 'node:crypto'
import http from 'node:http'
import { createInterface } from 'node:readline'

function print (line) {
  process.stdout.write(JSON.stringify(line) + '\n')
}

// A Diary reports what a peer does in one job.
export class Diary {
  constructor (id) {
    this.id = id
  }

  message (did, type, p) {
    const sum = createHash('sha256').update(p).digest('hex').slice(0, 16)
    print({ id: this.id, did, type, len: p.length, sum })
  }

  control (did, type, text) {
    print({ id: this.id, did, type, text: String(text) })
  }

  close (did, code, reason) {
    this.control(did, 'close', `${code} ${reason}`)
  }

  mask (key) {
    print({ id: this.id, did: 'mask', text: key.toString('hex') })
  }

  done (error) {
    print({ id: this.id, did: 'done', error: error ? String(error) : '' })
  }
}

// A Queue gives what comes in events to who waits for it.
export class Queue {
  items = []
  waiting = null

  put (item) {
    this.items.push(item)
    this.waiting?.()
  }

  async get () {
    while (this.items.length === 0) {
      await new Promise(resolve => { this.waiting = resolve })
    }
    const item = this.items.shift()
    if (item instanceof Error) throw item
    return item
  }
}

function payload ({ type, len }) {
  if (type === 'text') return Buffer.from('é'.repeat(len >> 1) + 'x'.repeat(len & 1))
  return Buffer.from({ length: len }, (_, i) => i * 7 + (i >> 8))
}

// talk does what a client has to. Text is sent as a string.
export async function talk (job, diary, send, receive) {
  for (const [n, round] of job.rounds.entries()) {
    let echoes = 0
    for (const message of round) {
      const p = payload(message)
      if (message.type === 'ping') {
        diary.control('sent', 'ping', p)
      } else {
        diary.message('sent', message.type, p)
        echoes++
      }
      send(message.type, p)
    }
    if (job.echoes) echoes = job.echoes[n]
    for (; echoes > 0; echoes--) {
      const { type, p } = await receive()
      diary.message('got', type, p)
    }
  }
}

// runJobs runs a client for every job, one after the other, until stdin ends.
export async function runJobs (run) {
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line)
    const diary = new Diary(job.id)
    await run(job, diary).then(() => diary.done(), error => diary.done(error))
  }
  process.exit()
}

// serve announces where a server listens, and ends the process with stdin.
export function serve ({ address, port }) {
  print({ ready: `${address}:${port}` })
  process.stdin.on('end', () => process.exit()).resume()
}

// throughTunnel resolves to a socket to authority through a proxy.
export function throughTunnel (proxy, authority) {
  const [host, port] = proxy.split(':')
  return new Promise((resolve, reject) => {
    http.request({ host, port, method: 'CONNECT', path: authority, agent: false })
      .on('connect', (res, socket, head) => {
        if (res.statusCode === 200 && head.length === 0) resolve(socket)
        else reject(new Error(`CONNECT: ${res.statusCode}, and ${head.length} bytes more`))
      })
      .on('error', reject)
      .end()
  })
}
