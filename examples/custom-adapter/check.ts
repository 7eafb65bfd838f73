import assert from 'node:assert/strict'
import { storageContract } from 'mcp-nextcloud-auth/testing'
import { createTimeline } from '../demo/timeline.js'
import { Database, YourStorage } from './your-storage.js'

class ClosedDatabase extends Database {
  override transaction(): Promise<never> {
    return Promise.reject(new Error('The connection is closed'))
  }
}

// In your app these are the functions of your test runner; here they collect what is to be run.
const tests: { readonly name: string; readonly test: () => unknown }[] = []
const describe = (_name: string, group: () => void): void => group()
const it = (name: string, test: () => unknown): void => void tests.push({ name, test })

const database = new Database()
storageContract({ describe, it, assert }, () => new YourStorage(database), {
  unavailable: () => new YourStorage(new ClosedDatabase()),
})

const timeline = createTimeline(process.stdout)
for (const { name, test } of tests) {
  try {
    await test()
    timeline.check(name, true)
  } catch (error) {
    timeline.check(`${name}: ${error instanceof Error ? error.message : 'failed'}`, false)
  }
}
process.exitCode = timeline.summary() ? 0 : 1
