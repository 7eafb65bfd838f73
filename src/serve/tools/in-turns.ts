/** Returns what is in the lists: the first of each list, then the second of each, and so on. */
export function inTurns<T>(lists: readonly (readonly T[])[]): T[] {
  const taken: T[] = []
  for (let left = lists, turn = 0; left.length > 0; turn += 1) {
    left = left.filter(({ length }) => length > turn)
    for (const list of left) taken.push(list[turn] as T)
  }
  return taken
}
