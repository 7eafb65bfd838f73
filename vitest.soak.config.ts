import { defineConfig } from 'vitest/config'

/** Faults for a long time: `npm run soak`, for twenty minutes or `SOAK_SECONDS`. */
export default defineConfig({
  test: { include: ['test/soak/**/*.test.ts'], reporters: ['verbose'], retry: 0 },
})
