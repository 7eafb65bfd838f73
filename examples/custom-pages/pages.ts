import { createHash } from 'node:crypto'
import type { Response } from 'express'

const STYLE = 'body { max-width: 30rem; margin: 4rem auto; font: 1rem/1.5 system-ui } button { font: inherit }'

/** Allows this stylesheet alone, and no script. */
const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

export function sendPage(res: Response, status: number, html: string): void {
  res.status(status).set({ 'Content-Security-Policy': POLICY, 'Cache-Control': 'no-store' }).type('html').send(html)
}

export const signInPage = (): string => page('Please sign in', '')

export const refusalPage = (): string => page('Not now', '<p>Try again in a minute. Nothing is lost.</p>')

export function accountPage(name: string, isConnected: boolean): string {
  const [sentence, action, label] = isConnected
    ? ['Nextcloud is connected.', 'disconnect', 'Disconnect']
    : ['Nextcloud is not connected yet.', 'connect', 'Connect Nextcloud']
  return page(
    `Your account, ${name}`,
    `<p>${sentence}</p><form method="post" action="/account/${action}"><button>${label}</button></form>`,
  )
}

function page(title: string, content: string): string {
  const text = title.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${text}</title><style>${STYLE}</style><h1>${text}</h1>${content}</html>`
}
