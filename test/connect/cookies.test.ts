import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { createFlowCookies, digest, flowOf, holds, SESSION_COOKIE } from '../../src/connect/cookies.js'

const NAME = '__Host-mcp-nextcloud-'
const cookies = createFlowCookies(true)
const browserWith = (cookie?: string) => Object.assign(new IncomingMessage(new Socket()), { headers: { cookie } })

describe('a cookie', () => {
  it.each([
    ['https', true, /^__Host-mcp-nextcloud-flow-one=[\w-]{43}; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax; Secure$/],
    [
      'http, which is on loopback,',
      false,
      /^mcp-nextcloud-flow-one=[\w-]{43}; Max-Age=600; Path=\/; HttpOnly; SameSite=Lax$/,
    ],
  ])('on %s is bound to this host, out of reach of scripts, Lax, and of ten minutes', (_, isSecure, set) => {
    const { issue, end } = createFlowCookies(isSecure)

    expect(issue(browserWith(), 'flow-one').headers).toEqual([expect.stringMatching(set)])
    expect(end('flow-one')).toBe(
      isSecure
        ? '__Host-mcp-nextcloud-flow-one=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure'
        : 'mcp-nextcloud-flow-one=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax',
    )
  })

  it('has a fresh value, also where the browser has one of its name', () => {
    const planted = 'p'.repeat(43)
    const values = [1, 2].map(() => cookies.issue(browserWith(`${NAME}flow=${planted}`), 'flow').value)

    expect(new Set([planted, ...values]).size).toBe(3)
  })

  it('takes a value and a life of its own', () => {
    const { value, headers } = cookies.issue(browserWith(), 'flow', { value: 'given', life: 5_000 })

    expect([value, headers[0]]).toEqual(['given', expect.stringContaining(`${NAME}flow=given; Max-Age=5;`)])
  })

  it('ends the oldest flows, so that a browser keeps eight', () => {
    const held = Array.from({ length: 9 }, (_, index) => `${NAME}flow-${index}=x`).join('; ')

    const { headers } = cookies.issue(browserWith(held), 'another')

    expect(headers.slice(1)).toEqual([cookies.end('flow-0'), cookies.end('flow-1')])
    expect(cookies.issue(browserWith(held), 'flow-8').headers.slice(1)).toEqual([cookies.end('flow-0')])
  })

  it('ends no more than sixteen flows at once, and sends no name back that is not its own', () => {
    const planted = Array.from({ length: 500 }, (_, index) => `${NAME}f${index}=x`).join('; ')
    const odd = ['n'.repeat(4_000), '\u007F'].flatMap((name) => [1, 2, 3, 4, 5, 6].map((at) => `${at}${name}${at}`))
    const oddOnes = ['', ...odd].map((name) => `${NAME}${name}=x`).join('; ')

    expect(cookies.issue(browserWith(planted), 'flow').headers).toHaveLength(17)
    expect(cookies.issue(browserWith(oddOnes), 'flow').headers).toHaveLength(1)
  })

  it('leaves the session of the own sign-in alone, which is no flow', () => {
    const held = [SESSION_COOKIE, ...Array.from({ length: 7 }, (_, index) => `${NAME}flow-${index}`)]
    const browser = browserWith(held.map((name) => `${name}=x`).join('; '))

    expect(cookies.issue(browser, 'another').headers).toHaveLength(1)
    expect(cookies.any(browserWith(`${SESSION_COOKIE}=x`))).toBe(false)
  })

  it("leaves the app's own cookies alone, however many there are", () => {
    const held = Array.from({ length: 20 }, (_, index) => `app-${index}=theirs`).join('; ')

    expect(cookies.issue(browserWith(held), 'flow').headers).toHaveLength(1)
  })
})

describe('the values of a flow', () => {
  it('are those under its name and no other, each of them where it was set twice', () => {
    const held = `${NAME}flow=one; a; ${NAME}flow-2=other; ${NAME}flow=two;mcp-nextcloud-flow=plain; flow=x; =y`

    expect(cookies.values(browserWith(held), 'flow')).toEqual(['one', 'two'])
    expect(cookies.values(browserWith(held), 'none')).toEqual([])
    expect(cookies.values(browserWith(), 'flow')).toEqual([])
  })

  it.each([
    [undefined, false],
    ['app=theirs', false],
    [`app=theirs; ${NAME}flow=one`, true],
    [`${NAME}flow=one; app=theirs`, true],
    [`app-${NAME}flow=one`, false],
  ])('are there at all, with the cookies %j: %s', (held, isThere) => {
    expect(cookies.any(browserWith(held))).toBe(isThere)
  })

  it('hold a hash that any one of them has', () => {
    expect(holds(['planted', 'ours'], digest('ours'))).toBe(true)
    expect(holds(['planted'], digest('ours'))).toBe(false)
    expect(holds([], digest('ours'))).toBe(false)
  })
})

it('the name of a flow tells nothing of its secret', () => {
  expect(flowOf('a secret')).toMatch(/^[\w-]{8}$/)
  expect(flowOf('a secret')).not.toBe(flowOf('another'))
  expect(digest('a secret')).not.toContain(flowOf('a secret'))
})
