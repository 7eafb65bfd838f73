import { readFileSync } from 'node:fs'
import { createConnection } from 'mysql2/promise'
import pg from 'pg'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createInstanceProcesses, type Instance, type InstanceProcess } from '../support/instances.js'
import { createRealStores, startScene, storeKinds, type Scene } from '../support/scene.js'
import { CLIENT_SECRET } from '../support/scripted-authorization-server.js'
import type { StoreAddress } from '../support/stores.js'

const ALICE = 'alice@people.example.com'
const BOB = 'bob@people.example.com'

const stores = createRealStores()
const processes = createInstanceProcesses()
let process: InstanceProcess
beforeAll(async () => {
  process = await processes.start()
})
afterAll(async () => {
  await processes.end()
  stores.remove()
})

describe.each(storeKinds())('what is stored in %s', (kind) => {
  let address: StoreAddress
  let scene: Scene
  let instance: Instance
  beforeAll(async () => {
    address = await stores.address(kind)
    // A database of its own, for a dump of nothing else.
    if (address.kind === 'Redis') address = { ...address, url: `${address.url}/7` }
    scene = await startScene({ store: address })
    instance = await scene.open(process)
  })
  afterAll(async () => {
    await instance.close()
    await scene.close()
  })

  it('names no user, and holds neither refresh token nor access token in plain text', async () => {
    const first = await scene.connect(ALICE)
    const [outcome] = await instance.call(1, ALICE)
    const { tokens } = scene.refreshTokens.familyOf(first)
    const dump = await dumpOf(address)

    expect(dump).toContain(scene.keyOf(ALICE))
    const secrets = [...tokens, outcome?.token, ALICE, scene.as.issuer, CLIENT_SECRET]
    expect(secrets.filter((secret) => secret === undefined || dump.includes(secret))).toEqual([])
    // Nor in the encodings that a value may be in.
    const encoded = tokens.flatMap((token) => ['base64', 'base64url', 'hex'].map((form) => inForm(token, form)))
    expect(encoded.filter((text) => dump.includes(text))).toEqual([])
  })

  it('opens for nobody else: a row that was copied to another user’s key is an error, and nothing is handed out', async () => {
    const { adapter, keyOf, refreshTokens } = scene
    await scene.connect(ALICE)
    await scene.connect(BOB)
    const before = refreshTokens.presented.length
    const ofAlice = await adapter.get(keyOf(ALICE))
    const ofBob = await adapter.get(keyOf(BOB))
    const copied = await adapter.put(keyOf(BOB), ofAlice!.value, ofBob!.version)

    const outcomes = await instance.call(3, BOB)

    expect(new Set(outcomes.map(({ failure }) => failure))).toEqual(new Set(['500 ERR_STORAGE_SEALED']))
    expect(refreshTokens.presented).toHaveLength(before)
    expect(await adapter.get(keyOf(BOB))).toEqual({ value: ofAlice!.value, version: copied })
  })
})

function inForm(token: string, form: string): string {
  // Without the last group, which depends on what comes next.
  return Buffer.from(token)
    .subarray(0, 30)
    .toString(form as BufferEncoding)
}

/** All that is in a store, as text. */
async function dumpOf(address: StoreAddress): Promise<string> {
  if (address.kind === 'SQLite') {
    return [address.file, `${address.file}-wal`].map((file) => readFileSync(file, 'latin1')).join('')
  }
  if (address.kind === 'Redis') {
    const client = await createClient({ url: address.url }).connect()
    const keys = await client.keys('*')
    const types = await Promise.all(keys.map((key) => client.type(key)))
    // Tests that run at the same time have lists there, to see them refused.
    const values = await Promise.all(keys.filter((_, index) => types[index] === 'string').map((key) => client.get(key)))
    client.destroy()
    return [...keys, ...values].join('\n')
  }
  if (address.kind === 'MariaDB') {
    const connection = await createConnection(address.url)
    const [rows] = await connection.query('SELECT * FROM mcp_nextcloud_auth')
    await connection.end()
    return (rows as object[]).map((row) => Object.values(row).map(String).join()).join('\n')
  }
  const client = new pg.Client({ connectionString: address.url })
  await client.connect()
  const { rows } = await client.query<{ row: string }>('SELECT entry::text AS row FROM mcp_nextcloud_auth AS entry')
  await client.end()
  return rows.map(({ row }) => row).join('\n')
}
