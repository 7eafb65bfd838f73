import { it } from 'vitest'

/** A test that takes too long for each of some hundred mutants: the slow part of `npm run mutation` runs it. */
export const slowly = process.env['MUTATION_TESTS'] === 'quick' ? it.skip : it
