import { defineConfig } from 'vitest/config'

/** Too slow for each of some hundred mutants: only those that no other test sees are shown to these. */
const SLOW = [
  'attacks/corpus',
  'attacks/refused-refreshes',
  'attacks/standstill',
  'connect/another-account',
  'connect/nextcloud-oauth2-app',
  'mcp/texts',
  'nextcloud/nextcloud-timeout',
]
/** Some tests of these are too slow: see `slowly`. */
const PARTLY_SLOW = ['broker/deletions', 'broker/modes/shared-exchange', 'connect/overview']
/** Pages in a browser, which a test of the texts reads, too; processes of the built package, which has no mutant. */
const NEVER = ['connect/pages/pages.browser', 'serve/backup', 'serve/serve-process']

const ROOMS = ['attacks', 'broker', 'connect', 'events', 'grants', 'http', 'mcp', 'nextcloud', 'transport', 'verify']
/** Rooms whose tests need these rooms, too. */
const OTHER_ROOMS = ['config', 'model', 'nextcloud-sign-in', 'providers', 'serve', 'telemetry']
const SLOWLY = process.env['MUTATION_TESTS'] === 'slow'
const inRoom = (room: string): string => `${room}/**/*`
const files = (names: readonly string[]): string[] => names.map((name) => `test/${name}.test.ts`)

/** The tests that import `src`: those of the built package would not see a mutant. */
export default defineConfig({
  test: {
    include: files(SLOWLY ? [...SLOW, ...PARTLY_SLOW, ...OTHER_ROOMS.map(inRoom)] : ROOMS.map(inRoom)),
    exclude: files(SLOWLY ? NEVER : [...NEVER, ...SLOW]),
    globalSetup: ['test/support/shared-servers.ts'],
    // Modules are read once for all of them.
    isolate: false,
    testTimeout: 300_000,
    hookTimeout: 300_000,
    retry: 0,
  },
})
