import { createFile, createFolder, fill, find, namesOf, type Folder } from './nextcloud/files.js'
import { serveNextcloud, type FakeRequest } from './nextcloud/server.js'
import { addAccount, addProvider, addToken, createState } from './nextcloud/state.js'
import type { Account, NextcloudState } from './nextcloud/state.js'

export type { FakeRequest } from './nextcloud/server.js'

/** Options of {@link fakeNextcloud}. */
export interface FakeNextcloudOptions {
  /** The provider whose tokens it takes, a {@link FakeProvider} or another. Default: none; app passwords are taken anyway. */
  readonly provider?:
    | {
        readonly issuer: string
        /** Nextcloud's client id there, which has to be in `aud`. Default: `nextcloud`. */
        readonly audience?: string | undefined
        /** The claim that is the user id, as user_oidc has it with `--mapping-uid=NAME --unique-uid=0`. Default: `sub`. */
        readonly uid?: string | undefined
      }
    | undefined
}

/** A note of the app Notes. */
export interface FakeNote {
  readonly id: number
  readonly title: string
  readonly content: string
  readonly category: string
}

/** An account of a {@link FakeNextcloud}. */
export interface FakeAccount {
  readonly id: string
  /** Returns a new app password, for Basic with the id. */
  readonly appPassword: () => string
  /** Adds a note. */
  readonly addNote: (note: {
    readonly title: string
    readonly content?: string
    readonly category?: string
  }) => FakeNote
  readonly notes: () => readonly FakeNote[]
  /** Writes a file, and makes the folders that it is in. */
  readonly writeFile: (path: string, content: string | Uint8Array) => void
  /** Returns the content of a file as text; undefined where there is none. */
  readonly readFile: (path: string) => string | undefined
  /** Disables the account: Nextcloud refuses it from now on. */
  readonly disable: () => void
}

/** A Nextcloud for tests, as {@link fakeNextcloud} starts it. */
export interface FakeNextcloud {
  readonly url: string
  /** Returns an account, which is made where there is none. Whoever comes with a good token has one at once. */
  readonly account: (
    id: string,
    given?: { readonly displayName?: string; readonly email?: string; readonly password?: string },
  ) => FakeAccount
  /** Every request, in order. */
  readonly requests: readonly FakeRequest[]
  /**
   * Lets requests fail, in the words of Nextcloud.
   *
   * @param status from 400 to 599
   * @param times requests that fail. Default: 1. `nextcloudFetch` tries once more after a 401, so that one alone does not show.
   * @throws RangeError for another status
   */
  readonly failNext: (status: number, times?: number) => void
  /** Stops it, and ends its connections. */
  readonly close: () => Promise<void>
}

/**
 * Starts a Nextcloud on 127.0.0.1, on a port that is free, for the tests of an app: OCS (user, capabilities), WebDAV (files and
 * uploads in chunks) and the API of Notes. Its answers, refusals included, are held to recorded ones of Nextcloud 32. It has no
 * sign-in page, no Login Flow and no calendar. It keeps no process alive.
 *
 * @throws Error where `NODE_ENV` is `production`
 *
 * @example
 * import { mcpAuth } from 'mcp-nextcloud-auth'
 * import { fakeNextcloud, fakeProvider } from 'mcp-nextcloud-auth/testing'
 *
 * const provider = await fakeProvider()
 * const nextcloud = await fakeNextcloud({ provider })
 * const auth = mcpAuth({ ...provider.options, nextcloud: { url: nextcloud.url } })
 * nextcloud.account('alice').writeFile('Documents/plan.md', '# Plan')
 */
export async function fakeNextcloud({ provider }: FakeNextcloudOptions = {}): Promise<FakeNextcloud> {
  const state = createState()
  if (provider !== undefined)
    addProvider(state, { issuer: provider.issuer, clientId: provider.audience ?? 'nextcloud', uid: provider.uid })
  const { url, requests, failNext, close } = await serveNextcloud(state)
  return {
    url,
    account: (id, given) => accountOf(state, addAccount(state, id, given)),
    requests,
    failNext,
    close,
  }
}

function accountOf(state: NextcloudState, account: Account): FakeAccount {
  const { uid: id, notes, files } = account
  return {
    id,
    appPassword: () => addToken(state, { kind: 'app-password', uid: id, name: 'test' }).password,
    addNote({ title, content = '', category = '' }) {
      const modified = Math.floor(state.now() / 1_000)
      const note = { id: state.nextId(), title, content, category, modified }
      notes.push(note)
      return { ...note }
    },
    notes: () => notes.map((note) => ({ ...note })),
    writeFile: (path, content) => write(files, path, Buffer.from(content)),
    readFile(path) {
      const node = find(files, namesOf(path))
      return node?.kind === 'file' ? node.content.toString() : undefined
    },
    disable() {
      account.enabled = false
    },
  }
}

function write(root: Folder, path: string, content: Buffer): void {
  const names = namesOf(path)
  const name = names.pop()
  if (name === undefined) throw new TypeError('The path of a file has a name')
  let folder = root
  for (const each of names) {
    const node = folder.children.get(each) ?? createFolder()
    if (node.kind === 'file') throw new TypeError('A part of the path is a file')
    folder.children.set(each, node)
    folder = node
  }
  const before = folder.children.get(name)
  if (before?.kind === 'folder') throw new TypeError('There is a folder of that name')
  folder.children.set(name, before === undefined ? createFile(content) : fill(before, content))
}
