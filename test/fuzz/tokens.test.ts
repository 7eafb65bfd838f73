import fc from 'fast-check'
import { createPublicKey, KeyObject, sign, verify, type JsonWebKey } from 'node:crypto'
import { beforeAll, describe, expect, it } from 'vitest'
import { McpAuthError } from '../../src/index.js'
import type { McpAuth } from '../../src/mcp-auth.js'
import { CLIENT_ID, RESOURCE } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'
import { anyJson, anyText, fuzz, nearly } from './support/fuzz.js'

let bed: World
let now: number
let answer: { text: string }
let opaque: McpAuth
beforeAll(async () => {
  bed = await world({ options: { cache: { verifiedTokens: 0 } } })
  now = Math.floor(bed.clock.now() / 1_000)
  answer = { text: '{"active":false}' }
  bed.as.script('/introspect', (_request, res) => {
    res.writeHead(200, { 'content-type': 'application/json' }).end(answer.text)
  })
  opaque = bed.open({ introspection: 'always' })
  return bed.close
})

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values)
const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Claims that are nearly those of a good token. */
const claims = () =>
  nearly({
    iss: fc.constant(bed.as.issuer),
    sub: oneOf('alice', 'bob', ''),
    aud: oneOf<unknown>(RESOURCE, `${RESOURCE}/`, [RESOURCE], CLIENT_ID, ['x', RESOURCE], 'x', [], ''),
    client_id: oneOf('mcp-client', CLIENT_ID, ''),
    azp: oneOf('mcp-client', CLIENT_ID),
    scope: oneOf<unknown>('notes:read', '', ['a'], 'a  b'),
    exp: oneOf<unknown>(now + 60, now - 4, now - 5, now - 60, String(now + 60), now + 0.5),
    iat: oneOf(now, now + 5, now + 6, now - 60),
    nbf: oneOf(now, now + 5, now + 6),
    nonce: fc.constant('n'),
    at_hash: fc.constant('h'),
    typ: oneOf('Bearer', 'ID', 'Refresh', 'at+jwt'),
    token_use: oneOf('access', 'id'),
    cnf: oneOf<unknown>({ jkt: 'x' }, {}, null),
    events: fc.constant({}),
    constructor: fc.constant('x'),
    __proto__x: fc.constant('x'),
  }).map((given) => ({ ...given }))

/** Good claims in which little is changed, so that many are accepted. */
const nearClaims = () =>
  claims().chain((odd) =>
    fc.subarray(Object.keys(odd), { maxLength: Math.min(2, Object.keys(odd).length) }).map((names) => ({
      ...{
        iss: bed.as.issuer,
        sub: 'alice',
        aud: RESOURCE,
        client_id: 'mcp-client',
        scope: 'notes:read',
        iat: now,
        exp: now + 60,
      },
      ...Object.fromEntries(names.map((name) => [name, (odd as Record<string, unknown>)[name]])),
    })),
  )

const header = nearly({
  alg: oneOf('ES256', 'none', 'HS256', 'RS256', 'es256'),
  kid: oneOf('first', 'second', ''),
  typ: oneOf('at+jwt', 'AT+JWT', 'application/at+jwt', 'JWT', 'logout+jwt', 'id+jwt'),
  crit: oneOf<unknown>(['b64'], [], ['exp']),
  b64: fc.boolean(),
  jwk: fc.constant({ kty: 'oct', k: 'AA' }),
  zip: fc.constant('DEF'),
})
const nearHeader = header.chain((odd) =>
  fc.subarray(Object.keys(odd), { maxLength: Math.min(1, Object.keys(odd).length) }).map((names) => ({
    ...{ alg: 'ES256', kid: 'first', typ: 'at+jwt' },
    ...Object.fromEntries(names.map((name) => [name, odd[name]])),
  })),
)

/** A plain check of claims by the contract, without anything of the package. */
function mayPass(given: Readonly<Record<string, unknown>>, isIntrospected = false): boolean {
  const { iss, sub, aud, exp, nbf, iat, cnf, client_id: client, azp } = given
  const audiences = [aud].flat()
  const isForResource = audiences.some((one) => one === RESOURCE || one === `${RESOURCE}/`)
  const isFor = isForResource || audiences.some((one) => one === CLIENT_ID || one === `${CLIENT_ID}/`)
  const isInTime = (time: unknown): boolean => time === undefined || (typeof time === 'number' && time <= now + 5)
  const of = [client, azp].find((id) => typeof id === 'string' && id !== '')
  return (
    (iss === bed.as.issuer || (isIntrospected && iss === undefined)) &&
    typeof sub === 'string' &&
    sub !== '' &&
    isFor &&
    typeof exp === 'number' &&
    exp > now - 5 &&
    isInTime(nbf) &&
    isInTime(iat) &&
    (cnf === undefined || cnf === null) &&
    // One for its own client alone comes in, because MCP clients may share that client (SECURITY.md, limits).
    !(isForResource && of === CLIENT_ID)
  )
}

/** A plain check of a compact JWS (RFC 7515), without anything of the package or of jose. */
function isSigned(token: string): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every((part) => Buffer.from(part, 'base64url').toString('base64url') === part))
    return undefined
  const [head = '', payload = '', signature = ''] = parts
  try {
    const { alg, kid, crit, typ } = JSON.parse(Buffer.from(head, 'base64url').toString()) as Record<string, unknown>
    if (alg !== 'ES256' || (kid !== undefined && kid !== 'first') || crit !== undefined) return undefined
    if (typ !== undefined && !(typeof typ === 'string' && /^(application\/)?(at\+)?jwt$/i.test(typ))) return undefined
    const key = createPublicKey({ key: bed.as.key.publicJwk as JsonWebKey, format: 'jwk' })
    const good = verify(
      'sha256',
      Buffer.from(`${head}.${payload}`),
      { key, dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    )
    return good ? (JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Verifies a token. A refusal must be the package's own, and the caller's fault. */
async function isAccepted(auth: McpAuth, token: string, mayBeUnavailable: boolean): Promise<boolean> {
  try {
    await auth.verify(token)
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(McpAuthError)
    const { status } = error as McpAuthError
    if (!mayBeUnavailable || status !== 503) expect(status).toBe(401)
    return false
  }
}

/** A token that the server has signed, whatever it says. */
function signed(head: unknown, payload: unknown): string {
  const text = `${base64(head)}.${base64(payload)}`
  const key = KeyObject.from(bed.as.key.privateKey)
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

describe('a token', () => {
  it('that is signed passes only if a plain check of its header and claims lets it in', async () => {
    const token = fc.oneof(
      { arbitrary: fc.tuple(nearHeader, nearClaims()), weight: 5 },
      fc.tuple(anyJson({ alg: fc.constant('ES256') }), nearClaims()),
      fc.tuple(nearHeader, fc.jsonValue()),
    )
    await fuzz(
      fc.asyncProperty(token, async ([head, payload]) => {
        const token = signed(head, payload)
        const { kid } = { ...(head as { kid?: unknown } | null) }
        // Looks for a key that is not known may be used up.
        const accepted = await isAccepted(bed.auth, token, kid !== 'first')
        const read = isSigned(token)
        if (accepted) expect(read !== undefined && mayPass(read)).toBe(true)
      }),
    )
  })

  it('that was changed anywhere is refused, and one without a change is not', async () => {
    const good = await bed.as.mint()
    await bed.auth.verify(good)
    const character = oneOf(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.='.split(''))
    const change = fc.record({
      at: fc.oneof(fc.nat(good.length), fc.constant(good.length - 1)),
      take: fc.nat(2),
      put: fc.oneof(character, character, anyText(3)),
    })
    await fuzz(
      fc.asyncProperty(change, async ({ at, take, put }) => {
        const token = good.slice(0, at) + put + good.slice(at + take)
        expect(await isAccepted(bed.auth, token, true)).toBe(token === good)
      }),
    )
  })

  it('of any text is refused', async () => {
    const near = fc
      .tuple(oneOf('eyJ', 'eyJhbGciOiJFUzI1NiJ9', ''), anyText(20), oneOf('.', '..', '...'), anyText(20))
      .map((parts) => parts.join(''))
    await fuzz(
      fc.asyncProperty(fc.oneof(anyText(400), near), async (token) => {
        expect(await isAccepted(bed.auth, token, false)).toBe(false)
      }),
    )
  })

  it('that is introspected passes only if a plain check of the answer lets it in, and no answer is a failure of this server', async () => {
    const said = fc.oneof(
      {
        arbitrary: nearClaims().chain((given) =>
          oneOf<unknown>(true, 'true', 1, false, undefined).map((active) => ({ ...given, active })),
        ),
        weight: 4,
      },
      anyJson({ active: fc.boolean(), sub: fc.string() }),
    )
    let count = 0
    await fuzz(
      fc.asyncProperty(
        fc.oneof({ arbitrary: said.map((value) => JSON.stringify(value)), weight: 6 }, anyText()),
        async (text) => {
          answer.text = text
          bed.clock.advance(61_000)
          now = Math.floor(bed.clock.now() / 1_000)
          const accepted = await isAccepted(opaque, `token-${(count += 1)}`, true)
          const { active, ...rest } = (accepted ? JSON.parse(text) : {}) as Record<string, unknown>
          if (accepted) expect(active === true && mayPass(rest, true)).toBe(true)
        },
      ),
    )
  })
})
