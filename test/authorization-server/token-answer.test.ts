import { expect, it } from 'vitest'
import { checkTokenAnswer, readTokenEndpointAnswer } from '../../src/authorization-server/token-answer.js'
import { TokenRequestError } from '../../src/errors/errors.js'

const TYPE = 'urn:ietf:params:oauth:token-type:'
const check = (more: object) =>
  checkTokenAnswer(
    { access_token: 'the token of the answer', token_type: 'Bearer', ...more },
    'the token that was sent',
  )

it.each<[string, object]>([
  ['no access_token', { access_token: undefined }],
  ['an empty access_token', { access_token: '' }],
  ['an access_token that is not a text', { access_token: 42 }],
  ['an access_token that no header can hold', { access_token: 'the token of the answer\n' }],
  ['an access_token with letters beyond ASCII', { access_token: 'the token of the answer é' }],
  ['the token that was sent', { access_token: 'the token that was sent' }],
  ['no token_type', { token_type: undefined }],
  ['a token_type that is not a text', { token_type: ['Bearer'] }],
  ['token_type DPoP', { token_type: 'DPoP' }],
  ['token_type mac', { token_type: 'mac' }],
  ...['id_token', 'refresh_token', 'saml1', 'saml2'].map((type): [string, object] => [
    `issued_token_type ${type}`,
    { issued_token_type: TYPE + type },
  ]),
])('an answer with %s is refused, and its token is not in the error', (_name, more) => {
  let failure: unknown
  try {
    check(more)
  } catch (error) {
    failure = error
  }
  expect(failure).toBeInstanceOf(TokenRequestError)
  expect(failure).toMatchObject({ code: 'ERR_TOKEN_REQUEST', status: 502, httpStatus: 200, error: undefined })
  expect(JSON.stringify([failure, (failure as Error).message])).not.toContain('the token of the answer')
})

it.each([
  { token_type: 'bearer' },
  { token_type: 'BEARER' },
  { token_type: 'N_A' },
  { token_type: 'n_a' },
  { issued_token_type: `${TYPE}access_token` },
  { issued_token_type: `${TYPE}jwt` },
  { issued_token_type: undefined },
])('an answer with %j is taken', (more) => {
  expect(check(more)).toEqual({ accessToken: 'the token of the answer', expiresIn: undefined })
})

it.each([null, 0, -1, '300', 'soon', true, {}])('expires_in of %j says nothing', (value) => {
  expect(check({ expires_in: value })).toMatchObject({ expiresIn: NaN })
})

it('a refusal that repeats the Basic credentials shows nothing of the secret', () => {
  const credentials = Buffer.from('mcp:s3cr3t-pw').toString('base64')
  const body = Buffer.from(
    JSON.stringify({ error: credentials, error_description: `Authorization: Basic ${credentials}` }),
  )

  const { refusal } = readTokenEndpointAnswer({ status: 401, body: new Uint8Array(body) }, ['s3cr3t-pw'])

  expect(refusal).toMatchObject({ error: 'bWNwOn…w==', description: 'Authorization: Basic bWNwOn…w==' })
})
