import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { hasForm, isFromOwnPage, readForm, readOwnForm } from '../../src/connect/form.js'

const ORIGIN = 'https://mcp.example.com'
const FORM = 'application/x-www-form-urlencoded'

/** A request with a body, as it comes over the network. */
function requestOf(
  chunks: readonly (string | Error)[],
  headers: IncomingMessage['headers'] = { 'content-type': FORM },
) {
  const req = Object.assign(new PassThrough(), { headers })
  for (const chunk of chunks) {
    if (typeof chunk === 'string') req.write(chunk)
    else setImmediate(() => req.destroy(chunk))
  }
  if (chunks.every((chunk) => typeof chunk === 'string')) req.end()
  return req as unknown as IncomingMessage & PassThrough
}

/** A request whose body a parser of the app's has read. */
async function readBefore(body: unknown) {
  const req = requestOf(['x'])
  await text(req)
  return Object.assign(req, { body })
}

const fields = async (req: IncomingMessage) => Object.fromEntries((await readForm(req)) ?? [['no', 'form']])

describe('a form', () => {
  it('has the fields that are there once', async () => {
    expect(await fields(requestOf(['token=a%20b&ans', 'wer=yes&do=1&do=1&other=x']))).toEqual({
      token: 'a b',
      answer: 'yes',
    })
  })

  it.each([
    ['Application/X-WWW-Form-Urlencoded; charset=UTF-8', true],
    ['text/plain', false],
    ['application/json', false],
    [`x-${FORM}`, false],
    [undefined, false],
  ])('counts by its type: %s', async (type, isForm) => {
    const headers = type === undefined ? {} : { 'content-type': type }

    expect(hasForm(requestOf([], headers))).toBe(isForm)
    expect(await readForm(requestOf(['do=1'], headers))).toEqual(isForm ? new Map([['do', '1']]) : undefined)
  })

  it('of 16 KiB is read, and a longer one is not', async () => {
    const longest = `do=${'x'.repeat(16_381)}`

    expect((await readForm(requestOf([longest])))?.size).toBe(1)
    expect(await readForm(requestOf([longest, 'x']))).toBeUndefined()
  })

  it('that is too long leaves the connection open, so that the answer can be sent', async () => {
    const req = requestOf(['x'.repeat(10_000), 'x'.repeat(10_000), 'x'])

    expect(await readForm(req)).toBeUndefined()

    expect(req.destroyed).toBe(false)
  })

  it('that states too great a length is not read at all', async () => {
    const req = requestOf(['a=1'], { 'content-type': FORM, 'content-length': '16385' })

    expect(await readForm(req)).toBeUndefined()
    expect(req.readableDidRead).toBe(false)
    const stated = { 'content-type': FORM, 'content-length': '16384' }
    expect((await readForm(requestOf(['do=1'], stated)))?.size).toBe(1)
  })

  it('that breaks off is none', async () => {
    expect(await readForm(requestOf(['a=1', new Error('gone')]))).toBeUndefined()
  })

  it.each([
    ['text', 'do=1&answer=2&answer=3', { do: '1' }],
    ['bytes', Buffer.from('do=1&answer=2&answer=3'), { do: '1' }],
    ['fields', { do: '1', answer: ['2', '3'], token: { d: '4' }, other: 'x' }, { do: '1' }],
    ['inherited fields', Object.create({ do: '1' }) as object, {}],
    ['text of 16 KiB', `do=1&${'x'.repeat(16_379)}`, { do: '1' }],
    ['a field of 16 KiB', { do: 'x'.repeat(16_384) }, { do: 'x'.repeat(16_384) }],
    ['text that is too long', `do=1&${'x'.repeat(16_384)}`, { no: 'form' }],
    ['bytes that are too many', Buffer.alloc(16_385, 'do=1&'), { no: 'form' }],
    ['a field that is too long', { do: 'x'.repeat(16_385), answer: 'yes' }, { answer: 'yes' }],
    ['nothing', undefined, { no: 'form' }],
    ['null', null, { no: 'form' }],
  ])('comes from a parser of the app as %s', async (_what, body, expected) => {
    expect(await fields(await readBefore(body))).toEqual(expected)
  })
})

describe('a form from a page of this origin', () => {
  it.each<[headers: IncomingMessage['headers'], isOwn: boolean]>([
    [{}, true],
    [{ origin: 'null' }, true],
    [{ origin: ORIGIN, 'sec-fetch-site': 'same-origin' }, true],
    [{ 'sec-fetch-site': 'none' }, true],
    [{ 'sec-fetch-site': 'cross-site' }, false],
    [{ 'sec-fetch-site': 'same-site', origin: ORIGIN }, false],
    [{ origin: 'https://evil.example' }, false],
    [{ origin: 'http://mcp.example.com' }, false],
  ])('has the headers %j: %s', (headers, isOwn) => {
    expect(isFromOwnPage(requestOf([], headers), ORIGIN)).toBe(isOwn)
  })

  it.each([
    ['a page of this origin, and a cookie', true, ORIGIN, true],
    ['another origin', true, 'https://evil.example', false],
    ['a browser without a cookie', false, ORIGIN, false],
  ])('is read from %s alone', async (_what, any, origin, isRead) => {
    const req = requestOf(['do=1'], { 'content-type': FORM, origin })

    expect((await readOwnForm({ cookies: { any: () => any }, origin: ORIGIN }, req))?.get('do')).toBe(
      isRead ? '1' : undefined,
    )
    expect(req.readableDidRead).toBe(isRead)
  })
})
