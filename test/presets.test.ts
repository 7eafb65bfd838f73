import { describe, expect, it } from 'vitest'
import type { NextcloudPreset } from '../src/options.js'
import { failureOf } from './support/promises.js'
import { CLIENT_ID, CLIENT_SECRET } from './support/scripted-authorization-server.js'
import { createRefreshTokens } from './support/refresh-tokens.js'
import { tokenError } from './support/token-endpoint.js'
import { world } from './support/world.js'

const ALICE = { subject: 'alice' }
const PRESETS: readonly NextcloudPreset[] = [
  'generic',
  'keycloak',
  'entra',
  'nextcloud-oidc-app',
  'nextcloud-oauth2-app',
]

const start = async (preset: NextcloudPreset, life = 900) => {
  const setup = await world({ mode: 'refresh-token', refreshTokens: createRefreshTokens({ life }) })
  const auth = setup.open({
    cache: { grantCheck: 100_000 },
    connect: false,
    // Nextcloud's own server is looked for at Nextcloud.
    authorizationServer: { tokenEndpoint: `${setup.as.issuer}/token` },
    nextcloud: { preset, scopes: ['profile'] },
  })
  return { ...setup, auth, refreshToken: await setup.connect() }
}

describe('a dead refresh token', () => {
  const dead: Readonly<Record<string, readonly NextcloudPreset[]>> = {
    invalid_grant: PRESETS,
    invalid_request: ['nextcloud-oauth2-app'],
    interaction_required: ['entra'],
    consent_required: ['entra'],
    login_required: ['entra'],
    invalid_client: [],
    unauthorized_client: [],
    invalid_scope: [],
  }
  const cases = Object.entries(dead).flatMap(([error, presets]) =>
    PRESETS.map((preset) => ({ error, preset, isDead: presets.includes(preset) })),
  )

  it.each(cases)('is what $preset means by $error: $isDead', async ({ error, preset, isDead }) => {
    const { as, auth, stored } = await start(preset)
    as.script('/token', tokenError(error))

    expect(await failureOf(auth.getNextcloudToken(ALICE))).toMatchObject(
      isDead ? { code: 'ERR_NOT_PROVISIONED', reason: 'revoked' } : { code: 'ERR_TOKEN_REQUEST', error },
    )
    expect((await stored())?.refreshToken === undefined).toBe(isDead)
  })
})

it.each(PRESETS)('the client’s secret goes where %s reads it', async (preset) => {
  const { as, auth } = await start(preset)
  await auth.getNextcloudToken(ALICE)

  const { form, headers } = as.received('/token')[0]!
  const inBody = preset.startsWith('nextcloud-')
  expect([form.get('client_id'), form.get('client_secret')]).toEqual(inBody ? [CLIENT_ID, CLIENT_SECRET] : [null, null])
  expect(headers.authorization?.startsWith('Basic ') === true).toBe(!inBody)
})

it.each(PRESETS)('scopes are sent with a refresh where %s takes them', async (preset) => {
  const { as, auth } = await start(preset)
  await auth.getNextcloudToken(ALICE)

  expect(as.received('/token')[0]!.form.get('scope')).toBe(preset.startsWith('nextcloud-') ? null : 'profile')
})

it.each(PRESETS)('an access token is renewed while it is in use unless %s ends it with that', async (preset) => {
  const { auth, clock, refreshTokens } = await start(preset)
  await auth.getNextcloudToken(ALICE)

  clock.advance(869_999)
  await auth.getNextcloudToken(ALICE)
  await auth.close()

  expect(refreshTokens.presented).toHaveLength(preset.startsWith('nextcloud-') ? 1 : 2)
})

it('an access token of the oidc app is not used in its last 30 seconds: an expired one costs the grant', async () => {
  const { auth, clock, refreshTokens } = await start('nextcloud-oidc-app')
  const first = await auth.getNextcloudToken(ALICE)
  clock.advance(869_999)
  expect(await auth.getNextcloudToken(ALICE)).toBe(first)
  clock.advance(1)

  expect(await auth.getNextcloudToken(ALICE)).toBe(refreshTokens.accessTokens[1])
})

it('the metadata of nextcloud-oidc-app is not asked for a revocation endpoint, which it does not have', async () => {
  const { as, auth } = await start('nextcloud-oidc-app')
  as.metadata['revocation_endpoint'] = `${as.issuer}/revoke`

  expect(await auth.revoke(ALICE)).toEqual({ revoked: 'unsupported' })
  expect(as.received()).toEqual([])
})
