import { beforeEach, describe, expect, it } from 'vitest'
import { logEvents, type EventLogger, type McpAuthEvent } from '../../src/index.js'
import type { McpAuthEventDetails } from '../../src/events.js'
import { captureWarnings } from '../support/warnings.js'
import { world } from '../support/world.js'

type Lines = [level: keyof EventLogger, line: string][]

function recorder(): { readonly logger: EventLogger; readonly lines: Lines } {
  const lines: Lines = []
  const at = (level: keyof EventLogger) => (line: string) => lines.push([level, line])
  return { logger: { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug') }, lines }
}

function written(details: McpAuthEventDetails): Lines {
  const { logger, lines } = recorder()
  logEvents(logger)({ ...details, at: 1_700_000_000_000 })
  return lines
}

const alice = { issuer: 'https://idp.example.com', subject: 'alice' }
const ALICE = '"issuer":"https://idp.example.com","subject":"alice"'
const grant = { ...alice, fingerprint: 'f1' }
const GRANT = `${ALICE},"fingerprint":"f1"`
const message = 'the words'

describe('logEvents', () => {
  it.each<[McpAuthEventDetails, level: keyof EventLogger, rest: string]>([
    [
      { type: 'token.accepted', ...alice, clientId: 'c', cached: true },
      'debug',
      `{${ALICE},"clientId":"c","cached":true}`,
    ],
    [{ type: 'token.rejected', reason: 'audience', message }, 'warn', 'the words {"reason":"audience"}'],
    [
      { type: 'token.rejected', reason: 'signature', message, verified: false },
      'warn',
      'the words {"reason":"signature","verified":false}',
    ],
    [{ type: 'token.rejected', reason: 'scope', message }, 'warn', 'the words {"reason":"scope"}'],
    [{ type: 'token.rejected', reason: 'expired', message }, 'info', 'the words {"reason":"expired"}'],
    [{ type: 'token.rejected', reason: 'inactive', message }, 'info', 'the words {"reason":"inactive"}'],
    [{ type: 'token.rejected', reason: 'no_credentials', message }, 'debug', 'the words {"reason":"no_credentials"}'],
    [
      { type: 'request.failed', code: 'ERR_INTERNAL', status: 500, message },
      'error',
      'the words {"code":"ERR_INTERNAL","status":500}',
    ],
    [
      { type: 'request.failed', code: 'ERR_SUBJECT_TOKEN_REJECTED', status: 401, message },
      'warn',
      'the words {"code":"ERR_SUBJECT_TOKEN_REJECTED","status":401}',
    ],
    [
      { type: 'nextcloud.token', ...alice, mode: 'token-exchange', source: 'idp', durationMs: 3 },
      'debug',
      `{${ALICE},"mode":"token-exchange","source":"idp","durationMs":3}`,
    ],
    [
      { type: 'nextcloud.failed', ...alice, mode: 'refresh-token', code: 'ERR_STORAGE' },
      'error',
      `{${ALICE},"mode":"refresh-token","code":"ERR_STORAGE"}`,
    ],
    [
      { type: 'nextcloud.failed', ...alice, mode: 'token-exchange', code: 'ERR_TOKEN_REQUEST', hint: 'h' },
      'error',
      `{${ALICE},"mode":"token-exchange","code":"ERR_TOKEN_REQUEST","hint":"h"}`,
    ],
    [
      { type: 'nextcloud.failed', ...alice, mode: 'token-exchange', code: 'ERR_SUBJECT_TOKEN_REJECTED' },
      'warn',
      `{${ALICE},"mode":"token-exchange","code":"ERR_SUBJECT_TOKEN_REJECTED"}`,
    ],
    [
      { type: 'nextcloud.failed', ...alice, mode: 'pass-through', code: 'ERR_AUDIENCE' },
      'warn',
      `{${ALICE},"mode":"pass-through","code":"ERR_AUDIENCE"}`,
    ],
    [
      { type: 'nextcloud.failed', ...alice, mode: 'refresh-token', code: 'ERR_NOT_PROVISIONED' },
      'info',
      `{${ALICE},"mode":"refresh-token","code":"ERR_NOT_PROVISIONED"}`,
    ],
    [
      { type: 'idp.unavailable', operation: 'jwks', message, httpStatus: undefined },
      'error',
      'the words {"operation":"jwks"}',
    ],
    [{ type: 'grant.stored', ...grant, clientId: 'c' }, 'info', `{${GRANT},"clientId":"c"}`],
    [{ type: 'grant.rotated', ...grant, previous: 'f0' }, 'debug', `{${GRANT},"previous":"f0"}`],
    [{ type: 'grant.lost', ...grant, reason: 'revoked' }, 'error', `{${GRANT},"reason":"revoked"}`],
    [{ type: 'grant.revoked', ...alice, revoked: true }, 'info', `{${ALICE},"revoked":true}`],
    [{ type: 'grant.revoked', ...alice, revoked: true, hint: 'h' }, 'warn', `{${ALICE},"revoked":true,"hint":"h"}`],
    [{ type: 'grant.revoked', ...alice, revoked: 'pending' }, 'warn', `{${ALICE},"revoked":"pending"}`],
    [{ type: 'grant.revoked', ...alice, revoked: 'unsupported' }, 'warn', `{${ALICE},"revoked":"unsupported"}`],
    [{ type: 'connect.failed', reason: 'declined' }, 'info', '{"reason":"declined"}'],
    [{ type: 'connect.failed', reason: 'link' }, 'info', '{"reason":"link"}'],
    [{ type: 'connect.failed', reason: 'person', rule: 'sub' }, 'warn', '{"reason":"person","rule":"sub"}'],
    [{ type: 'storage.failed', operation: 'get', message }, 'error', 'the words {"operation":"get"}'],
    [{ type: 'config.warning', option: 'resource', message }, 'warn', 'the words {"option":"resource"}'],
  ])('writes %j as one line, at %s', (details, level, rest) => {
    expect(written(details)).toEqual([[level, `${details.type} ${rest}`]])
  })

  it('writes an event with nothing more to say as its type and message', () => {
    const bare = { type: 'config.warning', message, at: 0 } as McpAuthEvent
    const { logger, lines } = recorder()
    logEvents(logger)(bare)

    expect(lines).toEqual([['warn', 'config.warning the words']])
  })

  it.each(['\n', '\r', '\u0085', '\u2028', '\u2029', '\u001b[31m', '\u202e', '\ud800'])(
    'lets no value of a stranger end, colour or turn a line: %j',
    (stranger) => {
      const lines = [
        ...written({ type: 'connect.failed', reason: 'person', loginName: `al${stranger}ice`, hint: stranger }),
        ...written({
          type: 'idp.unavailable',
          operation: 'token',
          message: `down${stranger}error forged`,
          httpStatus: 502,
        }),
        ...written({ type: 'token.accepted', ...alice, clientId: stranger, cached: false }),
      ]

      expect(lines).toHaveLength(3)
      for (const [, line] of lines) expect(line).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
    },
  )

  it('calls the methods as those of the logger', () => {
    class Logger {
      readonly lines: string[] = []
      error(line: string) {
        this.lines.push(line)
      }
      warn = this.error.bind(this)
      info = this.error.bind(this)
      debug = this.error.bind(this)
    }
    const logger = new Logger()
    logEvents(logger)({ type: 'storage.failed', operation: 'put', message, at: 0 })

    expect(logger.lines).toEqual(['storage.failed the words {"operation":"put"}'])
  })

  it('takes console', () => {
    expect(logEvents(console)).toBeTypeOf('function')
  })

  it.each<[what: string, logger: unknown]>([
    ['nothing', undefined],
    ['no object', 'console'],
    ['a function', () => undefined],
    ...(['error', 'warn', 'info', 'debug'] as const).map((name): [string, unknown] => [
      `a logger without ${name}`,
      { ...recorder().logger, [name]: undefined },
    ]),
  ])('refuses %s', (_what, logger) => {
    expect(() => logEvents(logger as never)).toThrow(
      expect.objectContaining({
        code: 'ERR_CONFIGURATION',
        message: 'logEvents takes a logger with the methods error, warn, info, debug',
      }) as Error,
    )
  })
})

describe('a logger that fails', () => {
  let warnings: readonly Error[]
  beforeEach(() => {
    warnings = captureWarnings()
  })

  const throwing = (): never => {
    throw new Error('the disk is full')
  }

  it.each([
    ['throws', throwing],
    ['rejects', () => Promise.reject(new Error('the disk is full'))],
  ])('because it %s breaks no request, nor the listener around it, and is warned about once', async (_how, fail) => {
    const log = logEvents({ error: fail, warn: fail, info: fail, debug: fail })
    const after: string[] = []
    const { auth, as } = await world({
      mode: 'none',
      options: {
        onEvent: (event) => {
          log(event)
          after.push(event.type)
        },
      },
    })

    expect(await auth.verify(await as.mint())).toMatchObject({ subject: 'alice' })
    await expect(auth.verify('no token')).rejects.toMatchObject({ status: 401 })
    await expect(auth.verify(await as.mint({ aud: 'other' }))).rejects.toMatchObject({ status: 401 })

    expect(after).toEqual(['token.rejected', 'token.rejected'])
    expect(warnings).toMatchObject([{ code: 'ERR_ON_EVENT', message: 'onEvent failed: the disk is full' }])
  })
})

it('is an onEvent that tells of a real refusal, and holds no part of the token', async () => {
  const { logger, lines } = recorder()
  const { auth, as } = await world({ mode: 'none', options: { onEvent: logEvents(logger) } })
  const token = await as.mint({ aud: 'other' })

  await expect(auth.verify(token)).rejects.toThrow()

  expect(lines).toEqual([
    ['warn', expect.stringMatching(/^token\.rejected aud is \["other"\], none of .*"reason":"audience"/)],
  ])
  for (const part of token.split('.')) expect(lines.join()).not.toContain(part)
})
