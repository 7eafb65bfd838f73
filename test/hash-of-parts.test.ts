import { expect, it } from 'vitest'
import { cacheKey } from '../src/broker/token-cache.js'
import { recordKey } from '../src/grants/record-key.js'

it('never changes the key of a record, since stored grants are found by it', () => {
  const owner = { clientId: 'client', resource: 'https://mcp.example.com' }
  expect(recordKey('grant', owner, 'https://idp.example.com', 'alice')).toBe(
    'v1:yYdbw57YGeYOM3lKv_5Cw8Doc9ervIpNc4LEXbwn0Uc',
  )
})

it('never changes the key of a cached token', () => {
  const identity = {
    issuer: 'https://idp.example.com',
    subject: 'alice',
    mode: 'token-exchange',
    tokenEndpoint: 'https://idp.example.com/token',
    clientId: 'mcp-server',
    audience: ['nextcloud'],
    resource: ['https://cloud.example.com'],
    scopes: ['read', 'write'],
    mcpToken: 'mcp-token',
  }
  expect(cacheKey(identity)).toBe('K7gjanZ2LhpwoxBxSfcMgqlwxBkVRU0IfwSI_yN4OfY')
})
