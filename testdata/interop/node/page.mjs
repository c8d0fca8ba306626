// A page with what pages have, for recordings:
//
//	node page.mjs server              prints where it listens, ends with stdin
//	node page.mjs browser URL WORD    opens it in Chromium, twice, and types WORD;
//	                                  exits with 0 if all went well
//
// Over localhost it is another origin than over 127.0.0.1, whom it asks too.
import { strict as assert } from 'node:assert'
import http from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { WebSocketServer } from 'ws'
import { serve } from './peer.mjs'

const html = `<!doctype html>
<meta charset="utf-8">
<title>…</title>
<link rel="stylesheet" href="style.css">
<script type="module" src="app.js"></script>
<p id="greeting">Who are you?</p>
<img src="dot.png" alt="">
`

const script = `
const post = (url, body, headers) => fetch(url, { method: 'POST', body: JSON.stringify(body), headers }).then(res => {
  if (!res.ok) throw new Error(res.status)
  return res.json()
})
const { token } = await post('/login', { name: window.word }, { 'Content-Type': 'application/json' })
const { rooms } = await post('http://localhost:' + location.port + '/rooms', { token }, { 'X-Token': token, 'Content-Type': 'application/json' })
const ws = new WebSocket('ws://' + location.host + '/ws?room=' + rooms[0])
ws.onopen = () => ws.send(JSON.stringify({ hello: window.word, token }))
ws.onmessage = ({ data }) => {
  const { greeting } = JSON.parse(data)
  document.getElementById('greeting').textContent = greeting
  document.title = greeting
  ws.close(1000)
}
`

const dot = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')

function answer (req, res, body) {
  const cors = { 'Access-Control-Allow-Origin': req.headers.origin, Vary: 'Origin' }
  const cached = (type, etag, headers, ...pieces) => {
    if (req.headers['if-none-match'] === etag) return res.writeHead(304, { ETag: etag }).end()
    res.writeHead(200, { 'Content-Type': type, ETag: etag, 'Cache-Control': 'no-cache', ...headers })
    for (const piece of pieces) res.write(piece)
    res.end()
  }
  switch (`${req.method} ${req.url}`) {
    case 'GET /': {
      const coded = gzipSync(html)
      return cached('text/html; charset=utf-8', '"html"', { 'Content-Encoding': 'gzip' }, coded.subarray(0, 20), coded.subarray(20))
    }
    case 'GET /style.css':
      return cached('text/css', '"css"', {}, 'p { color: rgb(1, 2, 3) }\n')
    case 'GET /app.js':
      return cached('text/javascript', '"js"', { 'Content-Encoding': 'gzip' }, gzipSync(script))
    case 'GET /dot.png':
      return res.writeHead(200, { 'Content-Type': 'image/png', 'Content-Length': dot.length, 'Cache-Control': 'max-age=3600' }).end(dot)
    case 'POST /login':
      return res.writeHead(200, { 'Content-Type': 'application/json', 'Set-Cookie': 'who=somebody; Path=/' })
        .end(JSON.stringify({ token: `${JSON.parse(body).name}-1` }))
    case 'OPTIONS /rooms':
      return res.writeHead(204, { ...cors, 'Access-Control-Allow-Headers': 'x-token, content-type', 'Access-Control-Max-Age': 600 }).end()
    case 'POST /rooms':
      return res.writeHead(200, { ...cors, 'Content-Type': 'application/json' }).end('{"rooms":[7]}')
  }
  res.writeHead(404).end()
}

async function browse (url, word) {
  const { chromium } = await import('playwright-core')
  const home = mkdtempSync(join(tmpdir(), 'chromium-'))
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost']
  let browser
  try {
    browser = await chromium.launchPersistentContext(join(home, 'profile'), {
      executablePath: '/usr/bin/chromium', headless: true, args, env: { ...process.env, HOME: home }
    })
    await browser.addInitScript(word => { window.word = word }, word)
    const page = await browser.newPage()
    page.setDefaultTimeout(15000)
    const greeted = async () => {
      await page.waitForFunction(() => document.title.startsWith('Hello'))
      assert.equal(await page.title(), `Hello, ${word}.`)
      const [color, width] = await page.evaluate(() => [getComputedStyle(document.querySelector('p')).color, document.querySelector('img').naturalWidth])
      assert.equal(color, 'rgb(1, 2, 3)')
      assert.equal(width, 1)
    }
    await page.goto(url)
    await greeted()
    await page.reload()
    await greeted()
  } finally {
    await browser?.close()
    rmSync(home, { recursive: true, force: true, maxRetries: 5 })
  }
}

const [role, url, word] = process.argv.slice(2)
if (role === 'server') {
  const server = http.createServer((req, res) => {
    let body = ''
    req.setEncoding('utf8').on('data', s => { body += s }).on('end', () => answer(req, res, body))
  })
  new WebSocketServer({ server }).on('connection', ws => {
    ws.on('message', data => ws.send(JSON.stringify({ greeting: `Hello, ${JSON.parse(data).hello}.` })))
  })
  server.listen(0, '127.0.0.1', () => serve(server.address()))
} else {
  await browse(url, word).catch(err => { console.error(String(err)); process.exit(1) })
}
