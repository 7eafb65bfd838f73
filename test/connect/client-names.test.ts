import { describe, expect, it } from 'vitest'
import { createClientNames, readClaim } from '../../src/connect/client-names.js'
import { createEvents, type McpAuthEvent } from '../../src/events.js'
import { manualClock } from '../support/clock.js'

const DOCUMENT = 'https://claude.ai/client.json'
type ClientName = (clientId: string) => string | undefined | Promise<string | undefined>

function setUp(
  given: { clientName?: unknown; documents?: Record<string, unknown>; allowed?: string[]; fetches?: boolean } = {},
) {
  const clock = manualClock()
  const seen: McpAuthEvent[] = []
  const asked: string[] = []
  const names = createClientNames({
    config: { allowedClients: given.allowed && new Set(given.allowed), client: { id: 'mcp-server' } as never },
    connect: { clientName: given.clientName as ClientName | undefined },
    fetchDocument:
      given.fetches === false ? undefined : (url) => (asked.push(url), Promise.resolve(given.documents?.[url])),
    events: createEvents((event) => seen.push(event), clock),
    clock,
  })
  return { names, clock, seen, asked, documents: given.documents }
}

describe('the name of an MCP client', () => {
  it('is the one that the app gives', async () => {
    const { names, asked } = setUp({ clientName: (id: string) => Promise.resolve(`The app ${id}`) })
    expect(await names.of(DOCUMENT)).toEqual({ name: `The app ${DOCUMENT}` })
    expect(asked).toEqual([])
  })

  it.each<[what: string, clientName: () => unknown]>([
    [
      'an exception',
      () => {
        throw new Error('no')
      },
    ],
    ['a rejection', () => Promise.reject(new Error('no'))],
    ['no string', () => 7],
    ['an empty name', () => ' '],
    ['a control character', () => 'a\u0007b'],
    ['a line', () => 'a\nb'],
    ['another direction', () => 'a\u202Eb'],
  ])('is another where the app gives %s, which is said once', async (_what, clientName) => {
    const { names, seen } = setUp({ clientName })
    expect(await names.of('https://claude.ai')).toEqual({ host: 'claude.ai' })
    await names.of('https://claude.ai')
    expect(seen).toEqual([expect.objectContaining({ type: 'config.warning', option: 'connect.clientName' })])
  })

  it('is another where the app does not answer within 10 s, or knows none', async () => {
    const { names, clock } = setUp({ clientName: () => new Promise(() => undefined) })
    const name = names.of('https://claude.ai')
    clock.advance(10_000)
    expect(await name).toEqual({ host: 'claude.ai' })
    const { names: knowsNone, seen } = setUp({ clientName: () => undefined })
    expect(await knowsNone.of('https://claude.ai')).toEqual({ host: 'claude.ai' })
    expect(seen).toEqual([])
  })

  it('has 100 characters at most', async () => {
    const { names } = setUp({ clientName: () => '😀'.repeat(500) })
    expect(await names.of('x')).toEqual({ name: '😀'.repeat(100) })
  })

  it('is that of its metadata document, beside the host', async () => {
    const { names } = setUp({ documents: { [DOCUMENT]: { client_id: DOCUMENT, client_name: 'Claude' } } })
    expect(await names.of(DOCUMENT)).toEqual({ name: 'Claude', host: 'claude.ai' })
  })

  it.each([
    ['names another client', { client_id: `${DOCUMENT}x`, client_name: 'Claude' }],
    ['has no name', { client_id: DOCUMENT }],
    ['has a name that turns', { client_id: DOCUMENT, client_name: '\u202Eedualc' }],
    ['is null', null],
    ['is a string', 'x'],
    ['is not there', undefined],
  ])('is the host alone where the document %s', async (_what, document) => {
    const { names } = setUp({ documents: { [DOCUMENT]: document } })
    expect(await names.of(DOCUMENT)).toEqual({ host: 'claude.ai' })
  })

  it.each([
    'https://claude.ai',
    'https://claude.ai/',
    'http://claude.ai/c',
    'https://claude.ai/c#x',
    'https://claude.ai/a/../c',
    'https://CLAUDE.ai/c',
  ])('is the host alone, and nothing is fetched, of %s', async (clientId) => {
    const { names, asked } = setUp()
    expect(await names.of(clientId)).toEqual({ host: 'claude.ai' })
    expect(asked).toEqual([])
  })

  it('is the host alone where addresses cannot be checked', async () => {
    expect(await setUp({ fetches: false }).names.of(DOCUMENT)).toEqual({ host: 'claude.ai' })
  })

  it('is fetched once in ten minutes, and once in a minute if there was none', async () => {
    const documents: Record<string, unknown> = {}
    const { names, clock, asked } = setUp({ documents })
    await Promise.all([names.of(DOCUMENT), names.of(DOCUMENT)])
    await names.of(DOCUMENT)
    expect(asked).toHaveLength(1)
    documents[DOCUMENT] = { client_id: DOCUMENT, client_name: 'Claude' }
    clock.advance(60_000)
    expect(await names.of(DOCUMENT)).toEqual({ name: 'Claude', host: 'claude.ai' })
    clock.advance(599_999)
    await names.of(DOCUMENT)
    expect(asked).toHaveLength(2)
    clock.advance(1)
    await names.of(DOCUMENT)
    expect(asked).toHaveLength(3)
  })

  it.each<[clientId: string, expected: object]>([
    ['mcp-server', { name: 'mcp-server' }],
    ['listed', { name: 'listed' }],
    ['l'.repeat(41), { id: 'llllll…llllll' }],
    ['k3Jd9xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAQw71Zt', { id: 'k3Jd9x…Qw71Zt' }],
    ['short', { id: 'short' }],
    ['s'.repeat(20), { id: 's'.repeat(20) }],
    ['s'.repeat(21), { id: 'ssssss…ssssss' }],
    ['c'.repeat(40), { name: 'c'.repeat(40) }],
    ['unknown', {}],
  ])('of the id %s is %j', async (clientId, expected) => {
    expect(await setUp({ allowed: ['listed', 'l'.repeat(41), 'c'.repeat(40)] }).names.of(clientId)).toEqual(expected)
  })
})

it.each([
  ['claude-code', 'claude-code'],
  ['a\u202Eb\u0000c', 'abc'],
  ['x'.repeat(5_000), 'x'.repeat(100)],
  ['Claude”, made by Anthropic, called “Claude', 'Claude, made by Anthropic, called Claude'],
  ['"a" «b» „c‟ 「Bob’s』 \uFF02', 'a b c 「Bob’s』'],
  ['“”', undefined],
  [' \u0007', undefined],
  [7, undefined],
  [undefined, undefined],
])('what a client calls itself is cleaned: %j', (given, claim) => {
  expect(readClaim(given)).toBe(claim)
})
