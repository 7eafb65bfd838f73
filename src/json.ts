/** An object of JSON, whose members may be anything. */
export type JsonObject = Record<string, unknown>

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns the object that a text is the JSON of; undefined if it is anything else. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isJsonObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Whether a value has lists and objects in each other, more than so many levels of them. Looks no deeper than that. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1))
}

/** Returns the bytes of the JSON of a value. */
export const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))

/** Returns the last items of a list that take no more than so many bytes of JSON together, the last one in any case, in their order. */
export function lastWithin<T>(items: readonly T[], most: number): readonly T[] {
  let first = Math.max(0, items.length - 1)
  let left = most - jsonBytes(items.slice(first))
  while (first > 0 && (left -= jsonBytes(items[first - 1]) + 1) >= 0) first -= 1
  return items.slice(first)
}
