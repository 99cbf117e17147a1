/** Light, dark, or what the system says. The choice is kept in this browser, for this address. */

type Theme = 'auto' | 'light' | 'dark'

const key = 'multiproc-theme'
const dark = matchMedia('(prefers-color-scheme: dark)')

/** `onChange`: the colours are others now. */
export function setUpTheme(onChange: () => void): void {
  const radios = [...document.querySelectorAll<HTMLInputElement>('input[name="theme"]')]
  const apply = (theme: Theme): void => {
    const root = document.documentElement
    if (theme === 'auto') delete root.dataset['theme']
    else root.dataset['theme'] = theme
    for (const radio of radios) radio.checked = radio.value === theme
    onChange()
  }
  for (const radio of radios) {
    radio.addEventListener('change', () => {
      localStorage.setItem(key, radio.value)
      apply(radio.value as Theme)
    })
  }
  dark.addEventListener('change', onChange)
  const kept = localStorage.getItem(key)
  apply(kept === 'light' || kept === 'dark' ? kept : 'auto')
}

/** The value of a variable of the style sheet, such as `--working`. */
export function colour(variable: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(variable).trim()
}
