import { defineConfig } from 'vitest/config'

/** The fuzzers for ten minutes in all: `npm run fuzz`. */
export default defineConfig({
  test: {
    include: ['test/fuzz/**/*.test.ts'],
    env: { FUZZ_SECONDS: process.env['FUZZ_SECONDS'] ?? '600' },
    maxWorkers: 2,
    testTimeout: 24 * 3_600_000,
    retry: 0,
  },
})
