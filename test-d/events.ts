/** Events narrow by `type`. */
import { logEvents, type ConnectFailureReason, type McpAuthEvent, type RejectionReason } from 'mcp-nextcloud-auth'
import { expectTypeOf } from 'vitest'

declare const event: McpAuthEvent

expectTypeOf(event.at).toEqualTypeOf<number>()
// @ts-expect-error not every event has one
expectTypeOf(event.reason).toBeString()

switch (event.type) {
  case 'token.rejected':
    expectTypeOf(event.reason).toEqualTypeOf<RejectionReason>()
    expectTypeOf(event.message).toEqualTypeOf<string>()
    break
  case 'connect.failed':
    expectTypeOf(event.reason).toEqualTypeOf<ConnectFailureReason>()
    break
  case 'grant.lost':
    expectTypeOf(event.reason).toEqualTypeOf<'revoked' | 'expired'>()
    expectTypeOf(event.fingerprint).toEqualTypeOf<string>()
    break
  case 'nextcloud.token':
    expectTypeOf(event.source).toEqualTypeOf<'cache' | 'idp' | 'store'>()
    // @ts-expect-error of a failure alone
    expectTypeOf(event.code).toBeString()
    break
  // @ts-expect-error there is no such event
  case 'token.lost':
    break
}

logEvents(console)({ type: 'config.warning', option: 'resource', message: 'm', at: 0 })
// @ts-expect-error a method is missing
logEvents({ error: console.error, warn: console.warn, info: console.info })
