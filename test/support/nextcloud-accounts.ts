import { onTestFinished } from 'vitest'
import type { Asked } from '../../src/testing/nextcloud/exchange.js'
import { cookieOf, newSession } from './nextcloud/sessions.js'
import { startStandIn, type NextcloudStandIn } from './nextcloud/stand-in.js'
import { addAccount, type AuthToken } from './nextcloud/state.js'

/** What a person sees at Nextcloud, as an account or not signed in. */
export interface NextcloudVisit {
  readonly status: number
  readonly text: string
  readonly location: string | undefined
}

/** The stand-in for Nextcloud, and what its users do at Login Flow v2. */
export interface NextcloudAccounts extends NextcloudStandIn {
  readonly received: (path: string) => readonly Asked[]
  /** App passwords that live, oldest first. */
  readonly appPasswords: readonly AuthToken[]
  /** Flows that were begun. */
  readonly begun: () => number
  /** Opens the address of a flow, signed in as an account, or not at all. */
  readonly open: (login: string | URL, uid?: string) => Promise<NextcloudVisit>
  /** Opens it, goes through its pages and presses "Grant access": the last page. */
  readonly grant: (login: string | URL, uid: string, loginName?: string) => Promise<NextcloudVisit>
  /** The user deletes every app password in the security settings. */
  readonly deleteAll: () => void
  /** From now on, this is changed in what flows answer. */
  readonly change: (answers: { start?: object; poll?: object }) => void
}

/** @param now milliseconds since the epoch */
export async function startNextcloudAccounts(now: () => number): Promise<NextcloudAccounts> {
  const standIn = await startStandIn({ now })
  onTestFinished(standIn.close)
  const { state, flow, requests } = standIn
  const appPasswords = () => state.tokens.filter(({ kind }) => kind === 'app-password')

  async function visit(url: string | URL, cookie?: string, form?: Record<string, string>): Promise<NextcloudVisit> {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: cookie === undefined ? {} : { cookie },
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
    })
    const location = response.headers.get('location') ?? undefined
    return { status: response.status, text: await response.text(), location }
  }

  const signIn = (uid: string, loginName = uid): string => {
    addAccount(state, uid)
    return cookieOf(newSession(state, uid, loginName))
  }

  return {
    ...standIn,
    received: (path) => requests.filter((request) => request.path === path),
    get appPasswords() {
      return appPasswords()
    },
    begun: flow.begun,
    open: (login, uid) => visit(login, uid === undefined ? undefined : signIn(uid)),
    async grant(login, uid, loginName) {
      const cookie = signIn(uid, loginName)
      const opened = await visit(login, cookie)
      if (opened.location === undefined) return opened
      const first = await visit(opened.location, cookie)
      const action = /<form id="login-form" action="([^"]+)"/.exec(first.text)?.[1]
      if (action === undefined) return first
      const { text } = await visit(action.replaceAll('&amp;', '&'), cookie)
      const fields = [...text.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)">/g)]
      const form = Object.fromEntries(fields.map(([, name = '', value = '']) => [name, value]))
      return visit(`${standIn.url}/login/v2/grant`, cookie, form)
    },
    deleteAll() {
      for (const token of appPasswords()) state.tokens.splice(state.tokens.indexOf(token), 1)
    },
    change({ start, poll }) {
      Object.assign(flow.changes, { start, poll })
    },
  }
}
