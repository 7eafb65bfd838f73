import { defineConfig } from 'vitest/config'

/** Too slow for each of some hundred mutants: only those that no other test sees are shown to these. */
const SLOW = [
  'attacks/corpus',
  'attacks/refused-refreshes',
  'attacks/standstill',
  'broker/deletions',
  'broker/modes/shared-exchange',
  'connect/another-account',
  'connect/nextcloud-oauth2-app',
  'connect/overview',
  'mcp/texts',
  'nextcloud/nextcloud-timeout',
]
/** What it shows are pages in a browser, which a test of the texts reads, too. */
const NEVER = ['connect/pages/pages.browser']

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
    exclude: [...NEVER, ...(process.env['MUTATION_TESTS'] === 'all' ? [] : SLOW)].map((file) => `test/${file}.test.ts`),
    globalSetup: ['test/support/shared-servers.ts'],
    // Modules are read once for all of them.
    isolate: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    retry: 0,
  },
})
