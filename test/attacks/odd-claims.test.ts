import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { McpAuthError, type InvalidTokenError } from '../../src/errors/errors.js'
import { CLIENT_ID, CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { expectRefusal } from '../support/expect-refusal.js'
import { world, type World } from '../support/world.js'

// A claim or a header of a wrong type, however deep, makes a bad token: 401, never 500.

let as: World['as']
let open: World['open']
let close: World['close']

beforeEach(async () => {
  ;({ as, open, close } = await world({ mode: 'none' }))
})
afterEach(() => close())

const VALUES = [5, true, null, [], {}, [[]], { a: [] }, '', ['a', 5], 1e308, -1, '\0', '__proto__']
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
const CLAIMS =
  'iss sub aud exp nbf iat jti client_id azp cid appid scope scp typ token_use nonce at_hash events cnf'.split(' ')
const HEADERS = 'typ cty kid jku jwk x5u x5c x5t crit b64 enc zip nonce'.split(' ')

/** Signs a header and a payload that are given as text, which no library looks at. */
async function sign(header: string, payload: string): Promise<string> {
  const encode = (text: string): string => Buffer.from(text).toString('base64url')
  const input = `${encode(header)}.${encode(payload)}`
  const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, as.key.privateKey, Buffer.from(input))
  return `${input}.${Buffer.from(signature).toString('base64url')}`
}

/** Puts a member, given as text, into an object, given as text, in place of one that is there. */
function withMember(object: object, name: string, value: string): string {
  const others = Object.entries(object).filter(([other]) => other !== name)
  const rest = JSON.stringify(Object.fromEntries(others)).slice(1)
  return `{${JSON.stringify(name)}:${value}${rest === '}' ? '' : ','}${rest}`
}

const goodHeader = (): object => ({ alg: as.key.alg, kid: as.key.kid, typ: 'at+jwt' })
const withClaim = async (claim: string, value: string): Promise<string> =>
  sign(JSON.stringify(goodHeader()), withMember(payloadOf(await as.mint()), claim, value))
const withHeader = async (name: string, value: string): Promise<string> =>
  sign(withMember(goodHeader(), name, value), JSON.stringify(payloadOf(await as.mint())))

const payloadOf = (token: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>

/** Expects a verdict about the token: it is good, or 401 (403 where a scope is missing). */
async function expectVerdict(verified: Promise<unknown>): Promise<void> {
  const error: unknown = await verified.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error === undefined) return
  expect(error).toBeInstanceOf(McpAuthError)
  expect((error as McpAuthError).status).toBe(401)
  // The words for the operator are put together only where they are read.
  expect((error as InvalidTokenError).details.message).toEqual(expect.any(String))
}

describe('an odd value', () => {
  it.each(CLAIMS)('in the claim %s of a JWT', async (claim) => {
    const auth = open({ missingAudience: 'client', allowedClients: ['mcp-client'] })
    for (const value of VALUES) await expectVerdict(auth.verify(await withClaim(claim, JSON.stringify(value))))
  })

  it.each(CLAIMS)('in the claim %s of an introspection answer', async (claim) => {
    const auth = open({ introspection: 'always', clientId: CLIENT_ID, clientSecret: CLIENT_SECRET })
    const claims = payloadOf(await as.mint())
    for (const [index, value] of VALUES.entries()) {
      as.script('/introspect', { json: { active: true, ...claims, [claim]: value } })
      await expectVerdict(auth.verify(`opaque-${claim}-${index}`))
    }
  })

  it.each(HEADERS)('in the header %s of a good signature', async (name) => {
    const auth = open()
    for (const value of VALUES) await expectVerdict(auth.verify(await withHeader(name, JSON.stringify(value))))
  })

  it.each([5, null, [], {}, ['at+jwt']])('in typ is malformed, and not an access token: %j', async (typ) => {
    await expectRefusal(open(), await withHeader('typ', JSON.stringify(typ)), 'malformed')
  })
})

describe('nested', () => {
  it.each([101, 4_000])('in %d levels, a claim makes a JWT malformed', async (levels) => {
    await expectRefusal(open(), await withClaim('deep', nested(levels)), 'malformed')
  })

  it.each(CLAIMS)('in 4,000 levels, the claim %s makes a JWT malformed or wrong', async (claim) => {
    await expectVerdict(open().verify(await withClaim(claim, nested(4_000))))
  })

  it('in 4,000 levels, a claim makes an introspection answer malformed', async () => {
    const auth = open({ introspection: 'always', clientId: CLIENT_ID, clientSecret: CLIENT_SECRET })
    as.script('/introspect', {
      text: withMember({ active: true, ...payloadOf(await as.mint()) }, 'deep', nested(4_000)),
    })

    await expectRefusal(auth, 'opaque', 'malformed')
  })

  it('in 99 levels, a claim is as good as any', async () => {
    expect((await open().verify(await withClaim('deep', nested(99)))).subject).toBe('alice')
  })

  it('in 4,000 levels, a header makes no 500', async () => {
    await expectVerdict(open().verify(await withHeader('deep', nested(4_000))))
  })
})
