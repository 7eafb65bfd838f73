/** `error.code` is a literal in each class, and narrows. */
import * as everything from 'mcp-nextcloud-auth'
import { McpAuthError, NotProvisionedError, TokenRequestError, UpstreamUnavailableError } from 'mcp-nextcloud-auth'
import { expectTypeOf } from 'vitest'

declare const caught: unknown
declare const refused: NotProvisionedError

expectTypeOf(refused.code).toEqualTypeOf<'ERR_NOT_PROVISIONED'>()
expectTypeOf<typeof NotProvisionedError.code>().toEqualTypeOf<'ERR_NOT_PROVISIONED'>()
expectTypeOf<UpstreamUnavailableError['code']>().toEqualTypeOf<'ERR_UPSTREAM_UNAVAILABLE'>()

if (caught instanceof McpAuthError) {
  expectTypeOf(caught.status).toEqualTypeOf<number>()
  switch (caught.code) {
    case 'ERR_NOT_PROVISIONED':
      expectTypeOf(caught).toEqualTypeOf<NotProvisionedError>()
      expectTypeOf(caught.connectUrl).toEqualTypeOf<string | undefined>()
      break
    case 'ERR_TOKEN_REQUEST':
      expectTypeOf(caught).toEqualTypeOf<TokenRequestError>()
      break
    case 'ERR_UPSTREAM_UNAVAILABLE':
    case 'ERR_STORAGE':
      expectTypeOf(caught.retryAfter).toEqualTypeOf<number>()
      break
    // @ts-expect-error there is no such code
    case 'ERR_OTHER':
      break
    default:
      // @ts-expect-error those with a link are gone by now
      expectTypeOf(caught.connectUrl).toBeString()
  }
}

declare const either: McpAuthError | URL
if (either instanceof McpAuthError) expectTypeOf(either).toEqualTypeOf<McpAuthError>()
else expectTypeOf(either).toEqualTypeOf<URL>()

/** Every code has its class, and no other has it. */
type Classes = {
  [Name in keyof typeof everything]: (typeof everything)[Name] extends {
    readonly code: infer Code
    prototype: { readonly code: infer Own }
  }
    ? [Code, Own]
    : never
}[keyof typeof everything]
expectTypeOf<Classes[0]>().toEqualTypeOf<McpAuthError['code']>()
expectTypeOf<Classes[1]>().toEqualTypeOf<McpAuthError['code']>()
// @ts-expect-error a literal, not any text
expectTypeOf<McpAuthError['code']>().toEqualTypeOf<string>()

// @ts-expect-error errors are made by this package
expectTypeOf(new McpAuthError({})).toBeObject()
