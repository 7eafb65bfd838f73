import { defineConfig } from 'vitest/config'

/** The tests that import `src`: those of the built package would not see a mutant. */
export default defineConfig({
  test: {
    include: [
      'attacks',
      'broker',
      'connect',
      'events',
      'grants',
      'http',
      'mcp',
      'nextcloud',
      'transport',
      'verify',
    ].map((room) => `test/${room}/**/*.test.ts`),
    globalSetup: ['test/support/shared-servers.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    retry: 0,
  },
})
