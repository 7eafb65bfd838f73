import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { McpAuthOptions } from '../../src/index.js'
import { CLIENT_ID, CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { SHAPES, type Shape } from '../support/providers/shapes.js'
import { world } from '../support/world.js'

type Verdict = 'works' | 'works with' | 'cannot'

const PAGE = readFileSync(path.resolve(import.meta.dirname, '../../docs/providers.md'), 'utf8')
const ROWS = (/^## Which tokens come in\n(.*?)^## /ms.exec(PAGE)?.[1] ?? '')
  .split('\n')
  .filter((line) => line.startsWith('|'))
  .slice(2)
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  )
const CLIENT = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }

/** Runs the tokens of a provider: with no more than the set-up, then with the options for them. */
async function run(shape: Shape): Promise<{ readonly verdict: Verdict; readonly told: string }> {
  const setting = await world({ mode: 'none', metadata: shape.metadata ?? {} })
  const { as, clock, events, open } = setting
  const seconds = Math.floor(clock.now() / 1_000)
  const { active, ...claims } = shape.introspection ?? {}
  const life = { sub: 'alice', iat: seconds, exp: seconds + 300 }
  as.script('/introspect', { json: active === true ? { active, ...life, ...claims } : { active: false } })
  const token = await tokenOf(shape, as)
  const setUp = { ...CLIENT, ...shape.setUp?.(as) }
  const comesIn = async (options: McpAuthOptions) =>
    open(options)
      .verify(token)
      .then(
        () => true,
        () => false,
      )

  if (await comesIn(setUp))
    return shape.exchange === undefined ? { verdict: 'works', told: '' } : exchanged(shape, setUp)
  const rejection = events.find(({ type }) => type === 'token.rejected')
  const told = rejection?.type === 'token.rejected' ? rejection.message : ''
  const comes = shape.options !== undefined && (await comesIn({ ...setUp, ...shape.options(as) }))
  return { verdict: comes ? 'works with' : 'cannot', told }
}

function tokenOf({ token, claims }: Shape, as: Parameters<NonNullable<Shape['token']>>[0]): Promise<string> | string {
  if (token !== undefined) return token(as)
  // The stand-in has these of its own accord.
  const none = { aud: undefined, client_id: undefined, scope: undefined }
  return as.mint({ ...none, ...claims }, { header: { typ: 'JWT' } })
}

/** The token comes in, and the exchange is refused. */
async function exchanged(shape: Shape, setUp: McpAuthOptions): Promise<{ verdict: Verdict; told: string }> {
  const { as, events, open } = await world()
  as.script('/token', { status: 400, json: shape.exchange })
  const nextcloud = {
    url: 'https://cloud.example.com',
    mode: 'jwt-bearer',
    preset: 'entra',
    scopes: ['api://nc/.default'],
  } as const
  const auth = open({ ...setUp, ...shape.setUp?.(as), nextcloud })
  const got = await auth.getNextcloudToken({ token: await tokenOf(shape, as) }).catch(() => undefined)
  const failure = events.find(({ type }) => type === 'nextcloud.failed')
  const told = failure?.type === 'nextcloud.failed' ? (failure.hint ?? '') : ''
  return { verdict: got === undefined ? 'cannot' : 'works', told }
}

describe('docs/providers.md says of the access tokens of', () => {
  it.each(SHAPES)('$provider what comes of them', async (shape) => {
    const { verdict, told } = await run(shape)

    expect(ROWS).toContainEqual([shape.provider, verdict, shape.how])
    if (verdict === 'works') return expect(shape.told).toBeUndefined()
    // Without the options, and where there are none, the message says what to change.
    expect(told).toMatch(shape.told ?? /^never$/)
    const options = verdict === 'cannot' ? [] : Object.keys(shape.options?.((await world({ mode: 'none' })).as) ?? {})
    for (const name of options.filter((option) => !['issuer', 'discoveryUrl'].includes(option))) {
      expect(shape.how).toContain(`\`${name}`)
    }
  })

  it('each provider that it names, and of no other', () => {
    expect(ROWS.map(([provider]) => provider)).toEqual(SHAPES.map(({ provider }) => provider))
  })
})
