import { expect, it } from 'vitest'
import { setUpMcp } from '../support/mcp-setup.js'

it.each([
  ['SDK v1, 2025-11-25', 'SDK v1 with sessions', 'client'],
  ['SDK v2, 2025-11-25', 'SDK v2 with sessions', 'client'],
  ['SDK v2, 2026-07-28', 'SDK v2 without sessions', 'client'],
  // Nobody knows the client's name where a session began elsewhere.
  ['SDK v1, 2025-11-25', 'SDK v1 without sessions', undefined],
] as const)(
  'a refusal of a client (%s) at a server (%s) tells the link what it calls itself',
  async (kind, server, name) => {
    const { client, auth, link } = await setUpMcp(server)
    const told: unknown[][] = []
    Object.assign(auth, { callsItself: (...given: unknown[]) => (told.push(given), Promise.resolve()) })
    const { callTool } = await client(kind, { answer: () => Promise.resolve('decline') })

    expect((await callTool('list_notes', {})).isError).toBe(true)

    // A client of 2026-07-28 sends the call again with the user's answer.
    expect(new Set(told.map((given) => JSON.stringify(given)))).toEqual(
      new Set([JSON.stringify([link.connectUrl, name])]),
    )
  },
)
