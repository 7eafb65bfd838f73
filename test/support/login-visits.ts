import type { TestBrowser, Visit } from './test-browser.js'
import { until } from './promises.js'
import type { WorldOf } from './world.js'
import type { Host } from './hosts.js'

/** The page that leads to Nextcloud. */
export interface WaitingVisit extends Visit {
  /** The URL that it leads to. */
  readonly login: string
  /** The URL that it asks for the outcome. */
  readonly next: URL
}

/** The journeys of Login Flow v2, in a world of app-password mode with a host. */
export function loginVisits({
  browser: newBrowser,
  link: newLink,
  authorize,
  nextcloud,
}: WorldOf<{ mode: 'app-password'; host: Host }>) {
  const polls = () => nextcloud.received('/index.php/login/v2/poll').length
  /** From the link to the page that leads to Nextcloud. */
  async function begin(browser = newBrowser(), link?: string): Promise<WaitingVisit> {
    const going = await browser.press(await browser.open(link ?? (await newLink())), { answer: 'yes' })
    return waitingPage(going.refreshTo === undefined ? going : await browser.open(await authorize(going.refreshTo)))
  }
  return {
    begin,
    /** The whole way in one browser, with an account of Nextcloud's; the last page. */
    connectAs: async (uid: string, browser: TestBrowser = newBrowser()): Promise<Visit> => {
      const { login, next } = await begin(browser)
      await nextcloud.grant(login, uid)
      return browser.open(next)
    },
    /** Requests for the end of a flow. */
    polls,
    /** Resolves when Nextcloud has been asked for the end of a flow so many times. */
    polled: (count: number) => until(() => polls() >= count),
  }
}

export function waitingPage(visit: Visit): WaitingVisit {
  const login = /<a class="go" href="([^"]+)" target="_blank" rel="noopener noreferrer">/.exec(visit.text)?.[1]
  const next = /^5; url=(.*)$/.exec(String(visit.headers['refresh'] ?? ''))?.[1]
  if (login === undefined || next === undefined) throw new Error(`That is not the page that waits: ${visit.status}`)
  return { ...visit, login, next: new URL(next) }
}
