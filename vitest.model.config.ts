import { defineConfig } from 'vitest/config'

/** The model of the grants protocol at full length, which takes hours: `npm run model`. */
export default defineConfig({
  test: {
    include: ['test/model/**/*.test.ts'],
    env: {
      MODEL_COURSES: 'Infinity',
      MODEL_RUNS: process.env['MODEL_RUNS'] ?? '1000000',
      MODEL_SECONDS: process.env['MODEL_SECONDS'] ?? 'Infinity',
      MODEL_SEED: process.env['MODEL_SEED'] ?? String(Date.now() % 1_000_000_000),
    },
    maxWorkers: 2,
    testTimeout: 24 * 3_600_000,
    retry: 0,
  },
})
