/** A program, to be run with `--expose-gc`: tells the memory that the caches take, and ends with its parent. */
import { mcpAuth } from '../dist/index.js'
import { heap } from './heap.js'
import { createSigner, inProcess, ISSUER } from './tokens.js'

export interface MemoryFigures {
  readonly bytesPerUser: number
  /** Heap bytes when the caches had just been filled twice over. */
  readonly full: number
  readonly end: number
}

const USERS = 10_000
const AT_ONCE = 50
const distinct = Number(process.argv[2])
process.on('disconnect', () => process.exit())

const signer = await createSigner(ISSUER, 'ES256')
const auth = mcpAuth(inProcess(signer.keys, { life: 7_200 }).options)
let user = 0

async function serveUsers(count: number): Promise<void> {
  for (let served = 0; served < count; served += AT_ONCE) {
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        user += 1
        const { extra } = await auth.verify(await signer.mint({ sub: `user-${user}` }))
        await extra.getNextcloudToken()
      }),
    )
  }
}

// Objects that are made once, and the code that the engine compiles, belong to no user.
await serveUsers(2_000)
const before = await heap()
await serveUsers(USERS - 2_000)
const bytesPerUser = ((await heap()) - before) / (USERS - 2_000)
await serveUsers(USERS)
const full = await heap()
await serveUsers(distinct - 2 * USERS)
process.send?.({ bytesPerUser, full, end: await heap() } satisfies MemoryFigures)
