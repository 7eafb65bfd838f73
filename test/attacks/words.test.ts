import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  ConfigurationError,
  InternalError,
  McpAuthError,
  SealedValueError,
  StorageError,
  SubjectTokenRejectedError,
  TokenRequestError,
  UpstreamUnavailableError,
} from '../../src/errors/errors.js'
import { mcpAuth } from '../../src/mcp-auth.js'
import { MemoryStorage } from '../../src/storage/memory.js'
import { failureOf } from '../support/promises.js'
import { CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import { world, type World } from '../support/world.js'

// What leaves by any door is fixed text: the words of servers, URLs and advice are for the operator (`detail`, events).

let as: World['as']
let open: World['open']
let close: World['close']
let events: World['events']

beforeEach(async () => {
  ;({ as, open, close, events } = await world({ mode: 'token-exchange' }))
})
afterEach(() => close())

const INSIDE = 'http://idp.internal:8080/realms/secret'

/** Everything of an error that a handler, a logger or a framework may put into an answer. */
function shown(error: McpAuthError): string {
  const { headers, body, stack, message } = error
  return [
    JSON.stringify(error),
    JSON.stringify(Object.fromEntries(Object.entries(error))),
    JSON.stringify([headers, body]),
    String(error),
    stack,
    message,
  ].join('\n')
}

describe('an error', () => {
  it.each<[of: string, error: McpAuthError]>([
    ['of an outage', new UpstreamUnavailableError(`${INSIDE} answers with status 500`)],
    ['of a store', new StorageError(`${INSIDE} failed`)],
    ['of a token request', new TokenRequestError(INSIDE, { error: INSIDE, errorDescription: INSIDE, hint: INSIDE })],
    ['of a refused token', new SubjectTokenRejectedError({ error: INSIDE, errorDescription: INSIDE })],
    ['of a bug', new InternalError(INSIDE)],
    ['of a setting, told to a caller', new ConfigurationError(INSIDE).concealed()],
  ])('%s shows nothing that is for the operator', (_of, error) => {
    expect(shown(error)).not.toContain(INSIDE)
    expect(error.message).toBe(error.body.error_description)
  })

  it.each<[of: string, error: McpAuthError]>([
    ['of an outage', new UpstreamUnavailableError(INSIDE)],
    ['of a store', new StorageError(INSIDE)],
    ['of a token request', new TokenRequestError(INSIDE)],
    ['of a bug', new InternalError(INSIDE)],
    ['of a setting', new ConfigurationError(INSIDE)],
    ['of a setting, told to a caller', new ConfigurationError(INSIDE).concealed()],
  ])('%s tells the operator, where it is asked', (_of, error) => {
    expect(error.detail).toBe(INSIDE)
    expect(Object.keys(error)).not.toContain('detail')
    expect(inspect(error, { showHidden: false, getters: false }).split('\n')[0]).toContain(error.message)
  })

  it('that may reach nobody but the operator says it in its message: an option that is wrong', () => {
    expect(() => mcpAuth({ issuer: 'not a URL', resource: 'https://mcp.example.com/mcp' })).toThrow(/issuer/)
  })

  it('of a sealed value names the option to the operator alone', () => {
    const error = new SealedValueError('encryptionKey')
    expect(shown(error)).not.toContain('encryptionKey')
    expect(error.detail).toContain('encryptionKey')
  })
})

describe('the words of the authorization server', () => {
  const refuse = (words: string): void =>
    as.script('/token', { status: 400, json: { error: 'invalid_target', error_description: words } })

  it('reach the event and `detail`, and nothing that a handler sends', async () => {
    const auth = open()
    refuse(`no such audience at ${INSIDE}`)
    const error = (await failureOf(auth.getNextcloudToken(await auth.verify(await as.mint())))) as TokenRequestError

    expect(shown(error)).not.toContain(INSIDE)
    expect(error.errorDescription).toContain(INSIDE)
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'nextcloud.failed', errorDescription: error.errorDescription }),
    )
  })

  it.each([
    ['as it is', CLIENT_SECRET],
    ['in a form', new URLSearchParams([['client_secret', CLIENT_SECRET]]).toString()],
    ['in a URL', encodeURIComponent(CLIENT_SECRET)],
    ['in lower-case escapes', encodeURIComponent(CLIENT_SECRET).toLowerCase()],
    ['in JSON', JSON.stringify({ client_secret: CLIENT_SECRET })],
    ['in base64', Buffer.from(CLIENT_SECRET).toString('base64')],
  ])('lose the client’s secret %s before they reach anybody', async (_how, words) => {
    const auth = open()
    refuse(`bad client: ${words}`)
    const error = await failureOf(auth.getNextcloudToken(await auth.verify(await as.mint())))
    const told = inspect([error, (error as TokenRequestError).errorDescription, events], { depth: 9, showHidden: true })

    expect(told).toContain('bad client')
    for (const spelling of [
      CLIENT_SECRET,
      encodeURIComponent(CLIENT_SECRET),
      Buffer.from(CLIENT_SECRET).toString('base64'),
    ]) {
      expect(told.toLowerCase()).not.toContain(spelling.toLowerCase())
    }
  })
})

describe('a failure of the app’s own fetch', () => {
  it.each([
    ['a code', { code: 's3cret-in-a-code' }],
    ['a name', { name: 's3cret-in-a-code' }],
  ])('that has a secret in %s reaches no event and no error', async (_where, members) => {
    const auth = open({ http: { fetch: () => Promise.reject(Object.assign(new Error('failed'), members)) } })
    const error = await failureOf(auth.verify(await as.mint()))

    expect(error).toBeInstanceOf(UpstreamUnavailableError)
    expect(inspect([error, (error as McpAuthError).detail, events], { depth: 9 })).not.toContain('s3cret')
  })
})

describe('a setting that turns out to be wrong at run time', () => {
  it('is told to the operator, and to the caller without its name', async () => {
    const { open: openWithout, as: asWithout } = await world({ mode: 'none' })
    const auth = openWithout()
    const error = (await failureOf(
      auth.getNextcloudToken(await auth.verify(await asWithout.mint())),
    )) as ConfigurationError

    expect(error).toBeInstanceOf(ConfigurationError)
    expect(shown(error)).not.toContain('NEXTCLOUD_HOST')
    expect(error.detail).toContain('nextcloud.url')
  })
})

describe('a store that fails', () => {
  it.each([
    'READONLY You can’t write against a read only replica.',
    'OOM command not allowed',
    'NOAUTH Authentication required.',
    'NOPERM no',
    'MISCONF no',
    'CLUSTERDOWN no',
  ])('says the first word of Redis to the operator: %s', (message) => {
    const error = new StorageError('The store failed', new Error(`${message} pw-secret`))
    expect(error.detail).toBe(`The store failed (${message.split(' ')[0]})`)
    expect(error.message).toBe('The storage of connections is not available')
  })

  it('is told so in the event', async () => {
    await close()
    const connected = await world({ mode: 'refresh-token' })
    const failing = Object.assign(new MemoryStorage(), { get: () => Promise.reject(new Error('READONLY no')) })
    const auth = connected.open({ storage: failing })
    const error = (await failureOf(
      auth.getNextcloudToken(await auth.verify(await connected.as.mint())),
    )) as StorageError
    await connected.close()

    expect(error.detail).toContain('(READONLY)')
    expect(connected.events).toContainEqual(expect.objectContaining({ type: 'storage.failed', message: error.detail }))
  })
})
