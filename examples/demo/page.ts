import { createHash } from 'node:crypto'

const STYLE = `
:root { color-scheme: light dark; --ground: #eef2f7; --card: #fff; --text: #18212e; --quiet: #4c586a; --line: #d7dee8; --accent: #1557b0; --tint: #e6effb }
@media (prefers-color-scheme: dark) {
  :root { --ground: #10151c; --card: #1a212b; --text: #e9edf3; --quiet: #adb8c7; --line: #323c4a; --accent: #8fbcff; --tint: #22324a }
}
* { box-sizing: border-box }
body {
  margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem; overflow-wrap: anywhere;
  background: var(--ground); color: var(--text); font: 1rem/1.55 system-ui, sans-serif;
}
main { width: 100%; max-width: 36rem; padding: min(2.5rem, 6vw); background: var(--card); border: 1px solid var(--line); border-radius: 1rem }
h1 { margin: 0 0 .75rem; font-size: 1.625rem; line-height: 1.25 }
h2 { margin: 1.5rem 0 .5rem; font-size: 1rem }
code { padding: 0 .35em; border-radius: .3em; background: var(--tint); font: .9em/1.7 ui-monospace, monospace }
pre { margin: 0 0 1rem; white-space: pre-wrap }
pre code { display: block; padding: .5em .75em }
a { color: var(--accent) }
dt { color: var(--quiet) }
dd { margin: 0 0 .75rem }
button {
  min-height: 3rem; margin-right: .5rem; padding: .625rem 1.25rem; border: 1px solid var(--accent); border-radius: .75rem;
  background: transparent; color: inherit; font: inherit; font-weight: 600; cursor: pointer;
}
`

/** The Content-Security-Policy of these pages: their own stylesheet, forms to where they are from, and nothing else. */
export const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')

/** A page in the look of the connect pages, without a script. */
export function page(title: string, content: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${content}
</main>
</body>
</html>
`
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
