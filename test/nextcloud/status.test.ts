import { expect, it } from 'vitest'
import type { Contact } from '../../src/contact.js'
import { lookAtNextcloud } from '../../src/nextcloud/status.js'

it.each([
  ['says that it serves', '{"installed":true,"maintenance":false,"needsDbUpgrade":false}', 200, 0],
  ['is under maintenance', '{"installed":true,"maintenance":true,"needsDbUpgrade":false}', 200, 1],
  ['says something that is no status', '<h1>Hello</h1>', 200, 0],
  ['does not trust the name', '<h1>Access through untrusted domain</h1>', 400, 1],
])('a Nextcloud that %s is noted so', async (_, body, status, failures) => {
  let failed = 0
  const contact = { failed: () => void (failed += 1) } as Contact

  await lookAtNextcloud(
    { base: 'https://cloud.example.com/' },
    { askNextcloud: () => Promise.resolve(new Response(body, { status })) },
    contact,
  )

  expect(failed).toBe(failures)
})
