import { expect, it, onTestFinished } from 'vitest'
import { instrument } from '../../src/telemetry/opentelemetry.js'
import { registeredClient } from '../support/sign-in-client.js'
import { startSignInServer } from '../support/sign-in-server.js'
import { collectTelemetry } from '../support/telemetry.js'

it('the telemetry of the middleware beside it has what happens at a sign-in, each thing once', async () => {
  const { spans, values } = collectTelemetry()
  const server = await startSignInServer()
  const end = instrument(server.auth)
  onTestFinished(end)
  const client = await registeredClient(server)

  await client.signIn(server.person('alice'))

  expect(await values('mcp.auth.connected')).toEqual([[1, {}]])
  expect(spans('mcp.auth.storage').length).toBeGreaterThan(0)
  expect(spans('nextcloud.request').length).toBeGreaterThan(0)

  await fetch(`${server.origin}/nextcloud/callback?state=unknown&code=unknown`)
  expect(await values('mcp.auth.connect.failures')).toHaveLength(1)

  const before = spans().length
  end()
  await client.signIn(server.person('bob'))
  expect(spans()).toHaveLength(before)
})
