import { inspect } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import type { McpAuth } from '../../src/index.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { CLIENT_SECRET, RESOURCE } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'
import { GROUPS } from './corpus/attack.js'
import { CORPUS } from './corpus/corpus.js'
import { createForge, EVIL_NAME, PUBLISHED, type Forge } from './corpus/forge.js'

// No token, and nothing of a secret, comes out by an error, however it is printed, by a counter or by the object itself.

let bed: World
let auth: McpAuth
let forge: Forge

beforeAll(async () => {
  bed = await world({ mode: 'refresh-token' })
  bed.as.keys.push(...(PUBLISHED as never[]))
  auth = bed.open({ requiredScopes: ['notes:read'] })
  const now = Math.floor(bed.clock.now() / 1_000)
  forge = createForge({ issuer: bed.as.issuer, resource: RESOURCE, evil: `https://${EVIL_NAME}`, now })
  return bed.close
})

/** Every way in which a value may be printed. */
const printed = (value: unknown): string =>
  [
    inspect(value, { depth: 20, showHidden: true, getters: true, maxStringLength: null }),
    JSON.stringify(value),
    String(value),
    value instanceof Error ? value.stack : '',
  ].join('\n')

describe.each(Object.keys(GROUPS))('the refusal of a token (%s)', (group) => {
  const attacks = CORPUS.filter((attack) => attack.group === group)

  it('shows no part of it, in the error, its body, its headers and its event', async () => {
    for (const { request, name } of attacks) {
      const [, token = ''] = /^authorization: bearer (.+)$/im.exec(request(forge)) ?? []
      const events = bed.events.length
      const failure: unknown = await auth.verify(token).catch((error: unknown) => error)
      // A good token, of which the request makes a bad one.
      if (!(failure instanceof Error)) continue
      const shown = printed(failure) + printed(bed.events.slice(events))
      for (const part of token.split('.').filter((text) => text.length >= 20)) expect(shown, name).not.toContain(part)
    }
  })
})

it('the object itself shows no secret and no key', async () => {
  const info = await auth.verify(forge.jwt())
  const shown = [auth, auth.stats(), info.extra].map(printed).join('\n')

  for (const secret of [CLIENT_SECRET, encodeURIComponent(CLIENT_SECRET), ENCRYPTION_KEY].flat()) {
    expect(shown).not.toContain(secret)
  }
})
