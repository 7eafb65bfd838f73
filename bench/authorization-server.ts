/**
 * A program: an authorization server that answers as fast as it can. Says its issuer, and ends with its parent. Refresh tokens are
 * good once, as a counter: `refresh-<subject>-<number>`.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { createSigner } from './tokens.js'

const refreshed = new Map<string, number>()
let issued = 0

function tokenAnswer(form: URLSearchParams): { status: number; json: unknown } {
  issued += 1
  const answer = { access_token: `nextcloud-token-${issued}`, token_type: 'Bearer', expires_in: 300 }
  const refreshToken = form.get('refresh_token')
  if (refreshToken === null) return { status: 200, json: answer }
  const [, subject = '', number = ''] = refreshToken.split('-')
  if (Number(number) !== (refreshed.get(subject) ?? 0)) return { status: 400, json: { error: 'invalid_grant' } }
  refreshed.set(subject, Number(number) + 1)
  return { status: 200, json: { ...answer, refresh_token: `refresh-${subject}-${Number(number) + 1}` } }
}

const server = createServer((req, res) => {
  void (async () => {
    const form = new URLSearchParams(await text(req))
    const { status, json } =
      req.url === '/token' ? tokenAnswer(form) : { status: 200, json: req.url === '/jwks' ? signer.keys : metadata }
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
  })()
})
server.keepAliveTimeout = 60_000
await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4_096 }, resolve))
const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const signer = await createSigner(issuer)
const metadata = {
  issuer,
  authorization_endpoint: `${issuer}/authorize`,
  token_endpoint: `${issuer}/token`,
  jwks_uri: `${issuer}/jwks`,
  response_types_supported: ['code'],
  grant_types_supported: ['authorization_code'],
  code_challenge_methods_supported: ['S256'],
}
process.on('message', (order: { mint: number } | 'count') => {
  void (async () => {
    if (order === 'count') return void process.send?.({ issued })
    const tokens: string[] = []
    for (let number = 0; number < order.mint; number += 1) tokens.push(await signer.mint({ sub: `user-${number}` }))
    process.send?.({ tokens })
  })()
})
process.on('disconnect', () => process.exit())
process.send?.(issuer)
