import { createFailures, serveOnLoopback, type Loopback } from '../loopback.js'
import { appRoutes } from './apps.js'
import { davRoutes } from './dav.js'
import { isDecodable, nginx, notFound, readRequest, type Asked, type Told } from './exchange.js'
import { failureOf } from './failure.js'
import { ocsRoutes } from './ocs.js'
import type { NextcloudState } from './state.js'
import { status } from './status.js'

/** A request that came in, and what was answered. */
export interface FakeRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** The account that it was made for; undefined where it was refused. */
  readonly user: string | undefined
  readonly status: number
}

export interface NextcloudServer extends Loopback {
  readonly requests: readonly FakeRequest[]
  readonly failNext: (status: number, times?: number) => void
}

/** Starts a server that answers from a state. */
export async function serveNextcloud(state: NextcloudState): Promise<NextcloudServer> {
  const failures = createFailures()
  const requests: FakeRequest[] = []
  const { url, close } = await serveOnLoopback('fakeNextcloud', async (req) => {
    const asked = await readRequest(req)
    const failure = failures.next()
    const told = failure === undefined ? await answer(state, asked) : failureOf(asked, failure)
    const user = told.headers?.['x-user-id']
    requests.push({
      ...{ method: asked.method, path: asked.path, status: told.status },
      user: typeof user === 'string' ? user : undefined,
    })
    return told
  })
  return { url, close, requests, failNext: (failure, times = 1) => failures.add(failure, times) }
}

async function answer(state: NextcloudState, asked: Asked): Promise<Told> {
  if (!isDecodable(asked.path)) return nginx(400, '400 Bad Request')
  if (asked.path === '/status.php') return status()
  const route = { ...asked, path: asked.path.replace(/^\/index\.php(?=\/)/, '') }
  return (
    (await ocsRoutes(state, asked)) ?? (await davRoutes(state, asked)) ?? (await appRoutes(state, route)) ?? notFound()
  )
}
