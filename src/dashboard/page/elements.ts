/**
 * Makes and changes elements of the page. Invariant: what comes from a program is set as text and never as markup, and an
 * element whose text stays is not touched, so that a selection and the reader's place stay too.
 */

type Child = Node | string | null

interface Properties {
  class?: string
  id?: string
  title?: string
  attributes?: Record<string, string>
}

export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name)
  if (properties.class !== undefined) element.className = properties.class
  if (properties.id !== undefined) element.id = properties.id
  if (properties.title !== undefined) element.title = properties.title
  for (const [key, value] of Object.entries(properties.attributes ?? {})) element.setAttribute(key, value)
  for (const child of children) if (child !== null) element.append(child)
  return element
}

export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

export function setAttribute(element: Element, name: string, value: string): void {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value)
}

export function byId(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (!found) throw new Error(`The page has no element "${id}"`)
  return found
}

/** Elements of a list, each for an item with a key: made once, changed in place, and removed with their item. */
export class KeyedList<Item, Made extends { root: HTMLElement }> {
  readonly #parent: HTMLElement
  readonly #make: (item: Item) => Made
  readonly #update: (made: Made, item: Item) => void
  #made = new Map<string, Made>()

  constructor(parent: HTMLElement, make: (item: Item) => Made, update: (made: Made, item: Item) => void) {
    this.#parent = parent
    this.#make = make
    this.#update = update
  }

  show(items: readonly Item[], keyOf: (item: Item) => string): void {
    const old = this.#made
    this.#made = new Map()
    let before: ChildNode | null = this.#parent.firstChild
    for (const item of items) {
      const key = keyOf(item)
      if (this.#made.has(key)) continue
      const made = old.get(key) ?? this.#make(item)
      old.delete(key)
      this.#made.set(key, made)
      this.#update(made, item)
      if (made.root === before) before = before.nextSibling
      else this.#parent.insertBefore(made.root, before)
    }
    for (const { root } of old.values()) root.remove()
  }
}
