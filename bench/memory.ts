import type { Form, Measurement } from './figures.js'
import type { MemoryFigures } from './memory-app.js'
import { resultOf } from './processes.js'

/** The memory that a user takes, and its growth when the caches are full. */
export async function measureMemory({ quick }: Form): Promise<Measurement[]> {
  const tokens = quick ? 40_000 : 2_000_000
  const { bytesPerUser, full, end } = await resultOf<MemoryFigures>('memory-app.ts', [String(tokens)], ['--expose-gc'])
  return [
    {
      id: 'memory-user',
      work: 'a cached user: verified token and Nextcloud token',
      figure: 'heap bytes',
      values: [bytesPerUser],
      goal: { atMost: 4_096 },
      places: 0,
    },
    {
      id: 'memory-flat',
      work: `${tokens.toLocaleString('en-US')} distinct tokens`,
      figure: 'heap at the end ÷ heap when the caches were full',
      values: [end / full],
      goal: { atMost: 1.05 },
    },
  ]
}
