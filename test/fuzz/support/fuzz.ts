import fc from 'fast-check'

/** Seconds for all targets together. */
const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 30)
const TARGETS = 30
const seed = process.env['FUZZ_SEED']
const path = process.env['FUZZ_PATH']

/**
 * Checks a property with as many inputs as there is time for. A failure prints the seed and the path that lead to the smallest input found:
 * `FUZZ_SEED=… FUZZ_PATH=… npx vitest run test/fuzz -t 'the title'` runs that one again.
 */
export async function fuzz<T>(property: fc.IAsyncProperty<T> | fc.IProperty<T>): Promise<void> {
  const checked = await fc.check(property as fc.IAsyncProperty<T>, {
    numRuns: 1_000_000,
    interruptAfterTimeLimit: (SECONDS * 1_000) / TARGETS,
    markInterruptAsFailure: false,
    ...(seed !== undefined && { seed: Number(seed) }),
    ...(path !== undefined && { path }),
  })
  // A machine so busy that not one input was tried has said nothing.
  if (checked.failed && checked.counterexample !== null) throw new Error(fc.defaultReportMessage(checked))
}

/** Any text: control characters, halves of surrogate pairs and combined letters too. */
export const anyText = (maxLength = 60) =>
  fc.oneof(fc.string({ unit: 'binary', maxLength }), fc.string({ unit: 'grapheme', maxLength }), surrogates(maxLength))

const surrogates = (maxLength: number) =>
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength }).map((units) => String.fromCharCode(...units))

/** Any JSON, and objects whose members have the given names and often values that are nearly right. */
export const anyJson = (members: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<unknown> =>
  fc.oneof({ arbitrary: nearly(members), weight: 4 }, { arbitrary: fc.jsonValue(), weight: 1 })

/** Objects of these members, of which some are absent and others are anything. */
export function nearly(
  members: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<Readonly<Record<string, unknown>>> {
  const odd = Object.entries(members).map(([name, value]) => [
    name,
    fc.oneof({ arbitrary: value, weight: 5 }, { arbitrary: fc.jsonValue({ maxDepth: 2 }), weight: 1 }),
  ])
  return fc.record(Object.fromEntries(odd) as Record<string, fc.Arbitrary<unknown>>, { requiredKeys: [] })
}

/** An object that is good but for one or two members. */
export const nearlyGood = (
  good: Readonly<Record<string, unknown>>,
  odd: fc.Arbitrary<Readonly<Record<string, unknown>>>,
): fc.Arbitrary<Readonly<Record<string, unknown>>> =>
  odd.chain((members) =>
    fc
      .subarray(Object.keys(members), { maxLength: Math.min(2, Object.keys(members).length) })
      .map((names) => ({ ...good, ...Object.fromEntries(names.map((name) => [name, members[name]])) })),
  )
