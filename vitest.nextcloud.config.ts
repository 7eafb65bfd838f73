import { defineConfig } from 'vitest/config'

/** The suite for a real Nextcloud, which runs on the stand-in where there is none: `npm run test:nextcloud`. */
export default defineConfig({
  test: {
    include: ['test/real-nextcloud/**/*.test.ts'],
    globalSetup: ['test/support/shared-servers.ts', 'test/real-nextcloud/support/keycloak.ts'],
    reporters: ['default', './test/support/closing-line-reporter.ts'],
    // They share one Nextcloud, and switch its settings.
    fileParallelism: false,
    // The first request of an account makes its home, which takes its time.
    testTimeout: 120_000,
    hookTimeout: 300_000,
    retry: 0,
  },
})
