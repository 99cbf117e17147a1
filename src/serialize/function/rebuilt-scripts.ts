/**
 * The names under which this process compiled functions that came from elsewhere. Code that a tool generated (it has
 * a source map) gets a mark on its URL, so that a frame in a stack says whether its position still has to be mapped:
 * some tools give source and output the same URL. Code without a map keeps its URL as it is.
 */
export const mark = '?multiproc-generated'

/** The script name for rebuilt code of `url`. */
export function nameRebuiltScript(url: string, options: { isGenerated: boolean }): string {
  return options.isGenerated ? url + mark : url
}

/** The URL and kind that a script name of `nameRebuiltScript()` stands for. */
export function parseScriptName(name: string): { url: string; isGenerated: boolean } {
  const isGenerated = name.endsWith(mark)
  return { url: isGenerated ? name.slice(0, -mark.length) : name, isGenerated }
}

/** Finds marked frames: the URL, line and column. */
export const markedPosition = /((?:file|https?|data):[^\s()]+?|\/[^\s()]+?)\?multiproc-generated:(\d+):(\d+)/g
