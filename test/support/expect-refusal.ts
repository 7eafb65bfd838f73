import { expect } from 'vitest'
import { INVALID_TOKEN_DESCRIPTIONS, type InvalidTokenReason } from '../../src/errors/rejection-details.js'
import type { McpAuth } from '../../src/mcp-auth.js'

/** Expects the one answer to a token that cannot be used: 401 with the challenge and body of RFC 6750 §3.1. */
export async function expectRefusal(auth: McpAuth, token: string, reason: InvalidTokenReason): Promise<void> {
  await expect(auth.verify(token)).rejects.toEqual(
    expect.objectContaining({
      status: 401,
      reason,
      body: { error: 'invalid_token', error_description: INVALID_TOKEN_DESCRIPTIONS[reason] },
      headers: expect.objectContaining({
        'WWW-Authenticate': expect.stringMatching(/^Bearer realm="mcp", error="invalid_token", /) as string,
      }) as object,
    }),
  )
}
