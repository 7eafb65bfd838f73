import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { ConnectOptions, IdentityRule } from '../../src/index.js'
import { NotProvisionedError } from '../../src/index.js'
import { manualClock } from '../support/clock.js'
import { bareHost } from '../support/hosts.js'
import { appPasswordWorld, waitingPage } from '../support/login-visits.js'
import { startNextcloudOAuth2 } from '../support/nextcloud-oauth2.js'
import { addAccount } from '../support/nextcloud/state.js'
import { failureOf, until } from '../support/promises.js'
import { expectPage } from '../support/test-browser.js'
import { world } from '../support/world.js'

const CLIENT = 'mcp-client'
const USER = '/ocs/v2.php/cloud/user'
const hashed = (value: string) => createHash('sha256').update(value).digest('hex')

/** How user ids come about in Nextcloud, and the rule that fits. People are named by their subject. */
interface People {
  readonly people: string
  readonly identity: IdentityRule
  readonly uidOf: (subject: string) => string
}

const PEOPLE: readonly People[] = [
  { people: 'named by their subject', identity: 'sub', uidOf: (subject) => subject },
  {
    people: 'named by a claim, who were there before',
    identity: { claim: 'preferred_username' },
    uidOf: (subject) => `${subject}.w`,
  },
  {
    people: 'made by user_oidc',
    identity: { userOidc: { providerId: 1 } },
    uidOf: (subject) => hashed(`1_0_${subject}`),
  },
  {
    people: 'made by user_oidc, of a claim',
    identity: { userOidc: { providerId: 7, claim: 'preferred_username' } },
    uidOf: (subject) => hashed(`7_0_${subject}.w`),
  },
  {
    people: 'on a list of the app',
    identity: ({ userId }, { subject }) => userId === `list-${subject}`,
    uidOf: (subject) => `list-${subject}`,
  },
  {
    people: 'known by an e-mail address that the app looks up',
    identity: ({ email }, { claims }) => Promise.resolve(email !== undefined && email === claims['email']),
    uidOf: (subject) => `ldap-${subject}`,
  },
]
const claimsOf = (subject: string) => ({
  preferred_username: `${subject}.w`,
  email: `${subject}@example.com`,
})

/** App-password mode: Mallory, the link that she passes on, and Alice, who is told to press "Grant access". */
async function setUpLogin({ identity, uidOf }: People, connect: ConnectOptions = {}) {
  const setup = await appPasswordWorld({ options: { connect: { identity, ...connect } } })
  const { auth, browser, authorize, nextcloud, signIn, stored, events } = setup
  for (const subject of ['alice', 'mallory'])
    addAccount(nextcloud.state, uidOf(subject), { email: `${subject}@example.com`, backend: 'user_oidc' })
  const mallory = await signIn({ sub: 'mallory', ...claimsOf('mallory') })
  return {
    ...setup,
    mallory,
    /** Mallory's link, her sign-in, and the page that leads to Nextcloud. */
    begin: async (claims: object = claimsOf('mallory')) => {
      const at = browser()
      const going = await at.press(await at.open(await auth.createConnectUrl(mallory)), { answer: 'yes' })
      const signedIn = async () => at.open(await authorize(going.refreshTo, 'mallory', { claims: { ...claims } }))
      return { at, ...waitingPage(going.refreshTo === undefined ? going : await signedIn()) }
    },
    expectNothing: async () => {
      expect(nextcloud.appPasswords).toEqual([])
      expect(await stored('mallory')).toBeUndefined()
      expect(await failureOf(auth.nextcloudFetch(mallory, '/ocs/v2.php/cloud/user'))).toBeInstanceOf(
        NotProvisionedError,
      )
      expect(events.map(({ type }) => type)).not.toContain('grant.stored')
    },
    told: () => events.filter(({ type }) => type === 'connect.failed'),
  }
}

describe.each(PEOPLE)('a Login Flow link that Mallory passes on, with people $people', (people) => {
  const { uidOf } = people

  it('gives her nothing when Alice agrees, and Alice’s app password is deleted', async () => {
    const { begin, nextcloud, expectNothing, told, mallory } = await setUpLogin(people)
    const { at, login, next } = await begin()
    expect((await nextcloud.grant(login, uidOf('alice'))).text).toContain('Account connected')
    expect(nextcloud.appPasswords).toHaveLength(1)

    const page = await at.open(next)

    expectPage(page, 403)
    expect(page.text).not.toMatch(/alice/i)
    await expectNothing()
    expect(told()).toEqual([
      expect.objectContaining({
        reason: 'person',
        issuer: mallory.issuer,
        subject: 'mallory',
        clientId: CLIENT,
        loginName: uidOf('alice'),
        userId: uidOf('alice'),
        hint: expect.any(String) as string,
        rule: expect.any(String) as string,
      }),
    ])
  })

  it('gives her nothing when Alice signs in under a name that says Mallory', async () => {
    const { begin, nextcloud, expectNothing, told } = await setUpLogin(people)
    for (const loginName of ['mallory', uidOf('mallory'), 'mallory@example.com']) {
      const { at, login, next } = await begin()
      await nextcloud.grant(login, uidOf('alice'), loginName)

      expectPage(await at.open(next), 403)
    }
    await expectNothing()
    expect(told()).toHaveLength(3)
  })

  it('connects her own account, whatever name she signs in with', async () => {
    const { begin, nextcloud, auth, mallory } = await setUpLogin(people)
    for (const loginName of [uidOf('mallory'), 'mallory@example.com', uidOf('mallory').toUpperCase()]) {
      const { at, login, next } = await begin()
      await nextcloud.grant(login, uidOf('mallory'), loginName)

      expectPage(await at.open(next), 200)
      expect(await auth.nextcloudUser(mallory)).toMatchObject({ id: uidOf('mallory') })
      await auth.revoke(mallory)
    }
  })

  it('connects her own account where Nextcloud says whose it is within 10 s, and nobody’s where it does not', async () => {
    const { begin, nextcloud, expectNothing, told } = await setUpLogin(people)
    for (const outage of [Infinity, 5]) {
      const { at, login, next } = await begin()
      await nextcloud.grant(login, uidOf('mallory'))
      let asked = 0
      nextcloud.disturb(({ path }) => (path === USER && (asked += 1) <= outage ? 503 : undefined))

      expectPage(await at.open(next), outage === 5 ? 200 : 403)

      expect(asked).toBe(outage === 5 ? 6 : 20)
      if (outage !== 5) await expectNothing()
    }
    expect(told()).toHaveLength(1)
  })

  it('gives nothing for an account that is disabled meanwhile, whose app password is deleted once it can be', async () => {
    const { begin, nextcloud, stored, told, clock, auth, mallory, expectNothing } = await setUpLogin(people)
    const { at, login, next } = await begin()
    await nextcloud.grant(login, uidOf('mallory'))
    const account = nextcloud.state.accounts.get(uidOf('mallory'))!
    account.enabled = false

    expectPage(await at.open(next), 403)

    expect([await stored('mallory'), nextcloud.appPasswords.length]).toEqual([undefined, 1])
    const hint = expect.stringMatching(/does not take the credential.*could not be deleted/) as string
    expect(told()).toEqual([expect.objectContaining({ reason: 'person', hint })])
    account.enabled = true
    clock.advance(60_000)
    await auth.isProvisioned(mallory)
    await until(() => nextcloud.appPasswords.length === 0)
    await expectNothing()
  })

  it('gives her nothing where the app itself says who is at the browser', async () => {
    const issuer = { now: '' }
    const authenticateBrowser = () => Promise.resolve({ issuer: issuer.now, subject: 'mallory' })
    const { begin, nextcloud, as, expectNothing } = await setUpLogin(people, { authenticateBrowser })
    issuer.now = as.issuer
    const theirs = await begin()
    await nextcloud.grant(theirs.login, uidOf('alice'))

    expectPage(await theirs.at.open(theirs.next), 403)
    await expectNothing()

    // The claims are those of the MCP token that asked for the link.
    const own = await begin()
    await nextcloud.grant(own.login, uidOf('mallory'))
    expectPage(await own.at.open(own.next), 200)
  })
})

it('the claims of the sign-in count, and not those of the MCP token that asked for the link', async () => {
  const byClaim = PEOPLE.find(({ identity }) => typeof identity === 'object' && 'claim' in identity)!
  const { begin, nextcloud, expectNothing, told } = await setUpLogin(byClaim)
  for (const claims of [{}, { preferred_username: '' }, claimsOf('alice')]) {
    const { at, login, next } = await begin(claims)
    await nextcloud.grant(login, byClaim.uidOf('mallory'))

    expectPage(await at.open(next), 403)
  }
  await expectNothing()
  const hints = told().map((event) => (event as { hint?: string }).hint?.includes('claim preferred_username'))
  expect(hints).toEqual([true, true, false])
})

/** The core app `oauth2`: the same people. */
async function setUpOAuth2({ identity, uidOf }: People, ownSignIn: boolean) {
  const clock = manualClock()
  const nextcloud = await startNextcloudOAuth2(clock.now)
  const { clientId, clientSecret, url } = nextcloud
  let signedIn = { issuer: '', subject: '' }
  const connect = {
    identity,
    ...(ownSignIn && { authenticateBrowser: () => Promise.resolve(signedIn) }),
  }
  const setup = await world({
    mode: 'refresh-token',
    host: bareHost,
    clock,
    options: { clientId, clientSecret, connect, nextcloud: { url, preset: 'nextcloud-oauth2-app' } },
  })
  const { auth, browser, agree, signIn, stored, events, as } = setup
  const infoOf = (subject: string) => signIn({ sub: subject, ...claimsOf(subject) })
  return {
    ...setup,
    nextcloud,
    /** From the link of a person to Nextcloud, in a browser of theirs. */
    begin: async (subject: string) => {
      const at = browser()
      signedIn = { issuer: as.issuer, subject }
      return { at, to: await agree(at, await auth.createConnectUrl(await infoOf(subject))) }
    },
    /** A person agrees at Nextcloud: the path and query of the callback. */
    grant: (to: URL, subject: string) => nextcloud.signIn(to, uidOf(subject), `${subject}@example.com`),
    signedInAs: (subject: string) => (signedIn = { issuer: as.issuer, subject }),
    expectNothing: async (subject: string) => {
      expect(nextcloud.sessions()).toEqual([])
      expect(await stored(subject)).toBeUndefined()
      expect(await failureOf(auth.getNextcloudToken(await infoOf(subject)))).toBeInstanceOf(NotProvisionedError)
      expect(events.map(({ type }) => type)).not.toContain('grant.stored')
    },
    told: () => events.filter(({ type }) => type === 'connect.failed'),
    infoOf,
  }
}

const SIGN_INS = [
  { way: 'the rule alone', ownSignIn: false },
  { way: 'the app’s own sign-in', ownSignIn: true },
]

describe.each(SIGN_INS.flatMap((signIn) => PEOPLE.map((people) => ({ ...people, ...signIn }))))(
  'the core app oauth2 with $way, and people $people',
  ({ ownSignIn, ...people }) => {
    const { uidOf } = people

    it('gives Mallory nothing for a code of Alice’s in her callback, and ends what came of it', async () => {
      const { begin, grant, expectNothing, told, signedInAs } = await setUpOAuth2(people, ownSignIn)
      const alice = await begin('alice')
      const leaked = new URL(await grant(alice.to, 'alice'), 'https://mcp.example.com')
      const mallory = await begin('mallory')
      signedInAs('mallory')
      const injected = new URLSearchParams({
        code: leaked.searchParams.get('code') ?? '',
        state: mallory.to.searchParams.get('state') ?? '',
      })

      const page = await mallory.at.open(`/nextcloud/callback?${injected.toString()}`)

      expectPage(page, 403)
      await expectNothing('mallory')
      await expectNothing('alice')
      expect(told()).toEqual([
        expect.objectContaining({ reason: 'person', subject: 'mallory', userId: uidOf('alice') }),
      ])
    })

    it('gives Mallory nothing when Alice agrees behind a link that she passes on', async () => {
      const { begin, grant, expectNothing } = await setUpOAuth2(people, ownSignIn)
      const { at, to } = await begin('mallory')

      expectPage(await at.open(await grant(to, 'alice')), 403)

      await expectNothing('mallory')
    })

    it('says where Alice finds the session that could not be ended in Nextcloud', async () => {
      const { begin, grant, nextcloud, stored, told } = await setUpOAuth2(people, ownSignIn)
      const page = { status: 200, body: '<p>Please try again later.</p>' }
      for (const answer of [503, page, 0]) {
        const { at, to } = await begin('mallory')
        const callback = await grant(to, 'alice')
        nextcloud.disturb(({ path }) => (path === '/ocs/v2.php/core/apppassword' ? answer : undefined))

        expectPage(await at.open(callback), 403)
      }

      expect(await stored('mallory')).toBeUndefined()
      const hints = told().map((event) => (event as { hint?: string }).hint)
      const hint = expect.stringMatching(/could not be ended in Nextcloud.*Security/) as string
      expect(hints).toEqual([hint, hint, hint])
    })

    it('connects her own account, also where Nextcloud was unavailable for a moment', async () => {
      const { begin, grant, auth, infoOf, nextcloud, expectNothing } = await setUpOAuth2(people, ownSignIn)
      for (const outage of [Infinity, 5]) {
        const { at, to } = await begin('mallory')
        const callback = await grant(to, 'mallory')
        let asked = 0
        nextcloud.disturb(({ path }) => (path === USER && (asked += 1) <= outage ? 503 : undefined))

        expectPage(await at.open(callback), outage === 5 ? 200 : 403)

        if (outage !== 5) await expectNothing('mallory')
      }
      expect(nextcloud.takes(await auth.getNextcloudToken(await infoOf('mallory')))).toBe(true)
    })
  },
)
