import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INVALID_TOKEN_DESCRIPTIONS } from '../../src/errors/rejection-details.js'
import { METADATA_URL } from '../support/answers.js'
import { bareHost, listen, type RunningApp } from '../support/hosts.js'
import { RESOURCE } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'
import { GROUPS, type Refused } from './corpus/attack.js'
import { CORPUS, LET_IN } from './corpus/corpus.js'
import { createForge, EVIL_NAME, PUBLISHED, type Forge } from './corpus/forge.js'
import { exchange, type WireAnswer } from './corpus/wire.js'

// Each attack is one request, sent byte for byte to an app behind the middleware. The same run against other packages: bench/attacks.ts.

let bed: World
let app: RunningApp
let evil: RunningApp
let forge: Forge
let reached = 0
let asked = 0

beforeAll(async () => {
  bed = await world({ mode: 'none', options: { requiredScopes: ['notes:read'] } })
  bed.as.keys.push(...(PUBLISHED as never[]))
  const { auth } = bed
  app = await bareHost.start(
    [
      auth,
      auth.routes(),
      (_req: IncomingMessage, res: ServerResponse) => {
        reached += 1
        res.end('reached')
      },
    ],
    { maxHeaderSize: 81_920 },
  )
  evil = await listen((_req, res) => {
    asked += 1
    res.end('{}')
  })
  forge = createForge({
    issuer: bed.as.issuer,
    resource: RESOURCE,
    evil: evil.url,
    now: Math.floor(bed.clock.now() / 1_000),
  })
})
afterAll(async () => {
  await app.close()
  await evil.close()
  await bed.close()
})

const send = async (request: string, wanted = 1): Promise<WireAnswer> => {
  const answers = await exchange(Number(new URL(app.url).port), request, wanted)
  expect(answers).toHaveLength(wanted)
  return answers.at(-1) ?? expect.unreachable()
}

it.each(LET_IN)('%s gets through', async (_name, request) => {
  expect((await send(request(forge))).body).toBe('reached')
})

describe.each(Object.entries(GROUPS))('%s', (group) => {
  const attacks = CORPUS.filter((attack) => attack.group === group)

  it.each(attacks.map((attack) => [attack.name, attack] as const))('%s', async (_name, attack) => {
    const request = attack.request(forge)
    const before = reached

    const answer = await send(request, attack.answers)

    expect(told(answer)).toEqual(expected(attack.refused, attack.name === 'HEAD'))
    // Of two requests the first one is good.
    expect(reached - before).toBe((attack.answers ?? 1) - 1)
    expect(asked).toBe(0)
    // Nothing that was sent comes back.
    for (const part of [EVIL_NAME, ...(/[\w-]{20,}\.[\w-]+\.[\w-]{20,}/.exec(request) ?? [])]) {
      expect(answer.head + answer.body).not.toContain(part)
    }
  })
})

interface Told {
  readonly status: number
  /** Of a challenge, its beginning and where it sends clients. */
  readonly challenge?: string | undefined
  readonly error?: string
  readonly words?: string
  readonly resource?: string
}

function told({ status, head, body }: WireAnswer): Told {
  const [, challenge] = /^www-authenticate: (Bearer realm="mcp".*)$/im.exec(head) ?? []
  const metadata = /resource_metadata="([^"]*)"/.exec(challenge ?? '')?.[1]
  const type = /^content-type: (.*)$/im.exec(head)?.[1]
  if (type !== 'application/json' || body === '')
    return metadata === undefined ? { status } : { status, challenge: metadata }
  if (status === 405) return { status }
  const { error, error_description: words, resource } = JSON.parse(body) as Record<string, string>
  return JSON.parse(JSON.stringify({ status, challenge: metadata, error, words, resource })) as Told
}

function expected(refused: Refused, isHead = false): Told {
  if (typeof refused === 'object') return { status: refused.byNode }
  const challenge = METADATA_URL
  switch (refused) {
    case 'metadata':
      return { status: 200, resource: RESOURCE }
    case 'no token':
      return { status: 401, challenge, ...(!isHead && { error: 'unauthorized', words: 'An access token is required' }) }
    case 'bad request':
      return {
        status: 400,
        challenge,
        error: 'invalid_request',
        words: 'The Authorization header must hold one access token and nothing else',
      }
    case 'scope':
      return {
        status: 403,
        challenge,
        error: 'insufficient_scope',
        words: 'The access token lacks a scope that this operation needs',
      }
    default:
      return { status: 401, challenge, error: 'invalid_token', words: INVALID_TOKEN_DESCRIPTIONS[refused] }
  }
}
