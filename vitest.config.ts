import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // They have configurations of their own: vitest.keycloak.config.ts, vitest.nextcloud.config.ts, vitest.soak.config.ts.
    exclude: ['**/node_modules/**', 'test/keycloak/**', 'test/real-nextcloud/**', 'test/soak/**'],
    globalSetup: ['test/support/shared-servers.ts'],
    reporters: ['default', './test/support/closing-line-reporter.ts'],
    // Most files wait for servers, stores and browsers rather than for the processor.
    maxWorkers: 3,
    // Generous, since it only ends what hangs: a busy machine is no failure.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    // A flaky test is a defect: it is not run again.
    retry: 0,
  },
})
