import express from 'express'
import { decodeJwt } from 'jose'
import { expect, it, onTestFinished } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { askWith } from '../support/answers.js'
import { chance } from '../support/chance.js'
import { listen } from '../support/hosts.js'
import type { ReceivedRequest, ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import { tokenAnswer, tokenError } from '../support/token-endpoint.js'
import { world, type World } from '../support/world.js'

const shuffled = <T>(items: readonly T[], random: () => number): T[] =>
  items
    .map((item) => ({ item, rank: random() }))
    .sort((a, b) => a.rank - b.rank)
    .map(({ item }) => item)

/** For whom the authorization server was asked for a token. */
const subjectOf = ({ form }: ReceivedRequest): string => String(decodeJwt(form.get('subject_token') ?? '').sub)

/** An app with one route, which tells for whom it got which token, or why it got none. */
async function startApp({ auth }: World): Promise<string> {
  const app = express()
  app.get('/', auth, async (req, res) => {
    try {
      res.json({ subject: req.mcpAuth.subject, token: await req.getNextcloudToken() })
    } catch (error) {
      res.json({ subject: req.mcpAuth.subject, code: (error as { code: unknown }).code })
    }
  })
  const running = await listen(app)
  onTestFinished(running.close)
  return running.url
}

async function setUpUsers(count: number, changes: McpAuthOptions = {}) {
  const setup = await world({ options: changes })
  const url = await startApp(setup)
  const users = await Promise.all(
    Array.from({ length: count }, async (_, index) => {
      const subject = `user-${index}`
      return { subject, mcpToken: await setup.as.mint({ sub: subject }) }
    }),
  )
  const ask = async ({ subject, mcpToken }: (typeof users)[number]) => {
    const { status, body } = await askWith(url, mcpToken)
    return { ...(body as { subject: string; token?: string; code?: string }), status, asked: subject }
  }
  return { ...setup, ask, users }
}

/** Answers token requests out of order: whenever the server is idle, one that waits is picked by chance. */
function answerOutOfOrder(
  as: ScriptedAuthorizationServer,
  random: () => number,
  answerTo: (request: ReceivedRequest) => { status?: number; json: unknown },
): void {
  let waiting: (() => void)[] = []
  const pick = (): void => {
    const [next, ...rest] = shuffled(waiting, random)
    waiting = rest
    next?.()
    if (waiting.length > 0) setImmediate(pick)
  }
  as.script('/token', (request, res) => {
    if (waiting.length === 0) setImmediate(pick)
    waiting.push(() => {
      const { status = 200, json } = answerTo(request)
      res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(json))
    })
  })
}

it.each([1, 2, 3])(
  'nobody ever gets the token of another, or a dead one, while tokens are renewed, refused, dropped and delayed (seed %i)',
  async (seed) => {
    const random = chance(seed)
    const { as, ask, auth, clock, users } = await setUpUsers(20, {
      cache: { nextcloudTokens: 12 },
      http: { retries: 0 },
    })
    /** When each token ends, on the clock. */
    const ends = new Map<string, number>()
    answerOutOfOrder(as, random, (request) => {
      const fate = random()
      if (fate < 0.1) return { status: 503, json: { error: 'temporarily_unavailable' } }
      if (fate < 0.2) return tokenError('invalid_grant')
      if (fate < 0.3) return tokenError('invalid_target')
      const life = fate < 0.35 ? 0 : 10 + Math.floor(random() * 50)
      const token = `${ends.size} of ${subjectOf(request)}`
      ends.set(token, clock.now() + Math.max(life * 1_000, 1))
      return tokenAnswer(token, { expires_in: life })
    })

    const outcomes = new Map<string | undefined, number>()
    for (let wave = 0; wave < 20; wave += 1) {
      const askedAt = clock.now()
      const calls = shuffled([...users, ...users], random)
      for (const answer of await Promise.all(calls.map(ask))) {
        expect(answer).toMatchObject({ status: 200, subject: answer.asked })
        if (answer.token !== undefined) {
          expect(answer.token).toMatch(new RegExp(`^\\d+ of ${answer.asked}$`))
          expect(ends.get(answer.token)).toBeGreaterThan(askedAt)
        }
        outcomes.set(answer.code, (outcomes.get(answer.code) ?? 0) + 1)
      }
      clock.advance(Math.floor(random() * 10_000))
    }

    // Only then did the waves hold everything that could have gone wrong.
    expect(new Set(outcomes.keys())).toEqual(
      new Set([undefined, 'ERR_UPSTREAM_UNAVAILABLE', 'ERR_SUBJECT_TOKEN_REJECTED', 'ERR_TOKEN_REQUEST']),
    )
    const { evictions, nextcloudCacheHits, sizes } = auth.stats()
    expect(evictions).toBeGreaterThan(0)
    expect(nextcloudCacheHits).toBeGreaterThan(0)
    expect(sizes.nextcloudTokens).toBeLessThanOrEqual(12)
  },
)
