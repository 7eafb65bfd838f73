import { afterPatience, systemClock } from '../clock.js'

/** Bytes of a 401 that are read for Nextcloud's own word. Its answers have a few hundred. */
const MOST_READ = 65_536
/** `OCP\AppFramework\OCSController::RESPOND_UNAUTHORISED`. */
const OCS_UNAUTHORISED = 997
const OCS_OK = 200
/** `OCS_UNAUTHORISED` in XML. */
const OCS_XML = /^\s*(?:<\?xml[^>]*>\s*)?<ocs>[\s\S]*<statuscode>997<\/statuscode>/
const OCS_XML_MESSAGE = /<message>([^<]*)<\/message>/
/**
 * Messages of Nextcloud's own sign-in (ocs/v1.php, NotLoggedInException), which are never translated. An app that has a sign-in of its own
 * says 997, too, with a message of its own (AppAPI), and means another credential.
 */
const OCS_MESSAGES: readonly unknown[] = [undefined, 'Unauthorised', 'Current user is not logged in']
/** Sabre\DAV\Auth\Backend\AbstractBasic. Without its words the header has not got to Nextcloud, which has judged nothing then. */
const DAV = [
  '<s:exception>Sabre\\DAV\\Exception\\NotAuthenticated</s:exception>',
  'Username or password was incorrect',
] as const
/** Messages of app routes to Basic authentication that failed. Anybody's without one is "Current user is not logged in". */
const APP_MESSAGES: readonly unknown[] = ['', 'Account disabled']

/**
 * Whether a 401 is Nextcloud's own word that the app password is refused: of OCS, WebDAV or an app route. The answer can still be
 * read as a whole.
 *
 * @param patience milliseconds to wait for its body
 */
export async function isRefusal(answer: Response, patience: number): Promise<boolean> {
  const text = await readText(answer.clone().body, patience)
  return text !== undefined && (isInDav(text) || isInXml(text) || isInJson(text))
}

function isInDav(text: string): boolean {
  const [exception, message] = DAV
  const at = text.indexOf(exception)
  return at >= 0 && text.includes(message, at)
}

function isInXml(text: string): boolean {
  return OCS_XML.test(text) && OCS_MESSAGES.includes(OCS_XML_MESSAGE.exec(text)?.[1])
}

/** Whether an answer of OCS says that it knows no such user. */
export function isOcsRefusal(answer: unknown): boolean {
  return ocsMeta(answer)?.statuscode === OCS_UNAUTHORISED && OCS_MESSAGES.includes(ocsMeta(answer)?.message)
}

/** Whether an answer of OCS (v2) says that it did what it was asked to do. A proxy may answer anything with 200. */
export const isOcsDone = (answer: unknown): boolean => ocsMeta(answer)?.statuscode === OCS_OK

interface OcsMeta {
  readonly statuscode?: unknown
  readonly message?: unknown
}

function ocsMeta(answer: unknown): OcsMeta | null | undefined {
  const { ocs } = (answer ?? {}) as { readonly ocs?: { readonly meta?: OcsMeta | null } | null }
  return ocs?.meta
}

function isInJson(text: string): boolean {
  const answer = parse(text)
  if (typeof answer !== 'object' || answer === null) return false
  return (
    isOcsRefusal(answer) || (Object.keys(answer).length === 1 && APP_MESSAGES.includes(Reflect.get(answer, 'message')))
  )
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** Returns the whole text; undefined if it is too long, too late, or breaks off. */
async function readText(body: Response['body'], patience: number): Promise<string | undefined> {
  if (body === null) return undefined
  const reader = body.getReader()
  const timing = { late: false }
  // Not waited for: it resolves when the other branch of the answer is read or given up too.
  const stop = (): void => void reader.cancel().catch(() => undefined)
  const cancel = afterPatience(systemClock, patience, () => {
    timing.late = true
    stop()
  })
  try {
    const chunks: Uint8Array[] = []
    for (let length = 0; ;) {
      const chunk = await reader.read()
      if (chunk.done) return timing.late ? undefined : Buffer.concat(chunks).toString()
      const bytes = chunk.value as Uint8Array
      length += bytes.byteLength
      if (length > MOST_READ) {
        stop()
        return undefined
      }
      chunks.push(bytes)
    }
  } catch {
    return undefined
  } finally {
    cancel()
  }
}
