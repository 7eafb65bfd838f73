/** Returns the bytes of the heap after all that can be freed was freed. The program must run with `--expose-gc`. */
export async function heap(): Promise<number> {
  for (let turn = 0; turn < 4; turn += 1) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
