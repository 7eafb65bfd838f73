import { createHash } from 'node:crypto'

/**
 * The one stylesheet of every page. All text scales with the browser's own size, and nothing moves.
 *
 * What starts something takes no pointer for the first 0.7 s: another site may have this page appear under the second click of a double
 * click. That is an animation which shows nothing, so it runs for people who want less motion as well. The keyboard works at once.
 *
 * On a phone the buttons of a page's own form stay in sight, however long the names and the list of scopes above them.
 */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --ground: #eef2f7;
  --card: #fff;
  --text: #18212e;
  --quiet: #4c586a;
  --line: #d7dee8;
  --edge: #75829a;
  --accent: #1557b0;
  --accent-strong: #0e4490;
  --on-accent: #fff;
  --tint: #e6effb;
  --good: #17683c;
  --good-tint: #e0f3e7;
  --care: #8a4b00;
  --care-tint: #fdf0dc;
  --shadow: 0 1px 2px rgb(24 33 46 / 8%), 0 12px 32px rgb(24 33 46 / 8%);
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #10151c;
    --card: #1a212b;
    --text: #e9edf3;
    --quiet: #adb8c7;
    --line: #323c4a;
    --edge: #7d8a9d;
    --accent: #8fbcff;
    --accent-strong: #b4d2ff;
    --on-accent: #0a1a30;
    --tint: #22324a;
    --good: #7fd6a2;
    --good-tint: #1c3a2a;
    --care: #f4bd70;
    --care-tint: #3d2e18;
    --shadow: 0 12px 32px rgb(0 0 0 / 35%);
  }
}
*, ::before, ::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0;
  min-height: 100vh;
  display: grid;
  place-items: center;
  padding: 1rem;
  background: var(--ground);
  color: var(--text);
  font: 1rem/1.55 -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, sans-serif;
  overflow-wrap: anywhere;
}
main {
  width: 100%;
  max-width: 31rem;
  padding: min(2.5rem, 6vw);
  background: var(--card);
  border: 1px solid var(--line);
  border-radius: 1rem;
  box-shadow: var(--shadow);
}
.badge {
  display: grid;
  place-items: center;
  width: 3.5rem;
  height: 3.5rem;
  margin-bottom: 1.25rem;
  border-radius: 1rem;
  background: var(--tint);
  color: var(--accent);
}
.badge.good { background: var(--good-tint); color: var(--good); }
.badge.care { background: var(--care-tint); color: var(--care); }
.badge svg { width: 2.25rem; height: 2.25rem; }
h1 { margin: 0 0 0.75rem; font-size: 1.625rem; line-height: 1.25; letter-spacing: -0.01em; text-wrap: balance; }
h2 { margin: 0 0 0.5rem; font-size: 1rem; }
p, ul, ol { margin: 0 0 1rem; }
main > :last-child, section > :last-child, .note > :last-child { margin-bottom: 0; }
ul, ol { padding-left: 1.25rem; }
li + li { margin-top: 0.375rem; }
strong { font-weight: 600; }
.quiet { color: var(--quiet); }
code {
  display: inline-block;
  max-width: 100%;
  vertical-align: top;
  padding: 0 0.35em;
  border-radius: 0.3em;
  background: var(--tint);
  font: 0.9em/1.72 ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace;
}
pre { margin: 0 0 1rem; white-space: pre-wrap; }
pre code { display: block; padding: 0.5em 0.75em; border-radius: 0.6em; }
a { color: var(--accent); text-underline-offset: 0.15em; }
.facts { margin: 0 0 1.25rem; border: 1px solid var(--line); border-radius: 0.75rem; }
.facts > div { display: grid; grid-template-columns: 7rem minmax(0, 1fr); gap: 0 0.75rem; padding: 0.625rem 1rem; }
.facts > div + div { border-top: 1px solid var(--line); }
.facts dt { color: var(--quiet); }
.facts dd { margin: 0; font-weight: 600; }
.facts ul { margin: 0; font-weight: 400; }
.note {
  margin: 0 0 1.5rem;
  padding: 0.75rem 1rem;
  border-left: 0.25rem solid var(--care);
  border-radius: 0.25rem 0.75rem 0.75rem 0.25rem;
  background: var(--care-tint);
}
.note.done { border-color: var(--good); background: var(--good-tint); }
.apps { margin: 0; padding: 0; list-style: none; }
.apps > li { padding: 1rem; border: 1px solid var(--line); border-radius: 0.75rem; }
.apps > li + li { margin-top: 0.75rem; }
.apps > li > :last-child { margin-bottom: 0; }
h3 { margin: 0; font-size: 1rem; }
section { margin-top: 1.5rem; padding-top: 1.5rem; border-top: 1px solid var(--line); }
form { margin: 0; }
.answers { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 0; }
section + .answers, .apps + p { margin-top: 0.75rem; }
button, .go, .more {
  flex: 1 1 9rem;
  display: inline-flex;
  align-items: center;
  justify-content: center;
  min-height: 3rem;
  min-width: 3rem;
  padding: 0.625rem 1.25rem;
  border: 1px solid var(--edge);
  border-radius: 0.75rem;
  background: transparent;
  color: var(--text);
  font: inherit;
  font-weight: 600;
  text-align: center;
  text-decoration: none;
  cursor: pointer;
}
button, .go { animation: no-pointer 700ms; }
@keyframes no-pointer { from, to { pointer-events: none; } }
button:hover { background: var(--tint); }
button.primary, .go { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
button.primary:hover, .go:hover { border-color: var(--accent-strong); background: var(--accent-strong); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 0.5rem; }
.more:hover { background: var(--tint); }
button:focus-visible, .go:focus-visible, .more:focus-visible { border-radius: 0.75rem; }
.server { margin: 1.5rem 0 0; color: var(--quiet); font-size: 0.875rem; }
@media (max-width: 30rem) {
  body { padding: 0; place-items: stretch; background: var(--card); }
  main { max-width: none; border: 0; border-radius: 0; box-shadow: none; }
  .badge { width: 2.5rem; height: 2.5rem; margin-bottom: 0.75rem; border-radius: 0.75rem; }
  .badge svg { width: 1.75rem; height: 1.75rem; }
  .facts > div { grid-template-columns: 6rem minmax(0, 1fr); padding: 0.5rem min(1rem, 4vw); }
  .facts ul { padding-left: min(1.25rem, 5vw); }
  button, .go { flex-basis: 7rem; padding-inline: 0.5rem; }
  .more { flex-basis: 100%; }
}
@media (max-width: 20rem) {
  .facts > div { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 30rem) and (min-height: 32rem) {
  main > .facts + form, main > .facts + .note + form { position: sticky; bottom: 0; margin-inline: -0.25rem; padding: 0.75rem 0.25rem; background: var(--card); }
}
@media (prefers-reduced-motion: no-preference) {
  button, .go { transition: background-color 120ms, border-color 120ms; }
}
@media (forced-colors: active) {
  .badge, .note { border: 1px solid; }
}
`

/** The source that the Content-Security-Policy allows: this very stylesheet, and no other. */
export const PAGE_STYLE_SOURCE = `'sha256-${createHash('sha256').update(PAGE_STYLE).digest('base64')}'`
