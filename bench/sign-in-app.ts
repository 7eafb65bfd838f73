/** A program, to be run with `--expose-gc`: a process of the sign-in server. Says its port, its heap when asked, and ends with its parent. */
import type { AddressInfo } from 'node:net'
import express from 'express'
import { mcpAuth } from '../dist/index.js'
import { nextcloudSignIn } from '../dist/nextcloud-sign-in/nextcloud-sign-in.js'
import { openStore, type StoreAddress } from '../test/support/stores.js'
import { heap } from './heap.js'

export interface SignInApp {
  readonly origin: string
  readonly nextcloud: { readonly url: string; readonly clientId: string; readonly clientSecret: string }
  readonly store: StoreAddress
  readonly encryptionKey: string
}

const { origin, nextcloud, store, encryptionKey } = JSON.parse(process.argv[2] ?? '') as SignInApp
process.on('disconnect', () => process.exit())
const { adapter } = await openStore(store)
const signIn = await nextcloudSignIn({ resource: `${origin}/mcp`, nextcloud, storage: adapter, encryptionKey })
const auth = mcpAuth(signIn.options)
const app = express()
app.use(signIn.routes())
app.use(auth.routes())
const server = app.listen(0, '127.0.0.1', () => {
  process.send?.((server.address() as AddressInfo).port)
})
process.on('message', () => void heap().then((bytes) => process.send?.(bytes)))
