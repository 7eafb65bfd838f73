import { expect } from 'vitest'
import { nextcloudPath, type Who } from '../../../src/index.js'
import type { McpAuth } from '../../../src/mcp-auth.js'

const USER = '/ocs/v2.php/cloud/user?format=json'
const NOTES = '/index.php/apps/notes/api/v1/notes'

/** Returns the status of a request to OCS. */
export const statusOf = async (auth: McpAuth, who: Who): Promise<number> => {
  const response = await auth.nextcloudFetch(who, USER)
  await response.body?.cancel()
  return response.status
}

/** Expects that requests of a caller reach OCS, WebDAV and an app with `#[CORS]` as one account. */
export async function expectToActAs(auth: McpAuth, who: Who, uid: string): Promise<void> {
  const user = await auth.nextcloudFetch(who, USER)
  expect([user.status, await user.json()]).toMatchObject([200, { ocs: { data: { id: uid } } }])
  expect(await auth.nextcloudUser(who)).toMatchObject({ id: uid })

  const path = nextcloudPath`/remote.php/dav/files/${uid}/${'from a tool.txt'}`
  const put = await auth.nextcloudFetch(who, path, { method: 'PUT', body: 'by a tool' })
  expect([201, 204]).toContain(put.status)
  expect(await (await auth.nextcloudFetch(who, path)).text()).toBe('by a tool')
  expect((await auth.nextcloudFetch(who, path, { method: 'DELETE' })).status).toBe(204)

  const json = { 'content-type': 'application/json' }
  const note = { title: 'From a tool', content: 'A note' }
  const made = await auth.nextcloudFetch(who, NOTES, { method: 'POST', headers: json, body: JSON.stringify(note) })
  expect(made.status).toBe(200)
  const { id } = (await made.json()) as { readonly id: number }
  expect(await (await auth.nextcloudFetch(who, `${NOTES}/${id}`)).json()).toMatchObject({ content: 'A note' })
  expect((await auth.nextcloudFetch(who, `${NOTES}/${id}`, { method: 'DELETE' })).status).toBe(200)
}
