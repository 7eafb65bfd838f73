import { describe, expect, it } from 'vitest'
import { has } from '../support/left-out.js'
import { PYTHON_REDIRECT_URI as REDIRECT_URI, runPythonClient } from '../support/python-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

/** Runs the client for Alice. */
function run({ url, person }: SignInServer, tools: readonly string[], clientId?: string) {
  const alice = person('alice')
  return runPythonClient({ url, tools, clientId, open: (address, stopAt) => alice.until(address, stopAt) })
}

const answered = (words: string) => ({ result: [expect.stringContaining(words)], error: false })

describe.runIf(has('Python SDK'))('an MCP client of the Python SDK', () => {
  it('that knows the URL alone signs its user in and calls a tool', async () => {
    const { asked, results } = await run(await startSignInServer(), ['whoami'])

    expect(asked).toHaveLength(1)
    expect(results).toEqual([answered('alice')])
  })

  it('whose id is the address of its metadata signs its user in without being registered', async () => {
    const clientId = 'https://client.example.com/oauth/client.json'
    const document = { client_id: clientId, redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none' }
    const server = await startSignInServer({ documents: (url) => Promise.resolve(url === clientId && document) })

    const { asked, results } = await run(server, ['whoami'], clientId)

    expect(asked.map((query) => query.get('client_id'))).toEqual([clientId])
    expect(results).toEqual([answered('alice')])
  })

  it('that needs one scope more for a tool asks its user for both, and goes on', async () => {
    const server = await startSignInServer({
      scopes: { 'files:read': 'Read your files', 'files:write': 'Change your files' },
      needs: { all: ['files:read'], write: ['files:read', 'files:write'] },
    })

    const { asked, results } = await run(server, ['whoami', 'write', 'whoami'])

    expect(asked.map((query) => query.get('scope')?.split(' ').sort())).toEqual([
      ['files:read', 'offline_access'],
      ['files:read', 'files:write', 'offline_access'],
    ])
    expect(results).toEqual([answered('alice'), answered('written'), answered('alice')])
  })
})
