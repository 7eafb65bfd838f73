import type { IncomingHttpHeaders } from 'node:http'
import { expect, it, onTestFinished } from 'vitest'
import { isEmbedded } from '../../src/connect/browser.js'
import { launchChromium } from '../support/chromium.js'
import { listen } from '../support/hosts.js'
import { has } from '../support/left-out.js'

/** Ways in which a page has its visitor's browser send a GET to another site, without the visitor. */
const WAYS: Readonly<Record<string, string>> = {
  img: 'new Image().src = url',
  script: "add('script', { src: url })",
  style: "add('link', { rel: 'stylesheet', href: url })",
  prefetch: "add('link', { rel: 'prefetch', href: url })",
  preload: "add('link', { rel: 'preload', as: 'fetch', href: url })",
  iframe: "add('iframe', { src: url })",
  object: "add('object', { data: url })",
  video: "add('video', { src: url })",
  fetch: "fetch(url, { mode: 'no-cors' })",
  events: 'new EventSource(url)',
  socket: "new WebSocket(url.replace('http', 'ws'))",
  module: 'import(url)',
}

it.runIf(has('Chromium'))('a browser tells all that a page embeds from a window of its own', async () => {
  const seen = new Map<string, IncomingHttpHeaders>()
  const site = await listen((req, res) => {
    const name = req.url?.slice(1) ?? ''
    if (!seen.has(name)) seen.set(name, req.headers)
    res.setHeader('content-type', 'text/html')
    res.end('<h1>Seen</h1>')
  })
  const evil = await listen(
    (_req, res) => void res.setHeader('content-type', 'text/html').end('<link rel="icon" href="data:,">'),
  )
  const browser = await launchChromium()
  onTestFinished(async () => {
    await browser.close()
    await Promise.all([site.close(), evil.close()])
  })
  const page = await browser.newPage()
  await page.goto(evil.url)
  for (const [name, way] of Object.entries(WAYS)) {
    await page.evaluate(`{
      const url = ${JSON.stringify(`${site.url.replace('127.0.0.1', 'localhost')}/${name}`)}
      const add = (tag, attributes) => document.body.appendChild(Object.assign(document.createElement(tag), attributes))
      ;(async () => { ${way} })().catch(() => undefined)
    }`)
  }
  await expect.poll(() => Object.keys(WAYS).filter((name) => !seen.has(name)), { timeout: 20_000 }).toEqual([])
  const embedded = [...seen].filter(([, headers]) => isEmbedded({ headers })).map(([name]) => name)
  expect(embedded.sort()).toEqual(Object.keys(WAYS).sort())

  await page.goto(`${site.url}/window`)
  expect(isEmbedded({ headers: seen.get('window') ?? {} })).toBe(false)
})
