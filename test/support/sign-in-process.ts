import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { systemClock, type Clock } from '../../src/clock.js'
import { mcpAuth } from '../../src/index.js'
import { createNextcloudSignIn } from '../../src/nextcloud-sign-in/nextcloud-sign-in.js'
import { ENCRYPTION_KEY } from './grant-constants.js'
import { openStore, type StoreAddress } from './stores.js'

/** The program of a child process: instances of the sign-in server. See sign-in-instances.ts. */

export interface SignInInstanceOptions {
  readonly store: StoreAddress
  /** The public name of all instances. */
  readonly origin: string
  readonly nextcloud: { readonly url: string; readonly clientId: string; readonly clientSecret: string }
}

export type SignInOrder =
  | { readonly do: 'open'; readonly options: SignInInstanceOptions }
  /** Moves the clock of the sign-in servers. */
  | { readonly do: 'advance'; readonly ms: number }

/** Milliseconds after which it ends, whatever becomes of its parent. */
const LONGEST_LIFE = 900_000

let ahead = 0
const clock: Clock = {
  ...systemClock,
  now: () => systemClock.now() + ahead,
  monotonic: () => systemClock.monotonic() + ahead,
}

/** Opens an instance; its port. */
async function open({ store, origin, nextcloud }: SignInInstanceOptions): Promise<number> {
  const { adapter } = await openStore(store)
  const signIn = await createNextcloudSignIn(
    { resource: `${origin}/mcp`, nextcloud, storage: adapter, encryptionKey: ENCRYPTION_KEY },
    clock,
  )
  const auth = mcpAuth(signIn.options)
  const app = express()
  app.use(signIn.routes())
  app.use(auth.routes())
  app.get('/mcp', auth, (req, res, next) => {
    auth.nextcloudUser(req.mcpAuth).then((user) => res.json({ id: user.id, pid: process.pid }), next)
  })
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

function obey(order: SignInOrder): number | Promise<number> {
  if (order.do === 'open') return open(order.options)
  return (ahead += order.ms)
}

process.on('message', (order: SignInOrder) => {
  Promise.resolve(obey(order)).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit())
setTimeout(() => process.exit(), LONGEST_LIFE).unref()
process.send?.({ result: 0 })
