import { expect, it, vi } from 'vitest'
import { basisOf, createGrantCheck, type GrantCheckRooms } from '../../../src/broker/modes/grant-check.js'
import type { Basis, Caller } from '../../../src/broker/modes/mode.js'
import { NotProvisionedError, SealedValueError, SubjectTokenRejectedError } from '../../../src/errors/errors.js'
import { ALICE, opened } from '../../grants/opened.js'

const SECRET = { scheme: 'Bearer', token: 'nextcloud-token' } as const

/** A user with two clients, and the check of their calls with a cached token. */
async function setUp({ grantCheck = 10, consent = 'per-client' } = {}) {
  const { store, connect, key, memory, storage, clock, failing } = opened()
  await connect('first', 'client-1')
  await connect('second', 'client-2')
  const withdrawals = await store.withdrawals(ALICE)
  let reads = 0
  const used: unknown[] = []
  const counted = { ...store, version: (of: string) => ((reads += 1), store.version(of)) }
  const check = createGrantCheck({
    config: { cache: { grantCheck }, grants: { consent } },
    grants: {
      store: counted,
      uses: { note: (_of: unknown, clientId: string) => used.push(clientId) },
    },
    clock,
    secretOf: () => SECRET,
    fresh: () => undefined,
  } as unknown as GrantCheckRooms)
  const { grant, version } = (await store.read(key))!
  const basis: Basis = basisOf({ grant, version }, clock.monotonic())
  const caller = (clientId: string | undefined, known: number | undefined = withdrawals): Caller => {
    return { token: '', identity: ALICE, clientId, audience: [], expiresAt: Infinity, withdrawals: known }
  }
  return {
    store,
    connect,
    check,
    basis,
    caller,
    clock,
    memory,
    storage,
    failing,
    key,
    used,
    withdrawals,
    reads: () => reads,
  }
}

it('a token of before a withdrawal is served until the next look at the grant, which costs one look as ever', async () => {
  const { store, connect, check, basis, caller, clock, reads, withdrawals } = await setUp()
  const [one, other] = [caller('client-1'), caller('client-2')]
  expect(check.check(one, SECRET, basis)).toBe(true)

  await store.disconnect(ALICE, 'client-1')
  await connect('third', 'client-1')

  expect([check.check(one, SECRET, basis), check.permits(one, basis.consent)]).toEqual([true, true])
  expect(reads()).toBe(0)
  clock.advance(10_000)
  const look = check.check(other, SECRET, basis)
  expect(look === true ? look : await look.outcome).toBe(true)
  expect(reads()).toBe(1)
  expect([one, other, caller('client-1', withdrawals + 1)].map((of) => check.permits(of, basis.consent))).toEqual([
    false,
    true,
    true,
  ])
  expect([check.check(other, SECRET, basis), check.check(caller('client-1', withdrawals + 1), SECRET, basis)]).toEqual([
    true,
    true,
  ])
  expect(reads()).toBe(1)
  // Those who waited for a token that another caller got are each judged by themselves.
  expect([one, other, caller('client-3')].map((of) => check.denial(of, basis.consent))).toEqual([
    expect.any(SubjectTokenRejectedError),
    undefined,
    expect.any(NotProvisionedError),
  ])
})

it.each<[string, string, string | undefined, boolean, boolean]>([
  ['a client that the user agreed to', 'per-client', 'client-1', true, true],
  ['another client', 'per-client', 'client-3', true, false],
  ["the operator's own work", 'per-client', undefined, true, true],
  ['a client, of a user without a grant', 'per-client', 'client-1', false, false],
  ["the operator's own work, for a user without a grant", 'per-client', undefined, false, true],
  ['any client, where consent is per user', 'per-user', 'client-3', true, true],
  ['any client, where consent is per user, without a grant', 'per-user', 'client-3', false, true],
])('a grant serves as its consent says: %s', async (_, consent, clientId, hasGrant, served) => {
  const { check, basis, caller } = await setUp({ consent })
  const [of, granted] = [{ ...caller(clientId), withdrawals: undefined }, hasGrant ? basis.consent : undefined]
  expect(check.permits(of, granted)).toBe(served)
  expect(check.denial(of, granted)?.code).toBe(served ? undefined : 'ERR_NOT_PROVISIONED')
})

it('a use is noted of the clients that the user agreed to, and of no others', async () => {
  const { check, basis, caller, used } = await setUp()
  for (const clientId of ['client-1', 'client-3', undefined]) check.used(caller(clientId), basis.consent)
  check.used(caller('client-2'), undefined)
  expect(used).toEqual(['client-1'])
})

it('calls at the same time share one look, and the next look is another one', async () => {
  const { check, basis, caller, clock, reads } = await setUp({ grantCheck: 0 })
  const looks = [0, 1_000].map((ms) => {
    clock.advance(ms)
    return check.check(caller('client-1'), SECRET, basis)
  })
  expect(await Promise.all(looks.map(async (look) => look === true || (await look.outcome)))).toEqual([true, true])
  expect(reads()).toBe(1)
  clock.advance(1)
  const next = check.check(caller('client-1'), SECRET, basis)
  expect(next === true || (await next.outcome)).toBe(true)
  expect(reads()).toBe(2)
})

it('no call joins a look of which it would not know any more: the process has stood still since that began', async () => {
  const { store, check, basis, caller, clock, reads, storage } = await setUp()
  const of = caller('client-1')
  clock.advance(10_000)
  const seen = await storage.get(store.keyOf(ALICE))
  let answer: () => void = () => undefined
  vi.spyOn(storage, 'get').mockReturnValueOnce(new Promise((resolve) => (answer = () => resolve(seen))))
  const looks = [check.check(of, SECRET, basis)]
  clock.advance(10_000)
  looks.push(check.check(of, SECRET, basis))
  expect(reads()).toBe(1)

  await store.disconnect(ALICE, undefined)
  clock.advance(1)
  looks.push(check.check(of, SECRET, basis))
  answer()

  expect(await Promise.all(looks.map(async (look) => look === true || (await look.outcome)))).toEqual([
    true,
    true,
    false,
  ])
  expect(reads()).toBe(2)
})

it('a caller hears whether a new connection helps, or a new token', async () => {
  const { store, connect, check, caller, withdrawals } = await setUp()
  const refusal = async (of: Caller) => check.refusal(of, (await store.find(ALICE))?.grant)
  expect(await refusal(caller('client-1'))).toBeUndefined()
  expect(await refusal(caller('client-3'))).toBeInstanceOf(NotProvisionedError)

  await store.disconnect(ALICE, 'client-1')
  expect(await refusal(caller('client-1'))).toBeInstanceOf(SubjectTokenRejectedError)
  expect(await refusal(caller('client-1', withdrawals + 1))).toMatchObject({ reason: 'consent' })

  await connect('third', 'client-1')
  expect(await refusal(caller('client-1'))).toBeInstanceOf(SubjectTokenRejectedError)
  // Of another issuer, and of the operator's own work, nothing is known.
  expect(await refusal({ ...caller('client-1'), withdrawals: undefined })).toBeUndefined()
  expect(await refusal(caller('client-1', -1))).toBeInstanceOf(SubjectTokenRejectedError)
})

it('nobody waits for a store that has failed for three users in a row, until it has answered for one', async () => {
  const { check, basis, caller, clock, failing } = await setUp()
  const users = ['alice', 'bob', 'carol', 'dave', 'erin'].map((subject) => ({
    caller: { ...caller('client-1'), identity: { ...ALICE, subject } },
    basis: { ...basis },
  }))
  const look = async (index: number) => {
    const { caller: of, basis: at } = users[index]!
    const seen = check.check(of, SECRET, at)
    if (seen === true) return 'no look'
    await seen.outcome
    return seen.awaited
  }
  failing.add('get')
  clock.advance(10_000)
  expect([await look(0), await look(1), await look(2), await look(3)]).toEqual([true, true, true, false])
  expect(await look(0)).toBe('no look')

  failing.clear()
  expect(await look(4)).toBe(false)
  clock.advance(10_000)
  expect([await look(0), await look(3)]).toEqual([true, true])
})

it('a failure is believed until twice `grantCheck` after it: then the store is asked before a token is served', async () => {
  const { check, basis, caller, clock, failing } = await setUp()
  const look = async (of: string, at: Basis) => {
    const seen = check.check({ ...caller('client-1'), identity: { ...ALICE, subject: of } }, SECRET, at)
    if (seen === true) return 'no look'
    await seen.outcome
    return seen.awaited
  }
  const fresh = () => ({ ...basis, checkedAt: clock.monotonic() - 10_000 })
  const [alice, erin] = [{ ...basis }, { ...basis }]
  failing.add('get')
  clock.advance(10_000)
  expect(await look('alice', alice)).toBe(true)
  clock.advance(19_999)
  expect(await look('alice', alice)).toBe(false)
  clock.advance(20_000)
  expect(await look('alice', alice)).toBe(true)

  // The same of a store that failed for others.
  for (const other of ['bob', 'carol']) await look(other, fresh())
  expect(await look('dave', fresh())).toBe(false)
  clock.advance(20_000)
  expect(await look('erin', erin)).toBe(true)
})

it('a token whose grant does not open any more is not served, and the store counts as working', async () => {
  const { check, basis, caller, clock, memory, key } = await setUp()
  await memory.put(key, 'not to be opened', (await memory.get(key))!.version)
  clock.advance(10_000)

  const seen = check.check(caller('client-1'), SECRET, basis)

  expect(seen).toMatchObject({ awaited: true })
  await expect(seen === true ? seen : seen.outcome).rejects.toThrow(SealedValueError)
  expect(check.check(caller('client-1'), SECRET, basis)).toMatchObject({ awaited: true })
})

it('with a look before each call, a failure is believed for a second', async () => {
  const { check, basis, caller, clock, failing } = await setUp({ grantCheck: 0 })
  const look = async () => {
    const seen = check.check(caller('client-1'), SECRET, basis)
    if (seen === true) return 'no look'
    await seen.outcome
    return seen.awaited
  }
  failing.add('get')
  expect([await look(), await look()]).toEqual([true, false])
  clock.advance(1_000)
  expect(await look()).toBe(true)
})
