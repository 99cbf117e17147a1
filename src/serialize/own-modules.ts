/**
 * The library's own modules. Every process that takes part has them, so that functions and classes of the library travel
 * by reference even where the user's modules can't. On another machine they may be installed in another place: there
 * they are found by their path within the library.
 */
const root = new URL('../', import.meta.url).href

export function isOwnModule(url: string): boolean {
  return url.startsWith(root)
}

/** The path within the library of one of its modules, or `undefined` for another module. */
export function ownPathOf(url: string): string | undefined {
  return isOwnModule(url) ? url.slice(root.length) : undefined
}

/** Where this process has a module of the library. */
export function ownModuleAt(path: string): string {
  return root + path
}
