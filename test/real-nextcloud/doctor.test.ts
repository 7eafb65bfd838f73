import { randomBytes } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Finding } from '../../src/cli/doctor/check.js'
import type { McpAuthOptions } from '../../src/index.js'
import { argumentsOf, expectNoSecret, runIn } from '../support/doctor-setup.js'
import { ENCRYPTION_KEY } from '../support/grant-constants.js'
import { startAuthorizationServer } from '../support/scripted-authorization-server.js'
import { account, openBed, provider, target } from './support/bed.js'
import { createOAuth2Client } from './support/clients.js'
import { RESOURCE } from './support/provider.js'
import { keeping, startMcpServer } from './support/server.js'
import { enforceTwoFactor } from './support/two-factor.js'

openBed()

interface Outcome {
  /** Ids of the checks that failed, of those that look at the provider, the client and Nextcloud. */
  readonly failed: readonly string[]
  readonly finding: (id: string) => Finding | undefined
}

/** Checks of what this suite does not set up: TLS, and an MCP server at a public address. */
const ELSEWHERE = /^(public|metadata|challenge|connect\.page|clock)\b/

/** Runs the doctor with flags, a client secret and an MCP token. */
async function doctor(flags: Record<string, string>, clientSecret: string, token?: string): Promise<Outcome> {
  const tokenFile = token === undefined ? [] : ['--token-file', '-']
  const { output } = await runIn([...argumentsOf(flags), ...tokenFile, '--timeout', '60000', '--json'], {
    environment: { OIDC_CLIENT_SECRET: clientSecret, TOKEN_ENCRYPTION_KEY: ENCRYPTION_KEY },
    readStandardInput: () => Promise.resolve(`${token ?? ''}\n`),
  })
  expectNoSecret(output, [clientSecret, ...(token === undefined ? [] : [token])])
  const { checks } = JSON.parse(output) as { readonly checks: readonly Finding[] }
  const failed = checks.filter(({ id, status }) => status === 'failed' && !ELSEWHERE.test(id)).map(({ id }) => id)
  return { failed, finding: (id) => checks.find((check) => check.id === id) }
}

describe('the doctor, where tokens are exchanged', () => {
  async function examine(): Promise<Outcome> {
    const { issuer, clientId = '', clientSecret = '' } = provider.options
    const flags = { issuer: issuer ?? '', resource: RESOURCE, 'client-id': clientId, 'nextcloud-url': target.url }
    return doctor(flags, clientSecret, await provider.mcpToken(account))
  }

  it('finds all of it well', async () => {
    const { failed, finding } = await examine()

    expect(failed).toEqual([])
    expect(finding('nextcloud.account')).toMatchObject({
      status: 'passed',
      found: expect.stringContaining(account.uid) as string,
    })
    expect([finding('nextcloud.cors')?.status, finding('nextcloud.dav')?.status]).toEqual(['passed', 'passed'])
  })

  it.each<[fault: string, id: string, found: RegExp, plant: () => Promise<() => unknown>]>([
    [
      'maintenance mode',
      'nextcloud.status',
      /maintenance/,
      async () => {
        await target.occ('maintenance:mode', '--on')
        return () => target.occ('maintenance:mode', '--off')
      },
    ],
    [
      '"check bearer" off',
      'nextcloud.bearer',
      /refuses the token \(401\)/,
      async () => {
        await provider.trust('--check-bearer=0')
        return () => provider.trust('--check-bearer=1')
      },
    ],
    ['a second factor', 'nextcloud.bearer', /second factor/, () => enforceTwoFactor(target, account)],
    [
      'a disabled account',
      'nextcloud.bearer',
      /disabled/,
      async () => {
        await target.occ('user:disable', account.uid)
        return () => target.occ('user:enable', account.uid)
      },
    ],
  ])('finds %s by %s', async (_fault, id, found, plant) => {
    // The home of the account is there by now, which takes longer than the doctor waits.
    await examine()
    const mend = await plant()
    const { failed, finding } = await examine().finally(mend)

    expect(failed).toEqual([id])
    expect(finding(id)?.found).toMatch(found)
  })
})

describe("the doctor at Nextcloud's own authorization servers", () => {
  async function resourceOf(options: McpAuthOptions): Promise<string> {
    const { url } = await startMcpServer(() => ({ ...keeping(), issuer: provider.issuer, ...options }))
    return `${url}/mcp`
  }
  const grants = { nextcloud: { url: 'http://127.0.0.1:1', mode: 'refresh-token' } } satisfies McpAuthOptions
  const client = { clientId: 'mcp-server', clientSecret: 'not-asked-for' }

  it('finds the app oidc well, and a wrong secret', async () => {
    const resource = await resourceOf({ ...client, ...grants })
    const redirect = `${new URL(resource).origin}/nextcloud/callback`
    const made = JSON.parse(await target.occ('oidc:create', 'mcp-test', redirect, '--type=confidential')) as {
      readonly client_id: string
      readonly client_secret: string
    }
    onTestFinished(() => void target.occ('oidc:remove', made.client_id))
    const flags = {
      ...{ issuer: target.url, 'discovery-url': `${target.url}/index.php/.well-known/openid-configuration` },
      ...{ resource, 'client-id': made.client_id, mode: 'refresh-token', preset: 'nextcloud-oidc-app' },
      'nextcloud-url': target.url,
    }

    const good = await doctor(flags, made.client_secret)
    const wrong = await doctor(flags, randomBytes(32).toString('hex'))

    expect([good.failed, good.finding('client.credentials')?.status]).toEqual([[], 'passed'])
    expect(wrong.failed).toEqual(['client.credentials'])
  })

  it('finds the core app oauth2 well, and a client that it does not have', async () => {
    const as = await startAuthorizationServer()
    onTestFinished(() => as.close())
    const resource = await resourceOf({ ...client, ...grants })
    const { clientId, clientSecret } = await createOAuth2Client(
      target,
      `${new URL(resource).origin}/nextcloud/callback`,
    )
    const flags = {
      ...{ issuer: as.issuer, resource, mode: 'refresh-token', preset: 'nextcloud-oauth2-app' },
      'nextcloud-url': target.url,
    }

    const good = await doctor({ ...flags, 'client-id': clientId }, clientSecret)
    const unknown = await doctor({ ...flags, 'client-id': 'nobody' }, clientSecret)

    expect([good.failed, good.finding('connect.redirect-uri')?.status]).toEqual([[], 'passed'])
    expect(unknown.failed).toEqual(['client.credentials'])
  })

  it('finds the login page where app passwords are given', async () => {
    const { clientId = '', clientSecret = '' } = provider.options
    const flags = {
      ...{ issuer: provider.issuer, resource: RESOURCE, 'client-id': clientId, mode: 'app-password' },
      ...{ identity: 'sub', 'nextcloud-url': target.url },
    }
    const { finding } = await doctor(flags, clientSecret)

    expect(finding('nextcloud.login-flow')).toMatchObject({
      status: 'passed',
      found: `the login page of Nextcloud is at ${new URL(target.url).origin}`,
    })
  })
})
