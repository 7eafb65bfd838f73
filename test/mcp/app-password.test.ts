import { expect, it } from 'vitest'
import { withNextcloud, type Nextcloud } from '../../src/mcp/v2.js'
import type { CallToolResult, ServerContext } from '@modelcontextprotocol/server'
import { bareHost } from '../support/hosts.js'
import { loginVisits } from '../support/login-visits.js'
import { world } from '../support/world.js'

const APP_PASSWORDS = { mode: 'app-password', host: bareHost } as const

it('a tool in app-password mode fetches, has the credential, and is told that there is no token', async () => {
  const made = await world(APP_PASSWORDS)
  const { auth, as } = made
  await loginVisits(made).connectAs('alice.w')
  const authInfo = await auth.verify(await as.mint())
  const ctx = { http: { authInfo }, mcpReq: { signal: new AbortController().signal } } as unknown as ServerContext
  let given: Nextcloud | undefined
  const tool = withNextcloud(auth, async (_ctx, nextcloud): Promise<CallToolResult> => {
    given = nextcloud
    const answer = await nextcloud.fetch('/ocs/v2.php/cloud/user')
    return { content: [{ type: 'text', text: await answer.text() }] }
  })

  expect((await tool(ctx)).content).toMatchObject([{ text: expect.stringContaining('alice.w') as string }])

  expect(given?.credential.type).toBe('basic')
  expect(await given?.user()).toMatchObject({ id: 'alice.w' })
  expect(() => given?.token).toThrow(
    'There is no nextcloud.token in app-password mode: use nextcloud.fetch or nextcloud.credential',
  )
})
