/**
 * Modules that travel to machines that do not have them: as files, known by their SHA-256. A reference to such a module
 * says its hash, so that whoever has the file loads that, whatever is at the URL there. Invariant: what was loaded for one
 * hash is not taken for another.
 */

/** One module here: the URL that everybody calls it by, and where this process has it. */
export interface BundlePlace {
  readonly hash: string
  /** Where its program has it. */
  readonly url: string
  /** Where this process loads it from. */
  readonly place: string
}

const byHash = new Map<string, BundlePlace>()
const byPlace = new Map<string, BundlePlace>()
let generation = 0

/** Takes note of a bundle. The newest counts of those that are at one place. */
export function noteBundle(bundle: BundlePlace): void {
  const known = byHash.get(bundle.hash)
  if (known?.place === bundle.place && byPlace.get(bundle.place) === known) return
  byHash.set(bundle.hash, bundle)
  byPlace.set(bundle.place, bundle)
  generation++
}

/** The bundle that the module at this URL is. */
export function bundleAt(url: string): BundlePlace | undefined {
  return byPlace.get(url)
}

/** Where this process has it, if it has. */
export function placeOfBundle(hash: string): string | undefined {
  return byHash.get(hash)?.place
}

/** Another number when references may be other ones than before. */
export function bundleGeneration(): number {
  return generation
}
