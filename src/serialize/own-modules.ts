/**
 * The library's own modules. Every process that takes part has them at the same URL, so that functions and classes of
 * the library travel by reference even where the user's modules can't.
 */
const root = new URL('../', import.meta.url).href

export function isOwnModule(url: string): boolean {
  return url.startsWith(root)
}
