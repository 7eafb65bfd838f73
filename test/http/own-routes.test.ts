import { describe, expect, it } from 'vitest'
import { mcpAuth } from '../../src/index.js'
import { ConfigurationError } from '../../src/errors/errors.js'

const ORIGIN = 'https://mcp.example.com'
const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const open = (path: string, more: object = {}) =>
  mcpAuth({
    resource: ORIGIN + path,
    issuer: 'https://idp.example.com',
    clientId: 'mcp-server',
    clientSecret: 'a secret of the tests',
    nextcloud: { url: 'https://cloud.example.com', mode: 'refresh-token' },
    onEvent: () => undefined,
    ...more,
  })
function failureOf(path: string, more: object = {}): unknown {
  try {
    void open(path, more).close()
    return undefined
  } catch (error) {
    return error
  }
}

describe('an MCP endpoint at a path at which requests without a token pass', () => {
  it.each([
    ['/nextcloud/status', {}, /another path, such as \/mcp, or change connect\.path/],
    ['/nextcloud/connect/', {}, /at which auth\.routes\(\) serves a page/],
    ['/nextcloud/callback', {}, /serves a page/],
    ['/nextcloud/disconnect', {}, /serves a page/],
    ['/tools/status', { connect: { path: '/tools' } }, /serves a page/],
    ['/Nextcloud/Status', {}, /serves a page/],
    ['/.Well-Known/OAuth-Authorization-Server', { legacyMetadata: true }, /serves metadata/],
    [WELL_KNOWN, {}, /serves metadata: give the MCP endpoint another path/],
    ['/mcp', { resourceMetadataUrl: `${ORIGIN}/mcp` }, /or change resourceMetadataUrl/],
    ['/.well-known/oauth-authorization-server', { legacyMetadata: true }, /serves metadata/],
  ])('is refused, with what to change: %s %j', (path, more, message) => {
    const failure = failureOf(path, more)
    expect(failure).toBeInstanceOf(ConfigurationError)
    expect(failure).toMatchObject({ option: 'resource', message: expect.stringMatching(message) as unknown })
  })

  it.each([
    ['/nextcloud', {}],
    ['/', {}],
    ['', {}],
    ['/nextcloud/mcp', {}],
    ['/nextcloud/status', { connect: { path: '/other' } }],
    ['/nextcloud/status', { nextcloud: { url: 'https://cloud.example.com', audience: 'nextcloud' } }],
    [WELL_KNOWN, { rootMetadata: false }],
  ])('is another than this: %s %j', (path, more) => {
    expect(failureOf(path, more)).toBeUndefined()
  })
})

it.each([
  ['connect.path', { resourceMetadataUrl: `${ORIGIN}/nextcloud/status` }],
  [
    'resourceMetadataUrl',
    { resourceMetadataUrl: `${ORIGIN}/.well-known/oauth-authorization-server`, legacyMetadata: true },
  ],
])('two routes with one path are refused: %s', (option, more) => {
  const failure = failureOf('/mcp', more)
  expect(failure).toBeInstanceOf(ConfigurationError)
  expect(failure).toMatchObject({ option })
})
