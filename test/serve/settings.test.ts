import { expect, it } from 'vitest'
import { readSettings, VARIABLES } from '../../src/serve/settings.js'

const GOOD = {
  NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/mcp',
  NEXTCLOUD_HOST: 'https://cloud.example.com',
  NEXTCLOUD_OIDC_CLIENT_ID: 'i'.repeat(64),
  NEXTCLOUD_OIDC_CLIENT_SECRET: 's'.repeat(64),
}

it('reads what must be set, and has values of its own for the rest', () => {
  expect(readSettings(GOOD, '/srv')).toEqual({
    settings: {
      resource: GOOD.NEXTCLOUD_MCP_SERVER_URL,
      nextcloudUrl: GOOD.NEXTCLOUD_HOST,
      nextcloudPublicUrl: undefined,
      clientId: GOOD.NEXTCLOUD_OIDC_CLIENT_ID,
      clientSecret: GOOD.NEXTCLOUD_OIDC_CLIENT_SECRET,
      host: '127.0.0.1',
      port: 3000,
      data: '/srv/data',
      encryptionKey: undefined,
    },
  })
})

it('reads all that may be set, without the blanks around', () => {
  const more = {
    PORT: ' 0 ',
    HOST: '::1\n',
    MCP_DATA: '/var/mcp',
    TOKEN_ENCRYPTION_KEY: 'k ',
    NEXTCLOUD_PUBLIC_URL: 'http://c',
  }
  expect(readSettings({ ...GOOD, ...more }, '/srv').settings).toMatchObject({
    host: '::1',
    port: 0,
    data: '/var/mcp',
    encryptionKey: 'k',
    nextcloudPublicUrl: 'http://c',
  })
})

it.each(Object.keys(GOOD))('says what %s is where it is not set, or blank', (name) => {
  for (const value of [undefined, ' ']) {
    expect(readSettings({ ...GOOD, [name]: value }, '/')).toEqual({
      faults: [`${name} is not set: ${VARIABLES[name] ?? 'unknown'}`],
    })
  }
})

const OWN_PATH = 'NEXTCLOUD_MCP_SERVER_URL must have a path of its own, such as https://mcp.example.com/mcp'

it.each([
  [{ PORT: '65536' }, 'PORT must be a number up to 65535'],
  [{ PORT: '-1' }, 'PORT must be a number up to 65535'],
  [{ PORT: '3000.5' }, 'PORT must be a number up to 65535'],
  [{ PORT: 'http' }, 'PORT must be a number up to 65535'],
  [{ NEXTCLOUD_HOST: 'cloud.example.com' }, 'NEXTCLOUD_HOST must be a URL with https:// or http:// at its start'],
  [{ NEXTCLOUD_PUBLIC_URL: 'ftp://c' }, 'NEXTCLOUD_PUBLIC_URL must be a URL with https:// or http:// at its start'],
  [{ NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com' }, OWN_PATH],
  [{ NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/oauth/mcp' }, OWN_PATH],
  [{ NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/.well-known' }, OWN_PATH],
  [{ NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/mcp?a=b' }, OWN_PATH],
  [{ NEXTCLOUD_MCP_SERVER_URL: 'https://mcp.example.com/mcp#a' }, OWN_PATH],
])('takes no %j', (wrong, fault) => {
  expect(readSettings({ ...GOOD, ...wrong }, '/')).toEqual({ faults: [fault] })
})
