// Chromium, with its sandbox, loads a page that talks to a server:
//
//	node hello-chromium.mjs PAGE#URL CA
//
// CA is a file with an authority in PEM, which goes into the NSS database of a home of
// its own: Chromium takes none from the environment.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const [page, authority] = process.argv.slice(2)
const home = mkdtempSync(join(tmpdir(), 'chromium-'))
const database = join(home, '.pki', 'nssdb')
mkdirSync(database, { recursive: true })
const certutil = (...args) => execFileSync('certutil', ['-d', `sql:${database}`, ...args])
certutil('-N', '--empty-password')
certutil('-A', '-n', 'wstrace', '-t', 'C,,', '-i', authority)
const args = ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--no-proxy-server', '--host-resolver-rules=MAP *.com ~NOTFOUND'] // what it asks for by itself
let browser
try {
  browser = await chromium.launchPersistentContext(join(home, 'profile'), {
    executablePath: '/usr/bin/chromium', headless: true, chromiumSandbox: true, args, env: { ...process.env, HOME: home }
  })
  const tab = await browser.newPage()
  await tab.goto(page)
  await tab.waitForFunction(() => document.title)
  const title = await tab.title()
  if (title !== '["hello from a page",[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]]') throw new Error(`got ${title}`)
} finally {
  await browser?.close()
  rmSync(home, { recursive: true, force: true, maxRetries: 5 })
}
