import type { Page, Tone } from './document.js'
import type { markup, Markup } from './markup.js'

/** The parts that every page shares. */
export interface Frame {
  readonly server: Markup
  readonly nextcloud: Markup
  /** A sentence on what follows a "yes". */
  readonly next: Markup
  /** Returns the tag of the template that holds the content of a page. */
  readonly page: (status: number, title: string, tone: Tone) => (...content: Parameters<typeof markup>) => Page
}
