import { describe, expect, it } from 'vitest'
import { ISSUER_CHECKS } from '../../src/cli/doctor/checks.js'
import { signingKey, type ScriptedAuthorizationServer } from '../support/scripted-authorization-server.js'
import {
  METADATA_PATH,
  OAUTH_WELL_KNOWN,
  runIn,
  argumentsOf,
  setUpDoctor,
  startProvider,
  WELL_KNOWN,
  type DoctorSetup,
} from '../support/doctor-setup.js'

const PER_ISSUER = ISSUER_CHECKS.map(({ id }) => id)

/** A healthy set-up with two issuers, of which the metadata of the MCP server names these. */
async function setUpTwo(named?: readonly string[]) {
  const setup = await setUpDoctor()
  const second = await startProvider()
  second.script('/token', { status: 400, json: { error: 'invalid_grant' } })
  publish(setup, named ?? [setup.as.issuer, second.issuer])
  return { setup, second, run: () => setup.run(['--issuer', second.issuer]) }
}

function publish({ proxy, resource }: DoctorSetup, servers: readonly string[]): void {
  proxy.handler = (req, res, next) => {
    if (req.url !== METADATA_PATH) return next()
    res.writeHead(200, { 'content-type': 'application/json', 'access-control-allow-origin': '*' })
    res.end(JSON.stringify({ resource, authorization_servers: servers }))
  }
}

/** The failures of checks of one issuer. */
const failuresOf = (
  findings: Awaited<ReturnType<DoctorSetup['run']>>['findings'],
  { issuer }: ScriptedAuthorizationServer,
) => findings.filter((finding) => finding.issuer === issuer && finding.status === 'failed').map(({ id }) => id)

describe('the doctor, with --issuer more than once', () => {
  it('looks at what belongs to an issuer for each of them, and says for which', async () => {
    const { setup, second, run } = await setUpTwo()

    const { findings, failed, finding } = await run()

    for (const { issuer } of [setup.as, second]) {
      expect(findings.filter((one) => one.issuer === issuer).map(({ id }) => id)).toEqual(PER_ISSUER)
    }
    expect(findings.filter(({ id, issuer }) => issuer === undefined && PER_ISSUER.includes(id))).toEqual([])
    expect(finding('config')?.found).toContain(`issuer ${setup.as.issuer}, issuer ${second.issuer}, `)
    expect(finding('metadata.issuer')?.found).toContain(second.issuer)
    expect(failed).toEqual([])
  })

  it.each([
    ['no keys', 'jwks.document', (as: ScriptedAuthorizationServer) => as.script('/jwks', { status: 404, json: {} })],
    [
      'another issuer in its document',
      'discovery.issuer',
      (as: ScriptedAuthorizationServer) => (as.metadata['issuer'] = `${as.issuer}/`),
    ],
    [
      'no document at all',
      'discovery.document',
      (as: ScriptedAuthorizationServer) =>
        [WELL_KNOWN, OAUTH_WELL_KNOWN].forEach((place) => as.script(place, { status: 404, json: {} })),
    ],
  ])('finds that one of them alone has %s', async (_fault, id, plant) => {
    const { setup, second, run } = await setUpTwo()
    plant(second)

    const { findings, status } = await run()

    expect(status).toBe(1)
    expect(failuresOf(findings, second)).toContain(id)
    expect(failuresOf(findings, setup.as)).toEqual([])
  })

  it('says which of them the metadata of the MCP server lacks', async () => {
    const { setup, second, run } = await setUpTwo([])
    publish(setup, [setup.as.issuer])

    expect((await run()).finding('metadata.issuer')).toMatchObject({
      status: 'failed',
      found: expect.stringMatching(`lacks .*${second.issuer}`) as string,
      fix: expect.stringContaining('--issuer, once for each') as string,
    })
  })

  it.each(['without a token', 'with a token of the second'])(
    'sends the secret to the first of them alone, which it is for: %s',
    async (which) => {
      const { setup, second, run } = await setUpTwo()
      if (which !== 'without a token') setup.token = await second.mint({ aud: setup.resource })

      const { findings, failed } = await run()

      expect(setup.as.received('/token')).not.toEqual([])
      expect(second.received('/token')).toEqual([])
      const { status } = findings.find(({ id, issuer }) => id === 'client.credentials' && issuer === second.issuer)!
      expect(status).toBe('left-out')
      expect(failed).toEqual([])
    },
  )

  it('verifies a token by the keys of its own issuer, and exchanges none of another than the first', async () => {
    const { setup, second, run } = await setUpTwo()
    setup.token = await second.mint({ aud: setup.resource })
    const taken = await run()
    expect(taken.finding('token.accepted')?.status).toBe('passed')
    expect(taken.finding('exchange.live')).toMatchObject({
      status: 'left-out',
      found: expect.stringContaining(`the first issuer alone (${setup.as.issuer})`) as string,
    })

    setup.token = await second.mint({ aud: setup.resource }, { key: await signingKey('of-nobody') })
    expect((await run()).finding('token.accepted')).toMatchObject({ status: 'failed', reason: 'key' })
  })

  it('names the issuer in its lines', async () => {
    const { setup, second } = await setUpTwo()

    const { output } = await runIn([...argumentsOf(setup.options), '--issuer', second.issuer], {
      environment: setup.environment,
    })

    expect(output).toContain(`✓ discovery.document (${second.issuer}): `)
    expect(output).toContain(`✓ discovery.document (${setup.as.issuer}): `)
  })
})

it('with one issuer, no finding names it beside its check', async () => {
  const { run } = await setUpDoctor()

  expect((await run()).findings.filter((finding) => 'issuer' in finding)).toEqual([])
})
