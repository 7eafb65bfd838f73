import { bareHost } from './hosts.js'
import type { TestBrowser, Visit } from './test-browser.js'
import { world, type Parts } from './world.js'

/** The page that leads to Nextcloud. */
export interface WaitingVisit extends Visit {
  /** The URL that it leads to. */
  readonly login: string
  /** The URL that it asks for the outcome. */
  readonly next: URL
}

export type AppPasswordWorld = Awaited<ReturnType<typeof appPasswordWorld>>

/** A world of app-password mode with the connect pages, and the journeys of Login Flow v2 in it. */
export async function appPasswordWorld(parts: Pick<Parts, 'options' | 'storage'> = {}) {
  const made = await world({ mode: 'app-password', host: bareHost, ...parts })
  const { nextcloud } = made
  /** From the link to the page that leads to Nextcloud. */
  async function begin(browser = made.browser(), subject?: string): Promise<WaitingVisit> {
    const going = await browser.press(await browser.open(await made.link(subject)), { answer: 'yes' })
    return waitingPage(
      going.refreshTo === undefined ? going : await browser.open(await made.authorize(going.refreshTo, subject)),
    )
  }
  return {
    ...made,
    begin,
    /** The whole way in one browser, with an account of Nextcloud's; the last page. */
    connectAs: async (uid: string, browser: TestBrowser = made.browser(), subject?: string): Promise<Visit> => {
      const { login, next } = await begin(browser, subject)
      await nextcloud.grant(login, uid)
      return browser.open(next)
    },
    /** Requests for the end of a flow. */
    polls: () => nextcloud.received('/index.php/login/v2/poll').length,
  }
}

export function waitingPage(visit: Visit): WaitingVisit {
  const login = /<a class="go" href="([^"]+)" target="_blank" rel="noopener noreferrer">/.exec(visit.text)?.[1]
  const next = /^5; url=(.*)$/.exec(String(visit.headers['refresh'] ?? ''))?.[1]
  if (login === undefined || next === undefined) throw new Error(`That is not the page that waits: ${visit.status}`)
  return { ...visit, login, next: new URL(next) }
}
