import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { runJobs } from './peer.mjs'

// converse runs in a page. It returns what it did, and the code and reason of
// the end.
async function converse (job) {
  const did = []
  const payload = ({ type, len }) => type === 'text'
    ? 'é'.repeat(len >> 1) + 'x'.repeat(len & 1)
    : Uint8Array.from({ length: len }, (_, i) => i * 7 + (i >> 8))
  const note = (what, data) => did.push([what, typeof data === 'string' ? data : [...new Uint8Array(data)]])
  const ws = new WebSocket(job.url)
  ws.binaryType = 'arraybuffer'
  const come = []
  let wake = () => {}
  ws.onmessage = ({ data }) => { come.push(data); wake() }
  let gone
  const closed = new Promise(resolve => { ws.onclose = e => { gone = `${e.code} ${e.reason}`; resolve(); wake() } })
  await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = () => reject(new Error('connection failed')) })
  for (const round of job.rounds) {
    const messages = round.filter(({ type }) => type !== 'ping') // pages can't
    for (const m of messages) {
      const data = payload(m)
      note('sent', data)
      ws.send(data)
    }
    for (let echoes = messages.length; echoes > 0; echoes--) {
      while (come.length === 0) {
        if (gone) throw new Error(`closed ${gone}`)
        await new Promise(resolve => { wake = resolve })
      }
      note('got', come.shift())
    }
  }
  ws.close(1000, 'bye')
  await closed
  return { did, gone }
}

runJobs(async (job, diary) => {
  const home = mkdtempSync(join(tmpdir(), 'chromium-'))
  const database = join(home, '.pki', 'nssdb')
  mkdirSync(database, { recursive: true })
  const certutil = (...args) => execFileSync('certutil', ['-d', `sql:${database}`, ...args])
  certutil('-N', '--empty-password')
  certutil('-A', '-n', 'wstrace', '-t', 'C,,', '-i', job.ca)
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP *.com ~NOTFOUND'] // what it asks for by itself
  if (!job.proxy) args.push('--no-proxy-server')
  else args.push(`--proxy-server=http://${job.proxy}`, '--proxy-bypass-list=<-loopback>;*.com')
  let browser
  try {
    browser = await chromium.launchPersistentContext(join(home, 'profile'), {
      executablePath: '/usr/bin/chromium', headless: true, args, env: { ...process.env, HOME: home }
    })
    const page = await browser.newPage()
    const { did, gone } = await page.evaluate(converse, job)
    for (const [what, data] of did) diary.message(what, typeof data === 'string' ? 'text' : 'binary', Buffer.from(data))
    diary.control('sent', 'close', '1000 bye')
    diary.control('got', 'close', gone)
  } finally {
    await browser?.close()
    rmSync(home, { recursive: true, force: true, maxRetries: 5 })
  }
})
