import { describe, expect, it } from 'vitest'
import { checkTokenOptions } from '../../src/broker/token-options.js'
import type { NextcloudMode, NextcloudTokenOptions } from '../../src/index.js'
import { failureOf } from '../support/promises.js'
import { world } from '../support/world.js'

const check = (options: unknown, mode: NextcloudMode = 'token-exchange') =>
  checkTokenOptions(options as NextcloudTokenOptions, mode)

it.each<[options: object, message: string]>([
  [{ scope: ['read'] }, 'scope is not an option of getNextcloudToken'],
  [{ refresh: undefined }, 'refresh is not an option of getNextcloudToken'],
  [{ forceRefresh: 'yes' }, 'forceRefresh must be true or false'],
  [{ forceRefresh: null }, 'forceRefresh must be true or false'],
  [{ signal: { aborted: false } }, 'signal must be an AbortSignal'],
  [{ signal: new AbortController() }, 'signal must be an AbortSignal'],
  ...['read', null, [''], ['read write'], ['read"'], ['a\\b'], ['é'], [1], [undefined], [['read']]].map(
    (scopes): [object, string] => [{ scopes }, 'scopes must be a list of scopes'],
  ),
  ...['', [], [''], ['files', ''], null, 1, [1], [undefined], {}].map((audience): [object, string] => [
    { audience },
    'audience must be a string or a list of strings',
  ]),
])('%j is refused, by name', (options, message) => {
  expect(() => check(options)).toThrow(new TypeError(message))
})

it.each<[mode: NextcloudMode, options: object, message: RegExp]>([
  ['pass-through', { scopes: ['read'] }, /^scopes cannot be chosen in pass-through mode: /],
  ['pass-through', { scopes: [] }, /^scopes cannot be chosen in pass-through mode: /],
  ['jwt-bearer', { audience: 'files' }, /^audience cannot be chosen in jwt-bearer mode: /],
  ['refresh-token', { scopes: ['read'] }, /^scopes cannot be chosen in refresh-token mode: /],
  ['app-password', { audience: ['files'] }, /^audience cannot be chosen in app-password mode: /],
])('in %s mode %j is refused and not ignored', (mode, options, message) => {
  expect(() => check(options, mode)).toThrow(message)
})

it.each<[mode: NextcloudMode, options: object]>([
  ['token-exchange', { scopes: [], audience: 'files', forceRefresh: true, signal: new AbortController().signal }],
  ['pass-through', { audience: ['files', 'talk'] }],
  ['jwt-bearer', { scopes: ['read'], audience: undefined, forceRefresh: undefined, signal: undefined }],
])('in %s mode %j is taken', (mode, options) => {
  expect(() => check(options, mode)).not.toThrow()
})

describe.each(['token-exchange', 'pass-through'] as const)('getNextcloudToken in %s mode', (mode) => {
  it.each([{ scope: ['read'] }, null, 'read'])('rejects with a TypeError for %j, and asks nobody', async (options) => {
    const { as, auth, signIn } = await world({ options: { nextcloud: { mode } } })
    const info = await signIn({ aud: ['https://mcp.example.com/mcp', 'nextcloud'] })
    const given = options as unknown as NextcloudTokenOptions
    for (const call of [info.extra.getNextcloudToken(given), auth.getNextcloudToken(info, given)]) {
      expect(await failureOf(call)).toBeInstanceOf(TypeError)
    }
    expect(as.received('/token')).toEqual([])
  })
})
