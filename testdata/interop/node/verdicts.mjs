// Says of the bytes that one side sent whether ws takes them, and which
// messages it finds in them. Reads and writes JSON lines.
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import readline from 'node:readline'
import { Receiver } from 'ws'

const require = createRequire(import.meta.url)
const PerMessageDeflate = require('./node_modules/ws/lib/permessage-deflate.js')
const { parse } = require('./node_modules/ws/lib/extension.js')

function verdict ({ side, ext, hex }) {
  return new Promise(resolve => {
    const extensions = {}
    const isServer = side === 'client' // that reads it
    if (ext) {
      const deflate = new PerMessageDeflate({ isServer, threshold: 0, maxPayload: 0 })
      deflate.params = deflate.normalizeParams(parse(ext)['permessage-deflate'])[0]
      extensions['permessage-deflate'] = deflate
    }
    const receiver = new Receiver({ isServer, extensions })
    const messages = []
    let done = false
    const end = error => {
      if (done) return
      done = true
      resolve({ error, messages })
    }
    receiver.on('message', (data, binary) => {
      messages.push((binary ? 'bin ' : 'text ') + createHash('sha256').update(data).digest('hex'))
    })
    receiver.on('conclude', () => end(''))
    receiver.on('error', error => end(error.message))
    receiver.on('finish', () => end(''))
    receiver.end(Buffer.from(hex, 'hex'))
  })
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await verdict(JSON.parse(line))))
}
