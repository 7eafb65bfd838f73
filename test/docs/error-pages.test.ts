import { readFileSync } from 'node:fs'
import { STATUS_CODES } from 'node:http'
import path from 'node:path'
import { globSync } from 'tinyglobby'
import { expect, it } from 'vitest'
import * as errors from '../../src/errors/errors.js'
import { INVALID_TOKEN_DESCRIPTIONS } from '../../src/errors/rejection-details.js'
import { addChallenge } from '../../src/http/challenge.js'
import { withTable } from '../support/written-page.js'

const root = path.resolve(import.meta.dirname, '../..')
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')
const link = {
  connectUrl: 'https://mcp.example.com/nextcloud/connect?ticket=…',
  elicitationId: 'an-id',
  expiresAt: 1_800_000_000,
}

/** Code → an error of it, as it may be answered. The compiler finds a code that is not here. */
const EXAMPLES: { readonly [E in errors.McpAuthError as E['code']]: E } = {
  ERR_UNAUTHORIZED: new errors.UnauthorizedError(),
  ERR_INVALID_REQUEST: new errors.InvalidRequestError(),
  ERR_INVALID_TOKEN: new errors.InvalidTokenError('audience'),
  ERR_INVALID_DPOP_PROOF: new errors.InvalidDpopProofError('htu'),
  ERR_INSUFFICIENT_SCOPE: new errors.InsufficientScopeError(['notes:read', 'notes:write']),
  ERR_SUBJECT_TOKEN_REJECTED: new errors.SubjectTokenRejectedError(),
  ERR_AUDIENCE: new errors.AudienceMismatchError(),
  ERR_NEXTCLOUD_REFUSED: new errors.NextcloudRefusedError('two-factor'),
  ERR_NOT_PROVISIONED: new errors.NotProvisionedError('never', link),
  ERR_UPSTREAM_UNAVAILABLE: new errors.UpstreamUnavailableError('unavailable'),
  ERR_STORAGE: new errors.StorageError('unavailable'),
  ERR_TOKEN_REQUEST: new errors.TokenRequestError('refused'),
  ERR_STORAGE_SEALED: new errors.SealedValueError(),
  ERR_CONFIGURATION: new errors.ConfigurationError('wrong'),
  ERR_INTERNAL: new errors.InternalError('wrong'),
}
const all = Object.values(EXAMPLES)

/** An error as it goes over the wire. */
function answerOf(error: errors.McpAuthError): string {
  const { status, headers, body } = addChallenge(error, {
    resourceMetadataUrl: 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp',
    challengeScopes: ['notes:read'],
    dpop: error instanceof errors.InvalidDpopProofError ? 'required' : 'off',
    algorithms: ['ES256'],
  })
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const json = JSON.stringify(body, null, 2)
  return ['```http', `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`, ...lines, '', json, '```'].join('\n')
}

it('each code has a page, and each page a code', () => {
  const pages = globSync('docs/errors/*', { cwd: root }).map((file) => path.basename(file, '.md'))
  const codes = globSync('src/errors/*.ts', { cwd: root }).flatMap(
    (file) => read(file).match(/(?<=static readonly code = ')ERR_\w+/g) ?? [],
  )

  expect(codes.length).toBeGreaterThan(10)
  expect(pages.sort()).toEqual(codes.sort())
  expect(all.map(({ code }) => code).sort()).toEqual(codes)
})

it.each(all)(
  'the answer on the page of $code is the one that is sent (npm run docs:errors writes it)',
  async (error) => {
    const file = path.join(root, `docs/errors/${error.code}.md`)
    await expect(await withTable(file, 'answer', answerOf(error))).toMatchFileSnapshot(file)
  },
)

it.each(all)('the page of $code has its class, the cause, what the client sees, and what to do', ({ code, name }) => {
  const [lead = '', ...sections] = read(`docs/errors/${code}.md`).split(/^## /m)

  expect(lead).toMatch(new RegExp(`^# ${code}\n\n\`${name}\`: \\w`))
  expect(sections.map((section) => section.split('\n')[0])).toEqual(['Cause', 'What the client sees', 'What to do'])
  for (const section of sections) expect(section.split('\n').slice(1).join('').length).toBeGreaterThan(40)
})

it('the page of ERR_INVALID_TOKEN has every reason, and that of ERR_NOT_PROVISIONED', () => {
  const reasonsOn = (code: string) =>
    [...read(`docs/errors/${code}.md`).matchAll(/^\| `(\w+)` /gm)].map(([, name]) => name)

  expect(reasonsOn('ERR_INVALID_TOKEN')).toEqual(Object.keys(INVALID_TOKEN_DESCRIPTIONS))
  const reasons: Record<errors.NotProvisionedReason, true> = {
    never: true,
    revoked: true,
    expired: true,
    consent: true,
  }
  expect(reasonsOn('ERR_NOT_PROVISIONED')).toEqual(Object.keys(reasons))
})
