// Reads a HAR as a program would that knows Chrome's form alone, and prints each
// message: the entry, who sent it, its time in milliseconds, its opcode and its bytes.
import { readFileSync } from 'node:fs'

const { log } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
if (log.version !== '1.2') throw new Error(`version ${log.version}`)
log.entries.forEach((entry, i) => {
  if (Number.isNaN(Date.parse(entry.startedDateTime))) throw new Error(`time ${entry.startedDateTime}`)
  if (new URL(entry.request.url).host === '') throw new Error(`URL ${entry.request.url}`)
  for (const m of entry._webSocketMessages ?? []) {
    const data = m.opcode === 1 ? Buffer.from(m.data) : Buffer.from(m.data, 'base64')
    console.log(JSON.stringify([entry.connection, m.type, Math.round(m.time * 1000), m.opcode, data.toString('hex')]))
  }
})
