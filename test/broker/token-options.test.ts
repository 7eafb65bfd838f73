import { describe, expect, it } from 'vitest'
import type { NextcloudMode, NextcloudTokenOptions } from '../../src/index.js'
import { failureOf, setUp } from '../support/broker-setup.js'

const MODES: readonly NextcloudMode[] = ['token-exchange', 'jwt-bearer', 'pass-through']

describe.each(MODES)('getNextcloudToken in %s mode', (mode) => {
  it.each([
    ['an unknown option', { scope: ['read'] }, 'scope is not an option of getNextcloudToken'],
    ['another, even undefined', { refresh: undefined }, 'refresh is not an option of getNextcloudToken'],
    ['forceRefresh that is no boolean', { forceRefresh: 'yes' }, 'forceRefresh must be true or false'],
    ['forceRefresh of null', { forceRefresh: null }, 'forceRefresh must be true or false'],
    ['a signal that is none', { signal: { aborted: false } }, 'signal must be an AbortSignal'],
    ['a controller instead of its signal', { signal: new AbortController() }, 'signal must be an AbortSignal'],
  ])('refuses %s, by name, and asks nobody', async (_name, options, message) => {
    const { as, auth, signIn } = await setUp({ nextcloud: { mode } })
    const info = await signIn({ aud: ['https://mcp.example.com/mcp', 'nextcloud'] })
    const given = options as unknown as NextcloudTokenOptions
    for (const call of [info.extra.getNextcloudToken(given), auth.getNextcloudToken(info, given)]) {
      const failure = await failureOf(call)
      expect(failure).toBeInstanceOf(TypeError)
      expect(failure).toHaveProperty('message', message)
    }
    expect(as.received('/token')).toEqual([])
  })

  it('refuses options that are no object', async () => {
    const { signIn } = await setUp({ nextcloud: { mode } })
    const { getNextcloudToken } = (await signIn()).extra
    for (const options of [null, 'read']) {
      expect(await failureOf(getNextcloudToken(options as unknown as NextcloudTokenOptions))).toBeInstanceOf(TypeError)
    }
  })
})

describe.each(['token-exchange', 'jwt-bearer'] as const)('scopes of a call in %s mode', (mode) => {
  it.each(['read', null, [''], ['read write'], ['read"'], ['a\\b'], ['é'], [1], [undefined], [['read']]])(
    'are refused as %j',
    async (scopes) => {
      const { exchanges, signIn } = await setUp({ nextcloud: { mode } })
      const failure = await failureOf((await signIn()).extra.getNextcloudToken({ scopes: scopes as string[] }))
      expect(failure).toBeInstanceOf(TypeError)
      expect(failure).toHaveProperty('message', 'scopes must be a list of scopes')
      expect(exchanges()).toBe(0)
    },
  )
})

describe('the audience of a call', () => {
  const unusable = ['', [], [''], ['files', ''], null, 1, [1], [undefined], {}]

  it.each(unusable)('is refused as %j', async (audience) => {
    for (const mode of ['token-exchange', 'pass-through'] as const) {
      const { exchanges, signIn } = await setUp({ nextcloud: { mode } })
      const failure = await failureOf((await signIn()).extra.getNextcloudToken({ audience: audience as string }))
      expect(failure).toBeInstanceOf(TypeError)
      expect(failure).toHaveProperty('message', 'audience must be a string or a list of strings')
      expect(exchanges()).toBe(0)
    }
  })
})

describe('what a mode has no use for', () => {
  it.each([
    { mode: 'pass-through', options: { scopes: ['read'] }, message: /^scopes cannot be chosen in pass-through mode/ },
    { mode: 'pass-through', options: { scopes: [] }, message: /^scopes cannot be chosen in pass-through mode/ },
    { mode: 'jwt-bearer', options: { audience: 'files' }, message: /^audience cannot be chosen in jwt-bearer mode/ },
    { mode: 'jwt-bearer', options: { audience: ['files'] }, message: /^audience cannot be chosen in jwt-bearer mode/ },
  ] as const)('is refused and not ignored: $mode with $options', async ({ mode, options, message }) => {
    const { as, signIn } = await setUp({ nextcloud: { mode } })
    const info = await signIn({ aud: ['https://mcp.example.com/mcp', 'nextcloud'] })
    const failure = await failureOf(info.extra.getNextcloudToken(options))
    expect(failure).toBeInstanceOf(TypeError)
    expect((failure as TypeError).message).toMatch(message)
    expect(as.received('/token')).toEqual([])
  })

  it('is not complained about when it is undefined', async () => {
    const { signIn } = await setUp({ nextcloud: { mode: 'jwt-bearer' } })
    const options = { audience: undefined, scopes: undefined, forceRefresh: undefined, signal: undefined }
    const { getNextcloudToken } = (await signIn()).extra
    expect(await getNextcloudToken(options as unknown as NextcloudTokenOptions)).toBe('nextcloud-token-1')
  })
})
