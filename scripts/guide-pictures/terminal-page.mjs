// A page that shows what terminals show.
import { colors } from './page-colors.mjs'

/** One or several screens, one below the other. */
export function terminalPage(...screens) {
  return `<!doctype html><meta charset="utf-8"><style>${colors}
    #picture { display: inline-block; padding: 2px; }
    .terminal { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px; }
    .terminal + .terminal { margin-top: 10px; }
    pre { margin: 0; font: 14px/1.4 "DejaVu Sans Mono", monospace; color: var(--ink); }
    .bold { font-weight: bold; } .dim { color: var(--faint); } .inverse { background: var(--ink); color: var(--paper); }
    .color1 { color: var(--red); } .color2 { color: var(--green); } .color3 { color: var(--yellow); }
    .color4 { color: var(--blue); } .color5 { color: var(--violet); } .color6 { color: var(--cyan); }
  </style><div id="picture">${screens.map(screen => `<div class="terminal"><pre>${markup(screen)}</pre></div>`).join('')}</div>`
}

function markup({ rows }) {
  return rows.map(row => runs(row).map(span).join('')).join('\n')
}

/** Neighbours of one style. */
function runs(row) {
  const found = []
  for (const { character, style } of row) {
    if (found.at(-1)?.style === style) found.at(-1).text += character
    else found.push({ style, text: character })
  }
  return found
}

function span({ style, text }) {
  const escaped = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return style === '' ? escaped : `<span class="${style.trim()}">${escaped}</span>`
}
