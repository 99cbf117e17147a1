/** A folder for the files of one test; it is gone at the test's end. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

export class WorkFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'multiproc-test-'))

  file(name: string): string {
    return join(this.path, name)
  }

  /** Writes a file, and gives its path. */
  write(name: string, content: string | Uint8Array): string {
    const path = this.file(name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, content)
    return path
  }

  read(name: string): string {
    return readFileSync(this.file(name), 'utf8')
  }

  /** The lines of a file; none when it is not there. A last line without an end is left out. */
  lines(name: string): string[] {
    return existsSync(this.file(name)) ? this.read(name).split('\n').slice(0, -1) : []
  }

  names(name = ''): string[] {
    return readdirSync(this.file(name)).sort()
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true })
  }
}
