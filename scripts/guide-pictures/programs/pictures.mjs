// The function of "multiproc map" in the pictures.
import { setTimeout as wait } from 'node:timers/promises'

export async function resize(file) {
  await wait(30 + (file.length % 4) * 10)
  if (file.endsWith('99.jpg')) throw new RangeError(`${file} has no pixels`)
  return { file, width: 640 }
}
