import { describe, expect, it } from 'vitest'
import { needsOf } from '../../src/authorization-server/needs.js'
import { readConfig } from '../../src/config/read-config.js'
import { MODES, type NextcloudMode } from '../../src/modes.js'
import type { McpAuthOptions } from '../../src/options.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from '../support/scripted-authorization-server.js'

const BY_HAND = {
  jwksUri: 'https://idp.example.com/keys',
  tokenEndpoint: 'https://idp.example.com/token',
  introspectionEndpoint: 'https://idp.example.com/introspect',
  authorizationEndpoint: 'https://idp.example.com/authorize',
}
type Endpoint = keyof typeof BY_HAND
type Need = 'keys' | 'introspection' | 'tokenRequests' | 'authorization'

/** Returns what a configuration needs, and whether the metadata must tell it, with these endpoints configured by hand. */
function needs(given: readonly Endpoint[], options: object): { readonly needed: Need[]; readonly metadata: boolean } {
  const authorizationServer = Object.fromEntries(given.map((name) => [name, BY_HAND[name]]))
  const client = { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET }
  const all = { issuer: 'https://idp.example.com', resource: RESOURCE, ...client, authorizationServer, ...options }
  const { metadata, ...parts } = needsOf(readConfig(all, {}))
  return { metadata, needed: (Object.keys(parts) as Need[]).filter((part) => parts[part]) }
}

const inMode = (mode: NextcloudMode, more: object = {}, preset = 'generic'): object => ({
  nextcloud: { url: 'https://cloud.example.com', mode, preset },
  ...(MODES[mode].signInFor === 'identity' && { connect: { identity: () => true } }),
  ...more,
})
const ownBrowser = { connect: { identity: () => true, authenticateBrowser: () => undefined } }

describe.each<[configuration: string, options: object, parts: Need[], endpoints: Endpoint[]]>([
  ['without Nextcloud', {}, [], []],
  ['token-exchange', inMode('token-exchange'), ['tokenRequests'], ['tokenEndpoint']],
  ['jwt-bearer', inMode('jwt-bearer'), ['tokenRequests'], ['tokenEndpoint']],
  ['pass-through', inMode('pass-through'), [], []],
  [
    'refresh-token',
    inMode('refresh-token'),
    ['tokenRequests', 'authorization'],
    ['tokenEndpoint', 'authorizationEndpoint'],
  ],
  ['refresh-token without pages', inMode('refresh-token', { connect: false }), ['tokenRequests'], ['tokenEndpoint']],
  [
    'app-password',
    inMode('app-password'),
    ['tokenRequests', 'authorization'],
    ['tokenEndpoint', 'authorizationEndpoint'],
  ],
  ['app-password without pages', inMode('app-password', { connect: false }), [], []],
  ['app-password with a browser session of the app', inMode('app-password', ownBrowser), [], []],
])('%s', (_configuration, options, parts, endpoints) => {
  it.each<[introspection: McpAuthOptions['introspection'], part: Need, endpoint: Endpoint]>([
    ['opaque-only', 'keys', 'jwksUri'],
    [false, 'keys', 'jwksUri'],
    ['always', 'introspection', 'introspectionEndpoint'],
  ])(
    'with introspection %j needs its endpoints, from the metadata unless each is given',
    (introspection, part, endpoint) => {
      const all = { ...options, introspection }
      const wanted = [endpoint, ...endpoints]

      expect(needs(wanted, all)).toEqual({ needed: [part, ...parts], metadata: false })
      for (const missing of wanted) {
        const others = (Object.keys(BY_HAND) as Endpoint[]).filter((name) => name !== missing)
        expect(needs(others, all)).toEqual({ needed: [part, ...parts], metadata: true })
      }
    },
  )
})

it('an issuer that is not configured comes from the metadata', () => {
  const options = { issuer: undefined, discoveryUrl: 'https://idp.example.com/.well-known/openid-configuration' }

  expect(needs(Object.keys(BY_HAND) as Endpoint[], options).metadata).toBe(true)
})

it('endpoints that a preset knows are not looked up', () => {
  const options = inMode('refresh-token', { connect: { identity: () => true } }, 'nextcloud-oauth2-app')

  expect(needs(['jwksUri'], options)).toEqual({ needed: ['keys', 'tokenRequests', 'authorization'], metadata: false })
})
