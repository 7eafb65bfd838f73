import { expect, it, vi } from 'vitest'
import { StorageError } from '../../src/errors/errors.js'
import { change } from '../../src/grants/change.js'

it('is attempted until no other writer is first', async () => {
  const attempt = vi.fn<() => Promise<undefined | 'late'>>().mockResolvedValueOnce('late').mockResolvedValueOnce('late')
  expect(await change('the grant', attempt)).toBeUndefined()
  expect(attempt).toHaveBeenCalledTimes(3)
})

it('is given up after ten attempts', async () => {
  const attempt = vi.fn(() => Promise.resolve('late' as const))
  await expect(change('the grant', attempt)).rejects.toThrow(new StorageError('Other writers keep changing the grant'))
  expect(attempt).toHaveBeenCalledTimes(10)
})
