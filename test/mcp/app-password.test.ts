import { expect, it } from 'vitest'
import { withNextcloud, type Nextcloud } from '../../src/mcp/v2.js'
import type { CallToolResult, ServerContext } from '@modelcontextprotocol/server'
import { appPasswordWorld } from '../support/login-visits.js'

it('a tool in app-password mode fetches, has the credential, and is told that there is no token', async () => {
  const { auth, connectAs, signIn } = await appPasswordWorld()
  await connectAs('alice.w')
  const authInfo = await signIn()
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
