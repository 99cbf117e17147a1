/** What was thrown, in words that fit into a message of any size: for tools, which only show it. */

/** What was thrown, in words. */
export interface ThrownText {
  name: string
  message: string
  stack: string
}

const charactersMax = 4096

export function thrownText(thrown: unknown): ThrownText {
  try {
    if (thrown instanceof Error) {
      const { name, message, stack = '' } = thrown
      return { name: cut(name), message: cut(message), stack: cut(stack) }
    }
    return { name: typeof thrown, message: cut(String(thrown)), stack: '' }
  } catch {
    // A getter of the thrown object has thrown, or it has no text.
    return { name: typeof thrown, message: '', stack: '' }
  }
}

function cut(text: unknown): string {
  return String(text).slice(0, charactersMax)
}
