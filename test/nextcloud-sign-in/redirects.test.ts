import { describe, expect, it } from 'vitest'
import { hasAgreed } from '../../src/nextcloud-sign-in/still-connected.js'
import { loginOf } from '../../src/nextcloud-sign-in/withdrawn.js'
import { ANY_CLIENT } from '../../src/grants/grant.js'
import { ALICE, opened } from '../grants/opened.js'
import { attributesOf, wordsOf } from '../support/html.js'
import { clientOf, REDIRECT_URI, registeredClient, type RegisteredClient } from '../support/sign-in-client.js'
import { startSignInServer, type SignInServer } from '../support/sign-in-server.js'

const DOCUMENT = 'https://client.example.com/client.json'

/** Requests to which the answer is an error, and that of each. */
const REFUSED: readonly (readonly [Record<string, string>, string])[] = [
  [{ prompt: 'none' }, 'login_required'],
  [{ prompt: 'none', response_mode: 'fragment' }, 'login_required'],
  [{ prompt: 'none login' }, 'invalid_request'],
  [{ request: 'e30.e30.' }, 'request_not_supported'],
  [{ request_uri: 'https://client.example.com/r' }, 'request_uri_not_supported'],
  [{ registration: '{}' }, 'registration_not_supported'],
  [{ response_type: 'token' }, 'unsupported_response_type'],
  [{ response_mode: 'web_message' }, 'unsupported_response_mode'],
  [{ response_mode: 'form_post' }, 'unsupported_response_mode'],
  [{ code_challenge_method: 'plain' }, 'invalid_request'],
  [{ resource: 'https://elsewhere.example/mcp' }, 'invalid_target'],
  [{ max_age: '-1' }, 'invalid_request'],
  [{ id_token_hint: 'x' }, 'invalid_request'],
]

interface Seen {
  readonly status: number
  readonly location: string | null
  readonly refresh: string | null
  readonly html: string
}

async function ask(url: string | URL, cookie = '', body: URLSearchParams | null = null): Promise<Seen> {
  const answer = await fetch(url, { redirect: 'manual', headers: { cookie }, body, method: body ? 'POST' : 'GET' })
  const { status, headers } = answer
  const html = await answer.text()
  return { status, location: headers.get('location'), refresh: headers.get('refresh'), html }
}

/** The address of the link with which the page leads back to the client. */
const wayBack = (html: string): URL =>
  new URL(attributesOf(/<a class="go" ([^>]*)>/.exec(html)?.[1] ?? '')['href'] ?? '')

function expectPage({ status, location, refresh, html }: Seen, error: string): void {
  expect([status, location, refresh]).toEqual([400, null, null])
  expect(wordsOf(html)).toContain('The app asked for something that is not possible')
  expect(wordsOf(html).replace(/\s/g, '')).toContain(`Itsreason:${error}`)
  expect(wordsOf(html)).toContain('Go back to client.example.com')
  expect(html).not.toContain('<script')
}

async function clientOfKind(kind: string): Promise<{ server: SignInServer; client: RegisteredClient }> {
  const document = { client_id: DOCUMENT, redirect_uris: [REDIRECT_URI], token_endpoint_auth_method: 'none' }
  const server = await startSignInServer({ documents: () => Promise.resolve(document) })
  return { server, client: kind === 'document' ? clientOf(server, DOCUMENT) : await registeredClient(server) }
}

describe.each(['registered', 'document'])('a %s client that the person at the browser has not let in', (kind) => {
  it.each(REFUSED)('gets no answer to %j but by the hand of the person (RFC 9700 §4.11.2)', async (more, error) => {
    const { server, client } = await clientOfKind(kind)
    const url = client.authorizationUrl(more)

    const seen = await ask(url)

    expectPage(seen, error)
    const back = wayBack(seen.html)
    expect(back.origin + back.pathname).toBe(REDIRECT_URI)
    expect(Object.fromEntries(new URLSearchParams(back.hash.slice(1) || back.search))).toMatchObject({
      error,
      iss: server.origin,
      state: 'state-of-the-client',
    })
  })
})

it.each([{}, { prompt: 'none' }, { response_mode: 'form_post' }])(
  'as a form, a request with %j is none',
  async (more) => {
    const { server, client } = await clientOfKind('registered')
    const form = await ask(`${server.origin}/oauth/authorize`, '', client.authorizationUrl(more).searchParams)
    expect([form.status, form.location]).toEqual([404, null])
  },
)

describe('a person who is signed in', () => {
  async function signedIn() {
    const server = await startSignInServer()
    const [client, other] = [await registeredClient(server), await registeredClient(server)]
    const [alice, bob] = [server.person('alice'), server.person('bob')]
    const token = String((await client.signIn(alice)).body['access_token'])
    await other.signIn(bob)
    const at = (browser: typeof alice, asking: RegisteredClient) =>
      ask(asking.authorizationUrl({ prompt: 'none' }), browser.cookies(server.origin))
    return { server, client, other, alice, bob, token, at }
  }

  it('is sent back to the client that they have let in, and to no other', async () => {
    const { server, client, other, alice, bob, at } = await signedIn()

    const { location } = await at(alice, client)
    expect(location).toMatch(/^https:\/\/client\.example\.com\/callback\?/)
    expect(Object.fromEntries(new URL(location ?? '').searchParams)).toMatchObject({
      error: 'consent_required',
      iss: server.origin,
      state: 'state-of-the-client',
    })
    expectPage(await at(alice, other), 'consent_required')
    expectPage(await at(bob, client), 'consent_required')
  })

  it('is in a window of which the site that opened it sees nothing, whether they have let the client in or not', async () => {
    const { server, client, other, alice } = await signedIn()
    const openerPolicyOf = async (url: string | URL): Promise<string | null> => {
      const answer = await fetch(url, { redirect: 'manual', headers: { cookie: alice.cookies(server.origin) } })
      return answer.headers.get('cross-origin-opener-policy')
    }

    for (const url of [client, other].flatMap((one) => [
      one.authorizationUrl({ prompt: 'none' }),
      one.authorizationUrl(),
    ]))
      expect(await openerPolicyOf(url)).toBe('same-origin')
    const resume = await alice.until(client.authorizationUrl(), `${server.origin}/oauth/authorize/`)
    expect(await openerPolicyOf(resume)).toBe('same-origin')
  })

  it('is not sent back to a client that they have ended, nor to any once the connection has ended', async () => {
    const { server, client, other, alice, token, at } = await signedIn()
    await other.signIn(alice)

    const headers = { authorization: `Bearer ${token}` }
    expect((await fetch(`${server.origin}/nextcloud/disconnect`, { method: 'POST', headers })).status).toBe(200)
    expectPage(await at(alice, client), 'consent_required')
    expect((await at(alice, other)).location).not.toBeNull()

    await server.auth.revoke({ subject: 'alice' })
    expectPage(await at(alice, other), 'login_required')
  })
})

it('the word of the operator for all clients, and a session of before a withdrawal, are no consent of the person', async () => {
  const { store, connect, key, failing } = opened()
  await connect('first', 'client-1')
  const { grant, version } = (await store.read(key))!
  await store.write(key, { ...grant, clients: [ANY_CLIENT, 'client-1'] }, version)
  const session = loginOf(ALICE.subject, await store.withdrawals(ALICE))
  const agreed = (clientId: string) => hasAgreed({ grants: { store } as never }, ALICE, { clientId, session })

  expect([await agreed('client-1'), await agreed('client-2')]).toEqual([true, false])
  // While the store does not say whom they have let in, it is nobody.
  failing.add('get')
  expect(await agreed('client-1')).toBe(false)
  failing.clear()
  await store.disconnect(ALICE, undefined)
  await connect('second', 'client-1')
  expect(await agreed('client-1')).toBe(false)
})
