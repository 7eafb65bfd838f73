/** Characters. What is longer is no misspelt option, and would cost time. */
const LONGEST = 40
/** Letters that may be wrong in a name, at most; in a short one fewer. */
const MOST_WRONG = 3
const LETTERS_PER_MISTAKE = 3

/** The name that was most likely meant, for an error message; undefined when none is near. */
export function nearName(given: string, names: readonly string[]): string | undefined {
  if (given.length > LONGEST) return undefined
  const letters = plain(given)
  let nearest: string | undefined
  let tolerated = Math.min(MOST_WRONG, Math.floor(letters.length / LETTERS_PER_MISTAKE))
  for (const name of names) {
    const wrong = editDistance(letters, plain(name))
    if (wrong > tolerated) continue
    nearest = name
    // From now on only what is nearer.
    tolerated = wrong - 1
  }
  return nearest
}

/** `jwks_uri` and `jwksURI` are ways to write `jwksUri`. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z\d]/g, '')
}

/** Letters to put in, leave out or replace (Levenshtein). */
function editDistance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index)
  for (const [index, letter] of Array.from(one).entries()) {
    const next = [index + 1]
    for (const [at, otherLetter] of Array.from(other).entries()) {
      const replaced = (row[at] ?? 0) + (letter === otherLetter ? 0 : 1)
      next.push(Math.min(replaced, (row[at + 1] ?? 0) + 1, (next[at] ?? 0) + 1))
    }
    row = next
  }
  return row.at(-1) ?? 0
}
