import { readConfig } from '../../src/config/read-config.js'
import { createEvents } from '../../src/events.js'
import type { Grant } from '../../src/grants/grant.js'
import { createGrants } from '../../src/grants/open-grants.js'
import type { ConnectOptions, McpAuthOptions, StorageAdapter } from '../../src/index.js'
import { manualClock } from './clock.js'
import { setUpConnect, type ConnectSetup, type TestBrowser, type Visit } from './connect-setup.js'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { startNextcloudAccounts, type NextcloudAccounts } from './nextcloud-accounts.js'
import { CLIENT_ID, CLIENT_SECRET, RESOURCE } from './scripted-authorization-server.js'

/** The page that leads to Nextcloud. */
export interface WaitingVisit extends Visit {
  /** Where it leads. */
  readonly login: string
  /** Where it looks for what came of it. */
  readonly next: URL
}

export interface AppPasswordSetup extends Omit<ConnectSetup, 'stored'> {
  readonly nextcloud: NextcloudAccounts
  /** What this server is set up with. */
  readonly options: McpAuthOptions
  /** From the link to the page that leads to Nextcloud. */
  readonly begin: (browser?: TestBrowser, link?: string) => Promise<WaitingVisit>
  /** The whole way in one browser, with an account of Nextcloud's; the last page. */
  readonly connectAs: (uid: string, browser?: TestBrowser) => Promise<Visit>
  /** Resolves when an event of this type has come since the start, so many times. */
  readonly happened: (type: string, count?: number) => Promise<void>
  /** Resolves when Nextcloud has been asked for the end of a flow so many times. */
  readonly polled: (count: number) => Promise<void>
  readonly polls: () => number
  readonly stored: (subject?: string) => Promise<Grant | undefined>
}

interface Surroundings {
  readonly connect?: ConnectOptions
  readonly options?: McpAuthOptions
  readonly storage?: StorageAdapter
  /** Whether this server has a client at the authorization server. Default true. */
  readonly client?: boolean
}

/** An app in app-password mode, between a Nextcloud that takes no tokens and a clock that stands still. */
export async function setUpAppPasswords(surroundings: Surroundings = {}): Promise<AppPasswordSetup> {
  const { connect = {}, client = true, storage } = surroundings
  const clock = manualClock()
  const nextcloud = await startNextcloudAccounts(clock.now)
  const options: McpAuthOptions = {
    ...surroundings.options,
    clientId: client ? CLIENT_ID : undefined,
    clientSecret: client ? CLIENT_SECRET : undefined,
    nextcloud: { url: nextcloud.url, mode: 'app-password' },
    connect,
  }
  const setup = await setUpConnect({ clock, options, ...(storage && { storage: () => storage }) })
  const config = readConfig(
    { issuer: setup.as.issuer, resource: RESOURCE, ...options, storage: setup.storage, encryptionKey: ENCRYPTION_KEY },
    {},
  )
  const grants = createGrants({
    config,
    grants: config.grants!,
    storage: setup.storage,
    clock,
    events: createEvents(undefined, clock),
  })
  const polls = () => nextcloud.received('/index.php/login/v2/poll').length

  async function begin(browser = setup.browser(), link?: string): Promise<WaitingVisit> {
    const going = await browser.press(await browser.open(link ?? (await setup.link())), { answer: 'yes' })
    return waitingPage(going.refreshTo === undefined ? going : await browser.open(await setup.signIn(going.refreshTo)))
  }

  return {
    ...setup,
    grants,
    nextcloud,
    options,
    begin,
    async connectAs(uid, browser = setup.browser()) {
      const { login, next } = await begin(browser)
      await nextcloud.grant(login, uid)
      return browser.open(next)
    },
    happened: (type, count = 1) => until(() => setup.events.filter((event) => event.type === type).length >= count),
    polled: (count) => until(() => polls() >= count),
    polls,
    stored: async (subject = 'alice') =>
      (await grants.store.read(grants.store.keyOf({ issuer: setup.as.issuer, subject })))?.grant,
  }
}

/** Milliseconds. */
const LONGEST_UNTIL = 20_000

/** Lets messages on this machine arrive until something is the case; the clock stands still meanwhile. */
export async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + LONGEST_UNTIL
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`It never came to this: ${isSo.toString()}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

export function waitingPage(visit: Visit): WaitingVisit {
  const login = /<a class="go" href="([^"]+)" target="_blank" rel="noopener noreferrer">/.exec(visit.text)?.[1]
  const next = /^5; url=(.*)$/.exec(String(visit.headers['refresh'] ?? ''))?.[1]
  if (login === undefined || next === undefined) throw new Error(`That is not the page that waits: ${visit.status}`)
  return { ...visit, login, next: new URL(next) }
}
