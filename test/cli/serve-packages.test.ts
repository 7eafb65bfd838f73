import { expect, it } from 'vitest'
import { installCommand, missingPackages } from '../../src/cli/serve-packages.js'

it('names the packages that are not there', async () => {
  expect(await missingPackages(['express', 'a-package-that-is-not-there', 'zod'])).toEqual([
    'a-package-that-is-not-there',
  ])
  expect(await missingPackages()).toEqual([])
})

it('installs all with this package, and the driver only where it is needed', () => {
  expect(installCommand(['express'])).toMatch(/^npm install mcp-nextcloud-auth oidc-provider@9 .*express@5 .*zod@4$/)
  expect(installCommand(['better-sqlite3'])).toMatch(/zod@4 better-sqlite3@12$/)
})
