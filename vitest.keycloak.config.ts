import { defineConfig } from 'vitest/config'

/** The suite against a real Keycloak, which needs Java: `npm run test:keycloak`. */
export default defineConfig({
  test: {
    include: ['test/keycloak/**/*.test.ts'],
    globalSetup: ['test/support/shared-servers.ts', 'test/keycloak/support/shared-keycloak.ts'],
    reporters: ['default', './test/support/closing-line-reporter.ts'],
    // Each file has realms of its own, and waits for Keycloak most of the time.
    maxWorkers: 3,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    retry: 0,
  },
})
